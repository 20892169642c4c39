package mail

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"
)

// moreCharsets are those that mail has and the web's list lacks.
var moreCharsets = map[string]encoding.Encoding{
	"hz-gb-2312": simplifiedchinese.HZGB2312, "cp936": simplifiedchinese.GBK,
	"cp437": charmap.CodePage437, "ibm437": charmap.CodePage437, "cp850": charmap.CodePage850, "ibm850": charmap.CodePage850,
	"cp852": charmap.CodePage852, "ibm852": charmap.CodePage852, "cp855": charmap.CodePage855, "cp858": charmap.CodePage858,
	"cp860": charmap.CodePage860, "cp862": charmap.CodePage862, "cp863": charmap.CodePage863, "cp865": charmap.CodePage865,
	"cp037": charmap.CodePage037, "cp1047": charmap.CodePage1047,
}

// charset finds a charset by its name. It is nil for UTF-8 and ASCII, and for
// one that is not known: its octets are then taken as validUTF8 does.
func charset(name string) encoding.Encoding {
	switch name {
	case "", "US-ASCII", "UTF-8":
		return nil
	}
	name = strings.ToLower(strings.Trim(name, `"' `))
	if e, ok := moreCharsets[name]; ok {
		return e
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement {
		return nil
	}
	if n, err := htmlindex.Name(e); err == nil && n == "utf-8" {
		return nil
	}
	return e
}

// keepsASCII reports whether octets below 128 are ASCII in a charset, as long
// as they don't belong to a longer character.
func keepsASCII(e encoding.Encoding) bool {
	switch e {
	case simplifiedchinese.HZGB2312, charmap.CodePage037, charmap.CodePage1047:
		return false
	}
	n, err := htmlindex.Name(e)
	return err != nil || n != "iso-2022-jp" && n != "utf-16le" && n != "utf-16be"
}

// validUTF8 appends octets as UTF-8: those that are not are taken for
// Windows-1252, which most mail without a charset is.
func validUTF8(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			r = charmap.Windows1252.DecodeByte(b[0])
		}
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
	return dst
}

// appendUTF8 appends octets in a charset as UTF-8.
func appendUTF8(dst, b []byte, name string) []byte {
	e := charset(string(upperName([]byte(name))))
	if e == nil {
		return validUTF8(dst, b)
	}
	out, _, err := transform.Bytes(e.NewDecoder(), b)
	if err != nil {
		return validUTF8(dst, b)
	}
	return append(dst, out...)
}

// A charsetReader turns text in a charset into UTF-8, piece by piece.
type charsetReader struct {
	t     transform.Transformer // nil: UTF-8, or what passes for it
	ascii bool                  // keepsASCII
	left  []byte                // octets of a character that came in part
	buf   []byte
}

func (c *charsetReader) reset(name string) {
	*c = charsetReader{left: c.left[:0], buf: c.buf, ascii: true}
	if e := charset(name); e != nil {
		c.t, c.ascii = e.NewDecoder(), keepsASCII(e)
	}
}

// append appends the UTF-8 of the next piece; last says that it is the last.
func (c *charsetReader) append(dst, src []byte, last bool) []byte {
	if c.ascii && len(c.left) == 0 && !hasEightBit(src) {
		return append(dst, src...)
	}
	if len(c.left) > 0 {
		c.left = append(c.left, src...)
		src = c.left
	}
	var rest []byte
	if c.t == nil {
		whole := len(src)
		if !last {
			whole -= partialRune(src)
		}
		dst, rest = validUTF8(dst, src[:whole]), src[whole:]
	} else {
		dst, rest = c.transform(dst, src, last)
	}
	c.left = append(c.left[:0], rest...) // both may be of c.left: append copies forward
	return dst
}

func (c *charsetReader) transform(dst, src []byte, last bool) (out, rest []byte) {
	if c.buf == nil {
		c.buf = make([]byte, 4<<10)
	}
	for {
		n, k, err := c.t.Transform(c.buf, src, last)
		dst, src = append(dst, c.buf[:n]...), src[k:]
		if err == transform.ErrShortDst {
			continue
		}
		if err != nil && err != transform.ErrShortSrc && len(src) > 0 { // a decoder that gives up
			return validUTF8(dst, src), nil
		}
		return dst, src
	}
}

// partialRune is how many octets at the end of b begin a character.
func partialRune(b []byte) int {
	for i := 1; i <= min(3, len(b)); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}
