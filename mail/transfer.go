package mail

import (
	"errors"
	"io"
	"strings"
)

// ErrUnknownEncoding says that a Content-Transfer-Encoding is not known.
var ErrUnknownEncoding = errors.New("unknown content transfer encoding")

// A transfer decodes a body piece by piece. It takes everything: octets that
// the encoding doesn't know are passed over or stand for themselves.
type transfer interface {
	decode(dst, src []byte) []byte
	finish(dst []byte) []byte
}

func newTransfer(encoding string) transfer {
	switch {
	case strings.EqualFold(encoding, "BASE64"):
		return new(base64Decoder)
	case strings.EqualFold(encoding, "QUOTED-PRINTABLE"):
		return new(qpDecoder)
	}
	return nil
}

// base64Decoder is RFC 2045 §6.8. Padding ends a group, and another may follow.
type base64Decoder struct {
	bits uint32
	n    int // 6-bit digits in bits
}

const (
	notBase64 = 0xff
	padBase64 = 0xfe
)

var base64Digit = func() (t [256]byte) {
	for i := range t {
		t[i] = notBase64
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	t['='] = padBase64
	return t
}()

func (d *base64Decoder) decode(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		if d.n == 0 && i+3 < len(src) { // whole groups
			a, b, c, e := base64Digit[src[i]], base64Digit[src[i+1]], base64Digit[src[i+2]], base64Digit[src[i+3]]
			if a|b|c|e < 64 {
				dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|e)
				i += 3
				continue
			}
		}
		switch v := base64Digit[src[i]]; v {
		case notBase64:
		case padBase64:
			dst = d.finish(dst)
		default:
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
				d.bits, d.n = 0, 0
			}
		}
	}
	return dst
}

func (d *base64Decoder) finish(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return dst
}

// qpDecoder is RFC 2045 §6.7.
type qpDecoder struct {
	held []byte // "=", "=A", or white space that may end the line
}

const maxHeldSpace = 1000

func (d *qpDecoder) decode(dst, src []byte) []byte {
	for _, c := range src {
		if len(d.held) == 0 {
			if c != '=' && c != ' ' && c != '\t' {
				dst = append(dst, c)
			} else {
				d.held = append(d.held, c)
			}
			continue
		}
		dst = d.step(dst, c)
	}
	return dst
}

// step takes the octet after held ones.
func (d *qpDecoder) step(dst []byte, c byte) []byte {
	if d.held[0] != '=' { // white space
		switch {
		case c == '\r' || c == '\n': // it is padding of the transport
			d.held = d.held[:0]
			return append(dst, c)
		case (c == ' ' || c == '\t') && len(d.held) < maxHeldSpace:
			d.held = append(d.held, c)
			return dst
		}
		dst = append(dst, d.held...)
		d.held = d.held[:0]
		return d.decode(dst, []byte{c})
	}
	switch last := d.held[len(d.held)-1]; {
	case c == '\n': // a soft line break
		d.held = d.held[:0]
		return dst
	case (c == '\r' || c == ' ' || c == '\t') && len(d.held) < maxHeldSpace && hexDigit(last) < 0:
		d.held = append(d.held, c)
		return dst
	case len(d.held) == 1 && hexDigit(c) >= 0:
		d.held = append(d.held, c)
		return dst
	case len(d.held) == 2 && hexDigit(last) >= 0 && hexDigit(c) >= 0:
		d.held = d.held[:0]
		return append(dst, byte(hexDigit(last)<<4|hexDigit(c)))
	}
	dst = append(dst, d.held...) // not an escape: it stands for itself
	d.held = d.held[:0]
	return d.decode(dst, []byte{c})
}

func (d *qpDecoder) finish(dst []byte) []byte {
	if len(d.held) > 0 && d.held[0] == '=' && (len(d.held) < 2 || hexDigit(d.held[1]) < 0) {
		d.held = d.held[:0] // a soft line break at the end
	}
	if len(d.held) > 0 && d.held[0] != '=' {
		d.held = d.held[:0]
	}
	dst = append(dst, d.held...)
	d.held = d.held[:0]
	return dst
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// A sizer counts the octets that a body has when it is decoded. It holds the
// last line end back, which may be a delimiter's.
type sizer struct {
	encoding string
	t        transfer
	fed, n   int64
	eol      [2]byte
	eols     int
	buf      []byte
}

func (s *sizer) add(b []byte) {
	if s.t == nil {
		if s.t = newTransfer(s.encoding); s.t == nil {
			s.encoding = "" // nothing to count
			return
		}
	}
	if s.eols == 1 && s.eol[0] == '\r' && string(b) == "\n" { // a long line in pieces
		s.eol[1], s.eols = '\n', 2
		return
	}
	s.feed(s.eol[:s.eols])
	s.eols = 0
	switch n := len(b); {
	case n > 1 && b[n-1] == '\n' && b[n-2] == '\r':
		s.eols = 2
	case n > 0 && (b[n-1] == '\n' || b[n-1] == '\r'):
		s.eols = 1
	}
	copy(s.eol[:], b[len(b)-s.eols:])
	b = b[:len(b)-s.eols]
	s.feed(b)
}

func (s *sizer) feed(b []byte) {
	s.fed += int64(len(b))
	for len(b) > 0 {
		k := min(len(b), 4096)
		s.buf = s.t.decode(s.buf[:0], b[:k])
		s.n += int64(len(s.buf))
		b = b[k:]
	}
}

// end is the count for a body of so many octets in this encoding; -1 if it is
// not known.
func (s *sizer) end(encoding string, octets int64) int64 {
	if identity(encoding) {
		return octets
	}
	if newTransfer(encoding) == nil {
		return -1
	}
	if s.t != nil {
		if s.fed+int64(s.eols) <= octets {
			s.feed(s.eol[:s.eols])
		}
		s.n += int64(len(s.t.finish(nil)))
	}
	s.buf = nil
	return s.n
}

// NewTransferReader decodes the body that r reads. It reads as many octets as
// Part.DecodedSize says.
func NewTransferReader(encoding string, r io.Reader) (io.Reader, error) {
	if identity(strings.ToUpper(encoding)) {
		return r, nil
	}
	t := newTransfer(encoding)
	if t == nil {
		return nil, ErrUnknownEncoding
	}
	return &transferReader{t: t, r: r}, nil
}

type transferReader struct {
	t   transfer
	r   io.Reader
	in  [4096]byte
	out []byte
	off int
	err error
}

func (tr *transferReader) Read(p []byte) (int, error) {
	for tr.off == len(tr.out) {
		if tr.err != nil {
			return 0, tr.err
		}
		n, err := tr.r.Read(tr.in[:])
		tr.out, tr.off = tr.t.decode(tr.out[:0], tr.in[:n]), 0
		if err != nil {
			if err == io.EOF {
				tr.out = tr.t.finish(tr.out)
			}
			tr.err = err
		}
	}
	n := copy(p, tr.out[tr.off:])
	tr.off += n
	return n, nil
}
