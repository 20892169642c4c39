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

// A normalizer writes the normal form of UTF-8 text: i;unicode-casemap of RFC
// 5051 (title case, then decomposed, each character on its own) and runs of
// white space as one blank. It works on pieces that may end within a
// character.
type normalizer struct {
	space bool // the last thing written is a blank
	part  [utf8.UTFMax]byte
	n     int
}

// upper is title case of ASCII, a blank for white space, and 0 for other
// controls, which are left out.
var upper = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		switch {
		case 'a' <= c && c <= 'z':
			t[c] = byte(c - 32)
		case c == ' ' || '\t' <= c && c <= '\r':
			t[c] = ' '
		case c > ' ' && c < 0x7f:
			t[c] = byte(c)
		}
	}
	return t
}()

// common holds the normal forms of the characters that most text beyond ASCII
// is made of: Latin, Greek and Cyrillic. Those with a blank are not in it.
var common = func() (t [0x500 - utf8.RuneSelf]string) {
	for i := range t {
		var z normalizer
		if s := string(z.decompose(nil, rune(i+utf8.RuneSelf))); strings.IndexByte(s, ' ') < 0 {
			t[i] = s
		}
	}
	return t
}()

// append appends the normal form of b.
func (z *normalizer) append(dst, b []byte) []byte {
	for len(b) > 0 {
		if z.n > 0 { // a character from the piece before
			z.part[z.n] = b[0]
			z.n++
			b = b[1:]
			if utf8.FullRune(z.part[:z.n]) {
				r, n := utf8.DecodeRune(z.part[:z.n])
				rest := append([]byte(nil), z.part[n:z.n]...)
				z.n = 0
				dst = z.rune(dst, r)
				dst = z.append(dst, rest)
			}
			continue
		}
		if b[0] < utf8.RuneSelf {
			dst, b = z.ascii(dst, b)
			continue
		}
		if !utf8.FullRune(b) {
			z.n = copy(z.part[:], b)
			return dst
		}
		r, n := utf8.DecodeRune(b)
		dst = z.rune(dst, r)
		b = b[n:]
	}
	return dst
}

// ascii appends the normal form of the ASCII that b begins with.
func (z *normalizer) ascii(dst, b []byte) (out, rest []byte) {
	dst = slices.Grow(dst, len(b))
	out = dst[len(dst) : len(dst)+len(b)]
	n, space := 0, z.space
	for i, c := range b {
		if c >= utf8.RuneSelf {
			rest = b[i:]
			break
		}
		switch u := upper[c]; {
		case u > ' ':
			out[n] = u
			n++
			space = false
		case u == ' ' && !space:
			out[n] = u
			n++
			space = true
		}
	}
	z.space = space
	return dst[:len(dst)+n], rest
}

// blank writes white space, once a run.
func (z *normalizer) blank(dst []byte) []byte {
	if !z.space {
		dst = append(dst, ' ')
		z.space = true
	}
	return dst
}

func (z *normalizer) rune(dst []byte, r rune) []byte {
	if r < utf8.RuneSelf {
		dst, _ = z.ascii(dst, []byte{byte(r)})
		return dst
	}
	if i := int(r - utf8.RuneSelf); i < len(common) && common[i] != "" {
		z.space = false
		return append(dst, common[i]...)
	}
	return z.decompose(dst, r)
}

// decompose appends the normal form of a character beyond ASCII.
func (z *normalizer) decompose(dst []byte, r rune) []byte {
	if unicode.IsSpace(r) {
		return z.blank(dst)
	}
	r = unicode.ToTitle(r)
	if r < utf8.RuneSelf {
		z.space = false
		return append(dst, byte(r))
	}
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], r)
	d := norm.NFKD.Properties(buf[:n]).Decomposition()
	if d == nil {
		z.space = false
		return append(dst, buf[:n]...)
	}
	for len(d) > 0 {
		r, n := utf8.DecodeRune(d)
		switch c := unicode.ToTitle(r); {
		case r == ' ': // such as a spacing accent: blank and accent
			dst = z.blank(dst)
		case c < utf8.RuneSelf: // a ligature, a letter in a circle: RFC 5051 would leave them small, so that "fi" wouldn't find them
			dst, z.space = append(dst, byte(c)), false
		default:
			dst, z.space = append(dst, d[:n]...), false
		}
		d = d[n:]
	}
	return dst
}

// Normal is the normal form of a string in UTF-8.
func Normal(s string) string {
	var z normalizer
	b := z.append(make([]byte, 0, len(s)+8), []byte(s))
	return string(b)
}

// AppendNormalHeader appends the normal form of a header field's value as it
// stands in the message: unfolded, encoded words decoded.
func AppendNormalHeader(dst, value []byte) []byte {
	var z normalizer
	return z.append(dst, decodeValue(value))
}

// decodeValue is the UTF-8 of a header field's value.
func decodeValue(value []byte) []byte {
	if bytes.Contains(value, []byte("=?")) {
		return []byte(DecodeHeader(unfold(value)))
	}
	return validUTF8(bytes.TrimSpace(value))
}

// A Needle looks for a string in text that comes in pieces.
type Needle struct {
	s    string
	tail []byte // end of the text so far, shorter than s
}

// NewNeedle looks for s, which is in normal form.
func NewNeedle(s string) *Needle { return &Needle{s: s} }

// Feed takes the next piece and reports whether s stands in the text so far.
// The caller stops at the first find.
func (n *Needle) Feed(piece []byte) (found bool) {
	if len(n.s) == 0 {
		return true
	}
	keep := len(n.s) - 1
	if len(n.tail) > 0 {
		n.tail = append(n.tail, piece[:min(len(piece), keep)]...)
		if strings.Contains(string(n.tail), n.s) {
			return true
		}
	}
	if bytes.Contains(piece, []byte(n.s)) {
		return true
	}
	if len(piece) >= keep {
		n.tail = append(n.tail[:0], piece[len(piece)-keep:]...)
		return false
	}
	if len(n.tail) == 0 {
		n.tail = append(n.tail, piece...)
	}
	n.tail = n.tail[max(0, len(n.tail)-keep):]
	return false
}

// Reset forgets the text.
func (n *Needle) Reset() { n.tail = n.tail[:0] }
