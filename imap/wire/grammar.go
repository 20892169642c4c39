package wire

import "strconv"

// Tag reads the tag of a command: tag = 1*<any ASTRING-CHAR except "+">.
func (d *Decoder) Tag() string {
	tag := string(d.run(tagChar, "tag"))
	if d.tooLong && d.err == nil {
		d.err = d.segmentLimit()
	}
	return tag
}

func (d *Decoder) segmentLimit() error {
	return &LimitError{What: "line", Max: int64(d.maxSegment())}
}

// run reads octets of a class, at least one.
func (d *Decoder) run(c class, want string) []byte {
	if !d.ready() {
		return nil
	}
	i := d.pos
	for i < len(d.seg) && classes[d.seg[i]]&c != 0 {
		i++
	}
	if i == d.pos {
		d.Fail(want)
		return nil
	}
	token := d.seg[d.pos:i]
	d.pos = i
	return token
}

// SP reads exactly one space.
func (d *Decoder) SP() {
	if d.ready() && !d.TryByte(' ') {
		d.Fail("SP")
	}
}

// TrySP reads a space if there is one.
func (d *Decoder) TrySP() bool { return d.TryByte(' ') }

// Byte reads exactly b.
func (d *Decoder) Byte(b byte) {
	if d.ready() && !d.TryByte(b) {
		d.Fail(strconv.QuoteToASCII(string(rune(b))))
	}
}

// TryByte reads b if it is next.
func (d *Decoder) TryByte(b byte) bool {
	if !d.ready() || d.pos == len(d.seg) || d.seg[d.pos] != b {
		return false
	}
	d.pos++
	return true
}

// Peek is the next octet; 0 at the end of the command, or after an error.
func (d *Decoder) Peek() byte {
	if !d.ready() || d.pos == len(d.seg) {
		return 0
	}
	return d.seg[d.pos]
}

// AtEnd reports whether CRLF is next.
func (d *Decoder) AtEnd() bool { return d.ready() && d.pos == len(d.seg) }

// End reads the CRLF that ends the command.
func (d *Decoder) End() {
	switch {
	case !d.ready():
	case d.pos != len(d.seg):
		d.Fail("CRLF")
	default:
		d.clean = true
	}
}

// Word reads the name of a command, an item, a key or an option, and returns it
// in upper case. It stops before "[" and "<", so that BODY[1]<0.5> begins with
// the word BODY.
func (d *Decoder) Word() string {
	w := d.run(wordChar, "word")
	if len(w) > longestWord {
		return upperString(w)
	}
	var up [longestWord]byte
	for i, c := range w {
		up[i] = upper(c)
	}
	if known, ok := words[string(up[:len(w)])]; ok {
		return known
	}
	return string(up[:len(w)])
}

func upperString(b []byte) string {
	up := make([]byte, len(b))
	for i, c := range b {
		up[i] = upper(c)
	}
	return string(up)
}

// TryWord reads the word w, in any case, if it is next and whole.
func (d *Decoder) TryWord(w string) bool {
	if !d.ready() || len(d.seg)-d.pos < len(w) || !equalFold(d.seg[d.pos:d.pos+len(w)], w) {
		return false
	}
	end := d.pos + len(w)
	if end < len(d.seg) && classes[d.seg[end]]&wordChar != 0 {
		return false
	}
	d.pos = end
	return true
}

// TryText reads text, in any case, if it is next: where one SP more decides what
// the grammar goes on with.
func (d *Decoder) TryText(text string) bool {
	if !d.ready() || len(d.seg)-d.pos < len(text) || !equalFold(d.seg[d.pos:d.pos+len(text)], text) {
		return false
	}
	d.pos += len(text)
	return true
}

// Atom reads 1*ATOM-CHAR.
func (d *Decoder) Atom() string { return string(d.run(atomChar, "atom")) }

// Number reads a number of 32 bits.
func (d *Decoder) Number() uint32 { return uint32(d.number("number", maxNumber)) }

// NzNumber reads a number of 32 bits that is not 0 and has no leading zero.
func (d *Decoder) NzNumber() uint32 {
	if d.Peek() == '0' {
		d.Fail("nz-number")
	}
	return uint32(d.number("nz-number", maxNumber))
}

// Number64 reads a number of 63 bits (RFC 9051 §9, number64).
func (d *Decoder) Number64() int64 { return d.number("number64", maxNumber64) }

const (
	maxNumber   = 1<<32 - 1
	maxNumber64 = 1<<63 - 1
)

func (d *Decoder) number(want string, limit uint64) int64 {
	if !d.ready() {
		return 0
	}
	i := d.pos
	for i < len(d.seg) && isDigit(d.seg[i]) {
		i++
	}
	n, ok := number(d.seg[d.pos:i], limit)
	if !ok {
		d.Fail(want)
		return 0
	}
	d.pos = i
	return n
}

// number is the value of digits, if there are some and it is no more than limit.
func number(digits []byte, limit uint64) (n int64, ok bool) {
	var v uint64
	for _, c := range digits {
		digit := uint64(c - '0')
		if v > (limit-digit)/10 {
			return 0, false
		}
		v = v*10 + digit
	}
	return int64(v), len(digits) > 0
}

// List reads "(" [item *(SP item)] ")". f reads one item.
func (d *Decoder) List(f func()) {
	d.Byte('(')
	if d.err != nil || d.TryByte(')') {
		return
	}
	d.Nest(func() {
		for f(); d.TrySP(); {
			f()
		}
	})
	d.Byte(')')
}

// Nest runs f, the parser of something inside of something of its own kind,
// unless that is too deep. List does so by itself.
func (d *Decoder) Nest(f func()) {
	if !d.ready() {
		return
	}
	if d.depth == ListDepth {
		d.FailErr(&LimitError{What: "nesting", Max: ListDepth, Unit: "levels"})
		return
	}
	d.depth++
	f()
	d.depth--
}
