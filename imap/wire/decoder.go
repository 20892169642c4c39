package wire

import (
	"errors"
	"io"
)

// A Decoder reads commands from a connection, one at a time:
//
//	Wait, Next, the methods named after the grammar, End, Discard
//
// It is used by one goroutine at a time.
type Decoder struct {
	r    io.Reader
	goOn func() error // sends "+ ..."

	buf      []byte // nil while no buffer is held
	at, end  int    // buf[at:end] is read and not consumed
	first    [1]byte
	held     bool // first is read and not consumed; it comes before buf
	loggedIn bool
	utf8     bool
	minus    bool // LITERAL-
	clean    bool // between two commands

	seg     []byte // the present segment without its line end: a piece of buf
	pos     int    // in seg
	base    int64  // offset of seg in the command
	ending  int    // octets of the segment's line end
	tooLong bool   // seg is only the beginning of a segment; buf[at:] has it whole

	inLiteral bool // lit is announced, and the segment after it is not read
	lit       Literal
	arguments int64 // octets of the literals that became strings
	depth     int
	swallowed int64

	err    error // first error of this command
	broken error // of the connection
}

// NewDecoder returns a Decoder of what r reads. It takes a buffer with the
// first byte.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: r, clean: true}
}

// SetContinue sets what is called before a synchronizing literal is read: it
// must write "+ ...", CRLF, and flush.
func (d *Decoder) SetContinue(f func() error) { d.goOn = f }

// SetLoggedIn chooses the limits, and whether errors quote the input.
func (d *Decoder) SetLoggedIn(on bool) { d.loggedIn = on }

// SetUTF8 makes mailbox names UTF-8, as after ENABLE of UTF8=ACCEPT (RFC 6855
// §3) or IMAP4rev2 (RFC 9051 §5.1); otherwise they are modified UTF-7.
func (d *Decoder) SetUTF8(on bool) { d.utf8 = on }

// SetLiteralMinus refuses non-synchronizing literals of more than 4096 octets
// (RFC 7888 §5).
func (d *Decoder) SetLiteralMinus(on bool) { d.minus = on }

// Reset goes on with another reader, after STARTTLS and the like, and forgets
// all that was read from the old one: what came before the TLS handshake is
// not the client's (RFC 9051 §11.3).
func (d *Decoder) Reset(r io.Reader) {
	giveBuffer(d.buf)
	*d = Decoder{
		r: r, goOn: d.goOn, loggedIn: d.loggedIn, utf8: d.utf8, minus: d.minus, clean: true,
	}
}

// Buffered is the number of bytes read and not consumed.
func (d *Decoder) Buffered() int {
	n := d.end - d.at
	if d.held {
		n++
	}
	return n
}

// Release gives the buffer back if nothing is in it. It ends the life of the
// segment, so it is for the time between two commands.
func (d *Decoder) Release() {
	if d.at == d.end && d.buf != nil {
		giveBuffer(d.buf)
		d.buf, d.seg = nil, nil
		d.at, d.end, d.pos = 0, 0, 0
	}
}

// Wait blocks until the client sent something, and holds no buffer meanwhile.
// Its error does not stick: a wait may be interrupted by a deadline.
func (d *Decoder) Wait() error {
	if d.Buffered() > 0 {
		return nil
	}
	d.Release()
	for range maxEmptyReads {
		n, err := d.r.Read(d.first[:])
		if n > 0 {
			d.held = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// Next reads the first segment of the next command. What was left of the last
// one is discarded. A line of more than the limit is no error of Next but of
// the grammar method after Tag, so that the answer can have the tag.
func (d *Decoder) Next() error {
	if err := d.Discard(); err != nil {
		return err
	}
	d.err, d.base, d.ending, d.depth, d.arguments, d.swallowed = nil, 0, 0, 0, 0, 0
	d.seg, d.pos, d.clean = nil, 0, false
	err := d.readSegment()
	switch {
	case err == errTooLong:
		return nil
	case err != nil:
		d.err = err
	}
	return err
}

// Err is the first error of this command.
func (d *Decoder) Err() error { return d.err }

// Fail says that want should stand at the present position.
func (d *Decoder) Fail(want string) { d.failAt(d.base+int64(d.pos), want) }

// offset is the present position in the command.
func (d *Decoder) offset() int64 {
	d.ready()
	return d.base + int64(d.pos)
}

// failAt is Fail at an offset.
func (d *Decoder) failAt(offset int64, want string) {
	if d.err != nil {
		return
	}
	e := &SyntaxError{Offset: offset, Want: want}
	if i := offset - d.base; d.loggedIn && !d.inLiteral && 0 <= i && i < int64(len(d.seg)) {
		near := d.seg[i:]
		e.Near = string(near[:min(len(near), nearLength)])
	}
	d.err = e
}

// FailErr fails the command with any error, of a parser that knows better.
func (d *Decoder) FailErr(err error) {
	if d.err == nil {
		d.err = err
	}
}

// errTooLong is the inner sign of a line over its limit.
var errTooLong = errors.New("line too long")

// maxSegment is the limit of a segment now.
func (d *Decoder) maxSegment() int {
	if d.loggedIn {
		return Segment
	}
	return SegmentBeforeLogin
}

// readSegment makes the next line the segment.
func (d *Decoder) readSegment() error {
	d.base += int64(len(d.seg) + d.ending)
	d.seg, d.pos, d.ending = nil, 0, 0
	seg, ending, err := d.line(d.maxSegment(), true)
	if err != nil && err != errTooLong {
		return err
	}
	d.seg, d.ending, d.tooLong = seg, ending, err != nil
	return err
}

// ready reports whether the grammar can go on: no error so far, and the
// segment after a literal is there. What was left of the literal is swallowed.
func (d *Decoder) ready() bool {
	if d.err != nil {
		return false
	}
	if d.inLiteral {
		d.finishLiteral()
	}
	return d.err == nil
}
