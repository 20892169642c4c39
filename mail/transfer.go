package mail

import (
	"errors"
	"io"
	"strings"
)

// ErrUnknownEncoding says that a Content-Transfer-Encoding is not known.
var ErrUnknownEncoding = errors.New("unknown content transfer encoding")

// A transferEncoding is a Content-Transfer-Encoding (RFC 2045 §6).
type transferEncoding uint8

const (
	encIdentity transferEncoding = iota // 7bit, 8bit, binary
	encBase64
	encQuoted
	encUnknown
)

// encodingOf reads a name in upper case.
func encodingOf(name string) transferEncoding {
	switch name {
	case "", "7BIT", "8BIT", "BINARY":
		return encIdentity
	case "BASE64":
		return encBase64
	case "QUOTED-PRINTABLE":
		return encQuoted
	}
	return encUnknown
}

// A transfer takes the encoding off a body that comes in pieces. It takes
// everything: octets that the encoding doesn't know are passed over, or stand
// for themselves.
type transfer struct {
	encoding transferEncoding
	base64   base64Decoder
	quoted   quotedDecoder
}

func (t *transfer) reset(e transferEncoding) {
	t.encoding = e
	t.base64 = base64Decoder{}
	t.quoted.held = t.quoted.held[:0]
}

func (t *transfer) append(dst, src []byte) []byte {
	switch t.encoding {
	case encBase64:
		return t.base64.append(dst, src)
	case encQuoted:
		return t.quoted.append(dst, src)
	}
	return append(dst, src...)
}

func (t *transfer) finish(dst []byte) []byte {
	switch t.encoding {
	case encBase64:
		return t.base64.finish(dst)
	case encQuoted:
		return t.quoted.finish(dst)
	}
	return dst
}

// NewTransferReader decodes the body that r reads, the bytes of
// Part.Offset+HeaderSize and BodySize. It reads as many octets as
// Part.DecodedSize says.
func NewTransferReader(encoding string, r io.Reader) (io.Reader, error) {
	e := encodingOf(strings.ToUpper(encoding))
	switch e {
	case encIdentity:
		return r, nil
	case encUnknown:
		return nil, ErrUnknownEncoding
	}
	t := &transferReader{r: r}
	t.transfer.reset(e)
	return t, nil
}

type transferReader struct {
	transfer transfer
	r        io.Reader
	in       [4 << 10]byte
	buf      []byte
	out      []byte // of buf, not yet given
	err      error  // after out
}

func (t *transferReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		n, err := t.r.Read(t.in[:])
		t.buf = t.transfer.append(t.buf[:0], t.in[:n])
		if err == io.EOF {
			t.buf = t.transfer.finish(t.buf)
		}
		t.out, t.err = t.buf, err
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}
