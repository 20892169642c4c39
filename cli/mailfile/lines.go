package mailfile

import (
	"bytes"
	"io"
)

// Line ends (docs/decisions/0010-line-ends.md). In files lines end with LF, in
// IMAP with CRLF. A message must come out of an import and an export as it
// was, to the byte, even if its lines end in several ways or not at all:
//
//   - Import: if the message's first line ends with a bare LF, a CR is put
//     before every LF, be there one already or not. Else nothing is changed.
//   - Export: if every LF of the stored message has a CR before it, and the
//     first has only one, a CR is taken from before every LF. Else nothing is
//     changed.
//
// The two undo each other, except for one kind: a message whose lines all end
// with CRLF in the file is stored as it is, and comes out with LF. The export
// that keeps what is stored (--crlf) brings it back.

// crlfReader puts a CR before each LF if the first LF has none.
type crlfReader struct {
	r       io.Reader
	buf     []byte // read and not yet given out
	store   [32 << 10]byte
	last    byte // before buf
	decided bool
	convert bool
	owesLF  bool // its CR is given out
	err     error
}

func newCRLFReader(r io.Reader) *crlfReader { return &crlfReader{r: r} }

// reset begins another message.
func (c *crlfReader) reset(r io.Reader) {
	c.r, c.buf, c.last, c.decided, c.convert, c.owesLF, c.err = r, nil, 0, false, false, false, nil
}

func (c *crlfReader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.buf) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		var k int
		k, c.err = c.r.Read(c.store[:])
		c.buf = c.store[:k]
	}
	if !c.decided {
		c.decide()
	}
	if !c.convert {
		n = copy(p, c.buf)
		c.take(n)
		return n, nil
	}
	for n < len(p) && len(c.buf) > 0 {
		if c.owesLF {
			p[n] = '\n'
			n++
			c.owesLF = false
			c.take(1)
			continue
		}
		i := bytes.IndexByte(c.buf, '\n')
		if i == 0 {
			p[n] = '\r'
			n++
			c.owesLF = true
			continue
		}
		if i < 0 {
			i = len(c.buf)
		}
		k := copy(p[n:], c.buf[:i])
		n += k
		c.take(k)
	}
	return n, nil
}

// decide looks for the first LF. Bytes before it are the same either way.
func (c *crlfReader) decide() {
	i := bytes.IndexByte(c.buf, '\n')
	if i < 0 {
		return
	}
	before := c.last
	if i > 0 {
		before = c.buf[i-1]
	}
	c.decided, c.convert = true, before != '\r'
}

func (c *crlfReader) take(n int) {
	if n > 0 {
		c.last = c.buf[n-1]
		c.buf = c.buf[n:]
	}
}

// lfWriter takes the CR from before each LF.
type lfWriter struct {
	w      io.Writer
	owesCR bool // a CR at the end of what was written
}

func (l *lfWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if l.owesCR {
			l.owesCR = false
			if rest[0] != '\n' {
				if _, err := l.w.Write([]byte{'\r'}); err != nil {
					return 0, err
				}
			}
		}
		i := bytes.IndexByte(rest, '\r')
		if l.owesCR = i >= 0; !l.owesCR {
			i = len(rest)
		}
		if _, err := l.w.Write(rest[:i]); err != nil {
			return 0, err
		}
		rest = rest[i:]
		if l.owesCR {
			rest = rest[1:]
		}
	}
	return len(p), nil
}

// flush writes a CR at the very end, which ends no line.
func (l *lfWriter) flush() error {
	if !l.owesCR {
		return nil
	}
	l.owesCR = false
	_, err := l.w.Write([]byte{'\r'})
	return err
}
