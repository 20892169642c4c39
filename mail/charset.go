package mail

import (
	"bytes"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// charset finds a charset by its name; nil for UTF-8 and ASCII, and for one
// that is not known, whose octets are then taken as in unknownText.
func charset(name string) encoding.Encoding {
	name = strings.ToLower(strings.Trim(name, `"' `))
	switch name {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "ansi_x3.4-1968":
		return nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	if n, err := htmlindex.Name(e); err == nil && (n == "utf-8" || n == "replacement") {
		return nil
	}
	return e
}

// validUTF8 takes octets for UTF-8, and for Windows-1252 where they are not.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+len(b)/2)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			r = charmap.Windows1252.DecodeByte(b[0])
		}
		out = utf8.AppendRune(out, r)
		b = b[n:]
	}
	return out
}

var words = mime.WordDecoder{CharsetReader: func(name string, r io.Reader) (io.Reader, error) {
	if i := strings.IndexByte(name, '*'); i > 0 { // RFC 2231 §5: a language
		name = name[:i]
	}
	if e := charset(name); e != nil {
		return e.NewDecoder().Reader(r), nil
	}
	b, err := io.ReadAll(r)
	return bytes.NewReader(validUTF8(b)), err
}}

// DecodeHeader decodes the encoded words of a header value (RFC 2047) into
// UTF-8. What can't be decoded stays as it is.
func DecodeHeader(s string) string {
	if strings.Contains(s, "=?") {
		if d, err := words.DecodeHeader(s); err == nil {
			s = d
		}
	}
	return string(validUTF8([]byte(s)))
}
