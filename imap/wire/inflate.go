package wire

import (
	"errors"
	"io"
)

// ErrInflate says that the input is no DEFLATE stream.
var ErrInflate = errors.New("broken DEFLATE data")

// inflateWindow is how far back a match may reach (RFC 1951 §2).
const inflateWindow = 32 << 10

// An Inflater is an io.Reader of a DEFLATE stream (RFC 1951) that hands over all
// that the input so far stands for, before it reads more. compress/flate doesn't:
// it waits for the header of the next block, which after a partial flush
// (Z_PARTIAL_FLUSH of zlib) comes with the client's next command, if ever.
//
// An error of its input doesn't stick: a read deadline may end a Read, and the
// next one goes on. Memory is what the struct has, whatever the data expands to.
type Inflater struct {
	r   io.Reader
	in  [1 << 10]byte
	at  int // in[at:end] is not looked at yet
	end int
	err error // sticks: ErrInflate, or io.EOF after the last block

	acc   uint64 // bits that are next, the first one lowest
	nbits uint

	window [inflateWindow]byte
	put    int // where the next octet goes
	left   int // octets before put that are not handed over
	known  int // octets in window, for matches to reach

	step  inflateStep
	final bool
	size  int // of a stored block: octets to go

	lengths      [maxCodes]byte // of a dynamic block, as they are read
	have         int
	nlit, ndist  int
	ncode        int
	lit, dist    huffman
	fixed        bool // lit and dist are those of fixed blocks
	literalsOnly bool // the block has no code for distances
}

// maxCodes is how many code lengths a dynamic block can have: 286 and 30, and
// two that never occur (RFC 1951 §3.2.5).
const maxCodes = 288 + 32

type inflateStep uint8

const (
	stepBlock inflateStep = iota
	stepStoredSize
	stepStored
	stepCounts
	stepCodeLengths
	stepLengths
	stepData
)

// NewInflater returns an Inflater of r.
func NewInflater(r io.Reader) *Inflater { return &Inflater{r: r} }

// Read reads what there is, and waits only for the first octet.
func (z *Inflater) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		// Not beyond the end of a block: the stream may end there (see Rest).
		for z.left < len(p) && z.left <= inflateWindow/2 && (z.left == 0 || z.step != stepBlock) && z.err == nil && z.advance() {
		}
		if z.left > 0 {
			return z.handOver(p), nil
		}
		if z.err != nil {
			return 0, z.err
		}
		if z.at == z.end {
			n, err := z.r.Read(z.in[:])
			z.at, z.end = 0, n
			if n == 0 {
				if err == nil {
					err = io.ErrNoProgress
				}
				return 0, err
			}
		}
	}
}

// Rest ends the stream where its writer flushed it last, and is the input beyond:
// what no longer belongs to it (RFC 8437 §4.1).
func (z *Inflater) Rest() []byte {
	for z.err == nil {
		z.fill()
		if z.step == stepBlock && !z.final {
			switch padding := (z.nbits - 3) % 8; {
			case z.nbits >= 3+padding+32 && z.acc&6 == 0 && z.acc>>(3+padding)&0xffffffff == 0xffff0000:
				z.bits(3 + padding) // an empty stored block: Z_SYNC_FLUSH, or the last
				z.bits(32)
				return z.beyond()
			case z.nbits >= 10 && z.acc&0x3fe == 0b010: // an empty fixed one: Z_PARTIAL_FLUSH, Z_FINISH
			default:
				return z.beyond()
			}
		}
		if !z.advance() {
			break
		}
	}
	return z.beyond()
}

// beyond is the input from the next whole octet on.
func (z *Inflater) beyond() (rest []byte) {
	z.bits(z.nbits % 8)
	for z.nbits > 0 {
		v, _ := z.bits(8)
		rest = append(rest, byte(v))
	}
	return append(rest, z.in[z.at:z.end]...)
}

// handOver copies what is decoded and not handed over yet.
func (z *Inflater) handOver(p []byte) int {
	from := (z.put - z.left + inflateWindow) % inflateWindow
	n := copy(p[:min(len(p), z.left)], z.window[from:min(from+z.left, inflateWindow)])
	if n < len(p) && n < z.left {
		n += copy(p[n:min(len(p), z.left)], z.window[:])
	}
	z.left -= n
	return n
}

// fill takes input into acc. What it can't hold stays.
func (z *Inflater) fill() {
	for z.nbits <= 56 && z.at < z.end {
		z.acc |= uint64(z.in[z.at]) << z.nbits
		z.nbits += 8
		z.at++
	}
}

// bits takes the next n bits, if they are there.
func (z *Inflater) bits(n uint) (v int, ok bool) {
	if z.nbits < n {
		return 0, false
	}
	v = int(z.acc & (1<<n - 1))
	z.acc >>= n
	z.nbits -= n
	return v, true
}

