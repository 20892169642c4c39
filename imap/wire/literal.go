package wire

import "io"

// A Literal is one that the caller reads: a message. It ends with io.EOF after
// exactly Size octets. The client is asked for a synchronizing one at the first
// Read, so that a literal that nobody wants is never sent. It belongs to the
// Decoder, and dies with the next literal or command.
type Literal struct {
	Size    int64
	NonSync bool // "{n+}", RFC 7888
	Binary  bool // "~{n}", RFC 3516

	d     *Decoder
	left  int64
	asked bool
}

// Literal reads the beginning of literal or literal8, up to its CRLF. The next
// grammar method first swallows what the caller left unread.
func (d *Decoder) Literal() *Literal { return d.literal(true, maxNumber64) }

func (d *Decoder) literal(binary bool, limit int64) *Literal {
	if !d.ready() {
		return nil
	}
	l := Literal{d: d}
	i := d.pos
	if binary && i < len(d.seg) && d.seg[i] == '~' {
		l.Binary = true
		i++
	}
	rest := d.seg[i:]
	n, nonSync, ok := announced(rest)
	// The announcement must be all that is left of the segment.
	if !ok || rest[0] != '{' || rest[len(rest)-1] != '}' || !allDigits(rest[1:len(rest)-1]) {
		d.Fail("literal")
		return nil
	}
	l.Size, l.left, l.NonSync = n, n, nonSync
	switch {
	case n < 0 || n > limit:
		d.FailErr(&LimitError{What: "literal", Max: limit})
	case nonSync && d.minus && n > NonSyncMinus:
		d.FailErr(&LimitError{What: "non-synchronizing literal", Max: NonSyncMinus})
	}
	if d.err != nil {
		return nil
	}
	d.pos = len(d.seg)
	d.lit, d.inLiteral = l, true
	return &d.lit
}

// allDigits is true for digits, and for digits and "+".
func allDigits(b []byte) bool {
	for i, c := range b {
		if !isDigit(c) && !(c == '+' && i == len(b)-1 && i > 0) {
			return false
		}
	}
	return true
}

// waits reports whether the client waits to be asked for the literal.
func (l *Literal) waits() bool { return !l.NonSync && !l.asked }

// Read reads octets of the literal, past the Decoder's buffer when they are many.
func (l *Literal) Read(p []byte) (int, error) {
	d := l.d
	if d.broken != nil {
		return 0, d.broken
	}
	if l.waits() {
		l.asked = true
		if err := d.goOn(); err != nil {
			d.broken = err
			return 0, err
		}
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := d.readInto(p)
	l.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
		d.broken = err
	}
	return n, err
}

// readInto reads some bytes into p, through the buffer if p is small.
func (d *Decoder) readInto(p []byte) (int, error) {
	if d.at == d.end && len(p) >= smallBuffer && !d.held {
		for range maxEmptyReads {
			n, err := d.r.Read(p)
			if n > 0 {
				return n, nil
			}
			if err != nil {
				d.broken = err
				return 0, err
			}
		}
		return 0, io.ErrNoProgress
	}
	if d.at == d.end {
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.buf[d.at:d.end])
	d.at += n
	return n, nil
}

// finishLiteral swallows what is left of the literal, and reads the segment
// after it.
func (d *Decoder) finishLiteral() {
	l := &d.lit
	if l.waits() {
		if _, err := l.Read(nil); err != nil && err != io.EOF {
			d.FailErr(err)
			return
		}
	}
	if err := d.skip(l.left); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		d.FailErr(err)
		return
	}
	l.left = 0
	d.inLiteral = false
	d.base += l.Size
	switch err := d.readSegment(); err {
	case nil:
	case errTooLong:
		d.err = d.segmentLimit()
	default:
		d.err = err
	}
}
