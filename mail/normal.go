package mail

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// NormalVersion is that of the normal form: what is derived from another one
// must be made anew.
const NormalVersion = 1

// A normalizer writes the normal form of UTF-8 that comes in pieces:
// i;unicode-casemap (RFC 5051 §2: title case, then full decomposition, each
// character by itself), and runs of white space as one blank. What characters
// decompose into becomes title case too, beyond the RFC, so that the normal
// form of a normal form is itself and "fi" finds the ligature. Controls are
// left out.
type normalizer struct {
	blank bool // the last octet written is a blank
	part  [utf8.UTFMax]byte
	n     int // octets in part, of a character that came in part
}

// asciiNormal is title case, a blank for white space, and 0 for controls.
var asciiNormal = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		switch {
		case c >= '\t' && c <= '\r':
			t[c] = ' '
		case c >= ' ' && c < 0x7f:
			t[c] = upperByte(byte(c))
		}
	}
	return t
}()

// commonNormal holds the normal forms of the characters that most text beyond
// ASCII is made of: Latin, Greek, Cyrillic. Those with a blank are not in it.
var commonNormal = func() (t [0x500]string) {
	for r := rune(utf8.RuneSelf); r < rune(len(t)); r++ {
		if s := string(appendCasemap(nil, r)); strings.IndexByte(s, ' ') < 0 && !unicode.IsControl(r) && !unicode.IsSpace(r) {
			t[r] = s
		}
	}
	return t
}()

func (z *normalizer) append(dst, src []byte) []byte {
	for z.n > 0 && len(src) > 0 { // a character from the piece before
		z.part[z.n] = src[0]
		z.n++
		src = src[1:]
		if utf8.FullRune(z.part[:z.n]) {
			part := z.part
			n := z.n
			z.n = 0
			dst = z.appendWhole(dst, part[:n])
		}
	}
	return z.appendWhole(dst, src)
}

// appendWhole takes octets that begin with the beginning of a character.
func (z *normalizer) appendWhole(dst, src []byte) []byte {
	for len(src) > 0 {
		dst = slices.Grow(dst, len(src))
		var n, k int
		n, k, z.blank = normalASCII(dst[len(dst):cap(dst)], src, z.blank)
		dst, src = dst[:len(dst)+n], src[k:]
		for len(src) > 0 && src[0] >= utf8.RuneSelf {
			if !utf8.FullRune(src) {
				z.n = copy(z.part[:], src)
				return dst
			}
			r, size := utf8.DecodeRune(src)
			dst = z.appendRune(dst, r)
			src = src[size:]
		}
	}
	return dst
}

// normalASCII is the hot part: it takes octets up to the first that is beyond
// ASCII. dst is as long as src at least.
func normalASCII(dst, src []byte, blank bool) (n, k int, _ bool) {
	dst = dst[:len(src)]
	for k, c := range src {
		if c >= utf8.RuneSelf {
			return n, k, blank
		}
		switch u := asciiNormal[c]; {
		case u > ' ':
			dst[n] = u
			n++
			blank = false
		case u != 0 && !blank:
			dst[n] = ' '
			n++
			blank = true
		}
	}
	return n, len(src), blank
}

// appendRune takes a character beyond ASCII.
func (z *normalizer) appendRune(dst []byte, r rune) []byte {
	if int(r) < len(commonNormal) && commonNormal[r] != "" {
		z.blank = false
		return append(dst, commonNormal[r]...)
	}
	switch {
	case unicode.IsSpace(r):
		return z.appendBlank(dst)
	case unicode.IsControl(r):
		return dst
	}
	start := len(dst)
	dst = appendCasemap(dst, r)
	if bytes.IndexByte(dst[start:], ' ') < 0 {
		z.blank = false
		return dst
	}
	mapped := string(dst[start:])
	dst = dst[:start]
	for i := range len(mapped) { // such as a spacing accent: blank and accent
		if mapped[i] == ' ' {
			dst = z.appendBlank(dst)
		} else {
			dst, z.blank = append(dst, mapped[i]), false
		}
	}
	return dst
}

// appendCasemap appends title case and decomposition of r, until they change
// nothing.
func appendCasemap(dst []byte, r rune) []byte {
	title := unicode.ToTitle(r)
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], title)
	d := norm.NFKD.Properties(buf[:n]).Decomposition()
	if d == nil && '\uac00' <= title && title <= '\ud7a3' { // Hangul syllables are decomposed by rule
		return norm.NFKD.AppendString(dst, string(title))
	}
	if d == nil && title == r {
		return append(dst, buf[:n]...)
	}
	if d == nil {
		return appendCasemap(dst, title)
	}
	for _, c := range string(d) {
		dst = appendCasemap(dst, c)
	}
	return dst
}

func (z *normalizer) appendBlank(dst []byte) []byte {
	if !z.blank {
		dst, z.blank = append(dst, ' '), true
	}
	return dst
}

// Normal is the normal form of a string in UTF-8.
func Normal(s string) string {
	var z normalizer
	b := z.append(make([]byte, 0, len(s)+8), []byte(s))
	if z.n > 0 { // it ends within a character
		b = utf8.AppendRune(b, utf8.RuneError)
	}
	return string(b)
}

// AppendNormalHeader appends the normal form of a header field's value as it
// stands in the message: unfolded, encoded words decoded, no white space
// around it.
func AppendNormalHeader(dst, value []byte) []byte {
	value = bytes.Trim(value, " \t\r\n")
	if hasEightBit(value) || bytes.Contains(value, []byte("=?")) {
		value = appendDecoded(nil, value)
	}
	var z normalizer
	return z.append(dst, value)
}