func (z *Inflater) fail() bool {
	z.err = ErrInflate
	return false
}

// advance decodes the next element. It takes all of it or nothing, and returns
// false when more input is needed, or when there is none.
func (z *Inflater) advance() bool {
	z.fill()
	switch z.step {
	case stepBlock:
		return z.block()
	case stepStoredSize:
		v, ok := z.bits(32)
		if !ok {
			return false
		}
		if v&0xffff != ^v>>16&0xffff {
			return z.fail()
		}
		z.size, z.step = v&0xffff, stepStored
		return true
	case stepStored:
		return z.stored()
	case stepCounts:
		return z.counts()
	case stepCodeLengths:
		return z.codeLengths()
	case stepLengths:
		return z.nextLengths()
	}
	return z.symbol()
}

// block reads the header of a block (RFC 1951 §3.2.3).
func (z *Inflater) block() bool {
	if z.final {
		z.err = io.EOF
		return false
	}
	v, ok := z.bits(3)
	if !ok {
		return false
	}
	z.final = v&1 != 0
	switch v >> 1 {
	case 0:
		z.bits(z.nbits % 8) // the rest of the octet
		z.step = stepStoredSize
	case 1:
		z.useFixed()
		z.step = stepData
	case 2:
		z.step = stepCounts
	default:
		return z.fail()
	}
	return true
}

// stored copies octets: those in acc first.
func (z *Inflater) stored() bool {
	if z.size == 0 {
		z.step = stepBlock
		return true
	}
	v, ok := z.bits(8)
	if ok {
		z.emit(byte(v))
		z.size--
	}
	return ok
}

func (z *Inflater) emit(b byte) {
	z.window[z.put] = b
	z.put = (z.put + 1) % inflateWindow
	z.left++
	z.known = min(z.known+1, inflateWindow)
}

// useFixed makes the codes of RFC 1951 §3.2.6.
func (z *Inflater) useFixed() {
	if z.fixed {
		return
	}
	var lengths [288]byte
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	z.lit.make(lengths[:])
	var dist [32]byte
	for i := range dist {
		dist[i] = 5
	}
	z.dist.make(dist[:])
	z.fixed, z.literalsOnly = true, false
}

// counts reads how many code lengths follow (RFC 1951 §3.2.7).
func (z *Inflater) counts() bool {
	v, ok := z.bits(14)
	if !ok {
		return false
	}
	z.nlit, z.ndist, z.ncode = v&31+257, v>>5&31+1, v>>10+4
	if z.nlit > 286 || z.ndist > 30 {
		return z.fail()
	}
	clear(z.lengths[:19])
	z.have, z.step = 0, stepCodeLengths
	return true
}

// codeOrder is the order of the lengths of the code for code lengths.
var codeOrder = [19]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (z *Inflater) codeLengths() bool {
	if z.have < z.ncode {
		v, ok := z.bits(3)
		if ok {
			z.lengths[codeOrder[z.have]] = byte(v)
			z.have++
		}
		return ok
	}
	z.fixed = false
	if !z.lit.make(z.lengths[:19]) {
		return z.fail()
	}
	z.have, z.step = 0, stepLengths
	return true
}

// nextLengths reads one code for one or more code lengths.
func (z *Inflater) nextLengths() bool {
	if z.have == z.nlit+z.ndist {
		return z.beginData()
	}
	sym, n, state := z.lit.decode(z.acc, z.nbits)
	if state != decoded {
		return z.undecided(state)
	}
	if sym < 16 {
		z.bits(n)
		z.lengths[z.have] = byte(sym)
		z.have++
		return true
	}
	extra, least := [3]uint{2, 3, 7}[sym-16], [3]int{3, 3, 11}[sym-16]
	if z.nbits < n+extra {
		return false
	}
	z.bits(n)
	v, _ := z.bits(extra)
	what := byte(0)
	if sym == 16 {
		if z.have == 0 {
			return z.fail()
		}
		what = z.lengths[z.have-1]
	}
	times := least + v
	if z.have+times > z.nlit+z.ndist {
		return z.fail()
	}
	for range times {
		z.lengths[z.have] = what
		z.have++
	}
	return true
}

func (z *Inflater) beginData() bool {
	if z.lengths[256] == 0 || !z.lit.make(z.lengths[:z.nlit]) {
		return z.fail()
	}
	dist := z.lengths[z.nlit : z.nlit+z.ndist]
	z.literalsOnly = true
	for _, n := range dist {
		z.literalsOnly = z.literalsOnly && n == 0
	}
	if !z.literalsOnly && !z.dist.make(dist) {
		return z.fail()
	}
	z.step = stepData
	return true
}
