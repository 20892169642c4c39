package wire

import (
	"bytes"
	"io"
	"sync"
)

// Buffers are pooled by size, so that a connection that waits has none, and
// one long line does not leave a big buffer behind.
var (
	smallBuffers  = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// takeBuffer returns the smallest buffer of more than n bytes; nil if there is none.
func takeBuffer(n int) []byte {
	switch {
	case n < smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:]
	case n < mediumBuffer:
		return mediumBuffers.Get().(*[mediumBuffer]byte)[:]
	case n < largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:]
	}
	return nil
}

func giveBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case mediumBuffer:
		mediumBuffers.Put((*[mediumBuffer]byte)(b[:mediumBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// maxEmptyReads is how often a reader may return nothing and no error.
const maxEmptyReads = 100

// fill reads more behind buf[at:end]; the bytes may move, and pieces of the
// buffer die. An error in the middle of a command breaks the connection.
func (d *Decoder) fill() error {
	if d.broken != nil {
		return d.broken
	}
	if d.at == d.end {
		d.at, d.end = 0, 0
	}
	d.makeRoom()
	if d.held {
		d.buf[d.end] = d.first[0]
		d.end++
		d.held = false
		return nil
	}
	for range maxEmptyReads {
		n, err := d.r.Read(d.buf[d.end:])
		if n > 0 {
			d.end += n
			return nil
		}
		if err != nil {
			d.broken = err
			return err
		}
	}
	d.broken = io.ErrNoProgress
	return d.broken
}

// makeRoom makes place for at least one byte at buf[end].
func (d *Decoder) makeRoom() {
	if d.end < len(d.buf) {
		return
	}
	if d.at > 0 {
		copy(d.buf, d.buf[d.at:d.end])
		d.at, d.end = 0, d.end-d.at
		return
	}
	bigger := takeBuffer(len(d.buf))
	d.end = copy(bigger, d.buf[:d.end])
	giveBuffer(d.buf)
	d.buf = bigger
}

// line consumes a line of at most limit octets, and returns it without its line
// end and the length of that. Of a longer line it returns the beginning and
// errTooLong, and consumes nothing. The line is a piece of the buffer.
//
// A lone LF in an open quoted string does not end a line with quotes.
func (d *Decoder) line(limit int, quotes bool) (line []byte, ending int, err error) {
	var open lineScanner
	looked := 0 // by IndexByte
	for {
		have := d.buf[d.at:d.end]
		for looked < len(have) {
			i := bytes.IndexByte(have[looked:], '\n')
			if i < 0 {
				looked = len(have)
				break
			}
			i += looked
			looked = i + 1
			ending = 1
			if i > 0 && have[i-1] == '\r' {
				ending = 2
			} else if quotes && open.inQuotes(have[:i]) {
				continue
			}
			if i+1-ending > limit {
				return have[:limit], 0, errTooLong
			}
			d.at += i + 1
			return have[:i+1-ending], ending, nil
		}
		if len(have) > limit+1 { // with no room for CR and LF
			return have[:limit], 0, errTooLong
		}
		if err := d.fill(); err != nil {
			if err == io.EOF && (len(have) > 0 || !d.clean && d.base > 0) {
				err = io.ErrUnexpectedEOF // half a line is no command
			}
			return nil, 0, err
		}
	}
}

// A lineScanner follows the quoted strings of a line, piece by piece.
type lineScanner struct {
	done            int // octets seen by inQuotes
	quoted, escaped bool
	cr              bool
}

// next takes an octet, and reports whether it ends the line.
func (l *lineScanner) next(c byte) bool {
	cr := l.cr
	l.cr = c == '\r'
	switch {
	case c == '\n' && (cr || !l.quoted):
		return true
	case l.escaped:
		l.escaped = false
	case c == '\\':
		l.escaped = l.quoted
	case c == '"':
		l.quoted = !l.quoted
	}
	return false
}

// inQuotes reports whether a quoted string is open at the end of line, which
// is longer at each call.
func (l *lineScanner) inQuotes(line []byte) bool {
	for _, c := range line[l.done:] {
		l.next(c)
	}
	l.done = len(line)
	return l.quoted
}

// Line returns one line as it is, without CRLF: a response of SASL, or DONE. A
// line of more than limit octets is swallowed, and is a LimitError.
func (d *Decoder) Line(limit int) ([]byte, error) {
	line, _, err := d.line(min(limit, SASLLine), false)
	if err != errTooLong {
		return line, err
	}
	d.swallowed = 0
	if _, err := d.skipLine(false); err != nil {
		return nil, err
	}
	return nil, &LimitError{What: "line", Max: int64(limit)}
}
