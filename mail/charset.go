package mail

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// charset finds a charset by its name; nil for UTF-8 and ASCII, and for one
// that is not known, whose octets are then taken as in unknownText.
func charset(name string) encoding.Encoding {
	name = strings.ToLower(strings.Trim(name, `"' `))
	switch name {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "ansi_x3.4-1968":
		return nil
	}
	if name == "hz-gb-2312" { // browsers refuse it, mail has it
		return simplifiedchinese.HZGB2312
	}
	e, err := htmlindex.Get(name)
	if err != nil { // such as cp437
		if e, err = ianaindex.MIME.Encoding(name); err != nil {
			return nil
		}
		return e
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
