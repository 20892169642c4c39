package wire

import (
	"bytes"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// An Encoder writes responses. It gathers them in a buffer, and writes when
// that is full or flushed: once a command, and before a wait; never a line at a
// time. The first error of a write sticks, and all later calls do nothing.
//
// It is used by one goroutine at a time.
type Encoder struct {
	w    io.Writer
	buf  []byte // nil while empty
	err  error
	utf8 bool
}

// encoderSlack is room for what a method appends to an almost full buffer.
const encoderSlack = 1 << 10

var encoderBuffers = sync.Pool{New: func() any { return new([encoderBuffer + encoderSlack]byte) }}

// NewEncoder returns an Encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// SetUTF8 allows UTF-8 in quoted strings and in names, for a client that
// enabled UTF8=ACCEPT (RFC 6855 §3) or IMAP4rev2 (RFC 9051 §5.1).
func (w *Encoder) SetUTF8(on bool) { w.utf8 = on }

// Reset goes on with another writer and forgets what was not flushed.
func (w *Encoder) Reset(to io.Writer) {
	w.release()
	w.w, w.err = to, nil
}

// Err is the first error of a write.
func (w *Encoder) Err() error { return w.err }

// Buffered is the number of bytes not yet written.
func (w *Encoder) Buffered() int { return len(w.buf) }

// Flush writes what is gathered, and gives the buffer back.
func (w *Encoder) Flush() error {
	w.writeOut()
	w.release()
	return w.err
}

func (w *Encoder) writeOut() {
	if len(w.buf) == 0 {
		return
	}
	if w.err == nil {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

func (w *Encoder) release() {
	if cap(w.buf) == encoderBuffer+encoderSlack {
		encoderBuffers.Put((*[encoderBuffer + encoderSlack]byte)(w.buf[:cap(w.buf)]))
	}
	w.buf = nil
}

// begin returns the buffer to append to; ok is false after an error.
func (w *Encoder) begin() (b []byte, ok bool) {
	if w.err != nil {
		return nil, false
	}
	if w.buf == nil {
		w.buf = encoderBuffers.Get().(*[encoderBuffer + encoderSlack]byte)[:0]
	}
	return w.buf, true
}

// took takes the buffer back, longer.
func (w *Encoder) took(b []byte) *Encoder {
	w.buf = b
	if len(b) >= encoderBuffer {
		w.writeOut()
		if cap(w.buf) > encoderBuffer+encoderSlack {
			w.buf = nil // something very long made it grow
		}
	}
	return w
}

// Append lets f append to the buffer.
func (w *Encoder) Append(f func(b []byte) []byte) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	return w.took(f(b))
}

// Raw writes s as it is.
func (w *Encoder) Raw(s string) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	for len(s) > cap(b)-len(b) {
		n := copy(b[len(b):cap(b)], s)
		w.took(b[:len(b)+n])
		s = s[n:]
		if b, ok = w.begin(); !ok {
			return w
		}
	}
	return w.took(append(b, s...))
}

// Bytes writes p as it is.
func (w *Encoder) Bytes(p []byte) *Encoder {
	_, _ = w.Write(p) // the error sticks
	return w
}

// Write writes octets of a literal; it is io.Writer. What fills the buffer
// goes past it.
func (w *Encoder) Write(p []byte) (int, error) {
	b, ok := w.begin()
	if !ok {
		return 0, w.err
	}
	if len(p) <= cap(b)-len(b) {
		w.took(append(b, p...))
		return len(p), w.err
	}
	w.writeOut()
	if w.err != nil {
		return 0, w.err
	}
	if len(p) < encoderBuffer {
		w.took(append(w.buf, p...))
		return len(p), w.err
	}
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

// Byte writes one octet.
func (w *Encoder) Byte(c byte) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	return w.took(append(b, c))
}

// SP writes a space.
func (w *Encoder) SP() *Encoder { return w.Byte(' ') }

// CRLF ends a line.
func (w *Encoder) CRLF() *Encoder { return w.Raw("\r\n") }

// Number writes a number of 32 bits.
func (w *Encoder) Number(n uint32) *Encoder { return w.Uint64(uint64(n)) }

// Number64 writes a number of 63 bits.
func (w *Encoder) Number64(n int64) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	return w.took(strconv.AppendInt(b, n, 10))
}

// Uint64 writes a number, such as a MODSEQ.
func (w *Encoder) Uint64(n uint64) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	return w.took(strconv.AppendUint(b, n, 10))
}

// Literal announces a literal, or a literal8 (RFC 3516 §4.2). The caller then
// writes exactly size octets with Write.
func (w *Encoder) Literal(size int64, binary bool) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	if binary {
		b = append(b, '~')
	}
	b = append(b, '{')
	b = strconv.AppendInt(b, size, 10)
	return w.took(append(b, "}\r\n"...))
}

// String writes string: quoted if it is short and can be, else a literal. No
// string can hold NUL (RFC 9051 §4.3.1): it becomes "?".
func (w *Encoder) String(s string) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	if w.quotable(s) {
		return w.took(appendQuoted(b, s))
	}
	w.Literal(int64(len(s)), false)
	for i := range len(s) {
		if s[i] == 0 {
			return w.Raw(withoutNUL(s))
		}
	}
	return w.Raw(s)
}

// String8 is String for any octets: with NUL among them it is a literal8.
func (w *Encoder) String8(b []byte) *Encoder {
	if bytes.IndexByte(b, 0) < 0 {
		return w.String(string(b))
	}
	return w.Literal(int64(len(b)), true).Raw(string(b))
}

func withoutNUL(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == 0 {
			b[i] = '?'
		}
	}
	return string(b)
}

// quotable reports whether s may and should be written in quotes.
func (w *Encoder) quotable(s string) bool {
	if len(s) > longestQuoted {
		return false
	}
	ascii := true
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || w.utf8 && utf8.ValidString(s)
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// NString writes s, or NIL if ok is false.
func (w *Encoder) NString(s string, ok bool) *Encoder {
	if !ok {
		return w.Raw("NIL")
	}
	return w.String(s)
}

// Astring writes s as an atom if it is one, else as a string. NIL is quoted,
// or it would be none where nstring is expected.
func (w *Encoder) Astring(s string) *Encoder {
	if s == "" || len(s) == 3 && equalFold([]byte(s), "NIL") {
		return w.String(s)
	}
	for i := range len(s) {
		if classes[s[i]]&atomChar == 0 {
			return w.String(s)
		}
	}
	return w.Raw(s)
}

// Mailbox writes the name of a mailbox, given in UTF-8.
func (w *Encoder) Mailbox(name string) *Encoder {
	if !w.utf8 {
		name = EncodeUTF7(name)
	}
	return w.Astring(name)
}

// Flags writes a list of flags.
func (w *Encoder) Flags(flags []imap.Flag) *Encoder {
	w.Byte('(')
	for i, f := range flags {
		if i > 0 {
			w.Byte(' ')
		}
		w.Raw(string(f))
	}
	return w.Byte(')')
}

// NumSet writes a sequence-set.
func (w *Encoder) NumSet(s imap.NumSet) *Encoder { return w.Raw(s.String()) }

// Date writes date-time with its quotes.
func (w *Encoder) Date(t time.Time) *Encoder {
	b, ok := w.begin()
	if !ok {
		return w
	}
	return w.took(AppendDateTime(b, t))
}
