package wire

import "math/bits"

// The base values and extra bits of lengths and distances, RFC 1951 §3.2.5.
var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [30]byte{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbol decodes a literal, a match, or the end of the block. A match has at
// most 15+5+15+13 bits, which acc holds; they are taken all at once.
func (z *Inflater) symbol() bool {
	sym, n, state := z.lit.decode(z.acc, z.nbits)
	if state != decoded {
		return z.undecided(state)
	}
	switch {
	case sym < 256:
		z.bits(n)
		z.emit(byte(sym))
		return true
	case sym == 256:
		z.bits(n)
		z.step = stepBlock
		return true
	case sym > 285 || z.literalsOnly:
		return z.fail()
	}
	used := n
	length := int(lengthBase[sym-257]) + int(z.acc>>used&(1<<lengthExtra[sym-257]-1))
	used += uint(lengthExtra[sym-257])
	if used > z.nbits {
		return false
	}
	sym, n, state = z.dist.decode(z.acc>>used, z.nbits-used)
	if state != decoded {
		return z.undecided(state)
	}
	if sym > 29 {
		return z.fail()
	}
	used += n
	distance := int(distBase[sym]) + int(z.acc>>used&(1<<distExtra[sym]-1))
	used += uint(distExtra[sym])
	if used > z.nbits {
		return false
	}
	if distance > z.known {
		return z.fail()
	}
	z.bits(used)
	for range length {
		z.emit(z.window[(z.put-distance+inflateWindow)%inflateWindow])
	}
	return true
}

func (z *Inflater) undecided(state decodeState) bool {
	if state == wrongCode {
		return z.fail()
	}
	return false
}

// A huffman is a canonical code (RFC 1951 §3.2.2): a table for codes of up to
// tableBits, and counts for longer ones.
type huffman struct {
	table   [1 << tableBits]uint16 // symbol<<4 | length; 0: longer
	count   [maxCodeLength + 1]uint16
	symbols [288]uint16 // in the order of their codes
}

const (
	tableBits     = 9
	maxCodeLength = 15
)

// make builds the code with these lengths. It refuses one that is over-full, and
// one that is incomplete, but for a single code of one bit.
func (h *huffman) make(lengths []byte) bool {
	clear(h.count[:])
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	left, used := 1, 0
	var offset [maxCodeLength + 2]uint16
	for n := 1; n <= maxCodeLength; n++ {
		left = left<<1 - int(h.count[n])
		if left < 0 {
			return false
		}
		used += int(h.count[n])
		offset[n+1] = offset[n] + h.count[n]
	}
	if left > 0 && (used != 1 || h.count[1] != 1) {
		return false
	}
	next := offset
	for sym, n := range lengths {
		if n > 0 {
			h.symbols[next[n]] = uint16(sym)
			next[n]++
		}
	}
	clear(h.table[:])
	code := 0
	for n := 1; n <= tableBits; n++ {
		for i := range h.count[n] {
			entry := h.symbols[offset[n]+i]<<4 | uint16(n)
			// Codes come with their highest bit first.
			at := int(bits.Reverse16(uint16(code)) >> (16 - n))
			for ; at < 1<<tableBits; at += 1 << n {
				h.table[at] = entry
			}
			code++
		}
		code <<= 1
	}
	return true
}

type decodeState uint8

const (
	decoded decodeState = iota
	needsMore
	wrongCode
)

// decode finds the symbol at the start of acc, which has have bits, and how many
// of them it is.
func (h *huffman) decode(acc uint64, have uint) (sym, n uint, state decodeState) {
	if entry := h.table[acc&(1<<tableBits-1)]; entry != 0 {
		if n = uint(entry & 15); n <= have {
			return uint(entry >> 4), n, decoded
		}
		return 0, 0, needsMore
	}
	code, first, index := 0, 0, 0
	for n = 1; n <= maxCodeLength; n++ {
		if n > have {
			return 0, 0, needsMore
		}
		code |= int(acc >> (n - 1) & 1)
		count := int(h.count[n])
		if code-first < count {
			return uint(h.symbols[index+code-first]), n, decoded
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0, wrongCode
}
