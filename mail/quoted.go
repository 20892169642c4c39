package mail

import "slices"

// quotedDecoder is quoted-printable (RFC 2045 §6.7). White space before a line
// end is the transport's; what is no escape stands for itself.
type quotedDecoder struct {
	held []byte // white space that may end the line, or the beginning of an escape
}

const maxHeldQuoted = 1000

func (d *quotedDecoder) append(dst, src []byte) []byte {
	dst = slices.Grow(dst, len(d.held)+len(src))
	for i := 0; i < len(src); {
		if len(d.held) > 0 {
			var again bool
			if dst, again = d.step(dst, src[i]); !again {
				i++
			}
			continue
		}
		n := plainQuoted(src[i:])
		dst = append(dst, src[i:i+n]...)
		if i += n; i < len(src) {
			d.held = append(d.held, src[i])
			i++
		}
	}
	return dst
}

// plainQuoted is how many octets at the beginning of b stand for themselves:
// blanks do when a character follows them.
func plainQuoted(b []byte) int {
	for i, c := range b {
		if c == '=' {
			return i
		}
		if (c == ' ' || c == '\t') && (i+1 == len(b) || b[i+1] <= ' ') {
			return i
		}
	}
	return len(b)
}

// step takes the octet after held ones. again: it has not been taken yet.
func (d *quotedDecoder) step(dst []byte, c byte) (out []byte, again bool) {
	held := d.held
	full := len(held) >= maxHeldQuoted
	blank := c == ' ' || c == '\t'
	if held[0] != '=' {
		if blank && !full {
			d.held = append(held, c)
			return dst, false
		}
		d.held = held[:0]
		if c != '\r' && c != '\n' {
			dst = append(dst, held...)
		}
		return dst, true
	}
	escape := len(held) == 2 && hexDigit(held[1]) >= 0
	switch {
	case escape && hexDigit(c) >= 0:
		d.held = held[:0]
		return append(dst, byte(hexDigit(held[1])<<4|hexDigit(c))), false
	case !escape && c == '\n': // a soft line break
		d.held = held[:0]
		return dst, false
	case !escape && !full && (blank || c == '\r'), len(held) == 1 && hexDigit(c) >= 0:
		d.held = append(held, c)
		return dst, false
	}
	d.held = held[:0]
	return append(dst, held...), true
}

// finish ends the body. A "=" at the end is a soft line break.
func (d *quotedDecoder) finish(dst []byte) []byte {
	held := d.held
	d.held = held[:0]
	if len(held) == 2 && held[0] == '=' && hexDigit(held[1]) >= 0 {
		dst = append(dst, held...)
	}
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
