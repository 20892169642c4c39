package mail

import "slices"

// base64Decoder is RFC 2045 §6.8. Octets outside of the alphabet are passed
// over; padding ends a group, and another may follow.
type base64Decoder struct {
	bits uint32
	n    int // digits in bits
}

// Values of base64Digit beyond the digits.
const (
	notBase64 = 0x80
	padBase64 = 0xc0
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

func (d *base64Decoder) append(dst, src []byte) []byte {
	dst = slices.Grow(dst, len(src)/4*3+6)
	for i := 0; i < len(src); {
		if d.n == 0 {
			n, k := decodeGroups(dst[len(dst):cap(dst)], src[i:])
			dst, i = dst[:len(dst)+n], i+k
			if i == len(src) {
				break
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
		i++
	}
	return dst
}

// decodeGroups decodes whole groups of four digits, up to anything else.
func decodeGroups(dst, src []byte) (n, k int) {
	for len(src)-k >= 4 && len(dst)-n >= 3 {
		s := src[k : k+4 : k+4]
		a, b, c, e := base64Digit[s[0]], base64Digit[s[1]], base64Digit[s[2]], base64Digit[s[3]]
		if (a|b|c|e)&0x80 != 0 {
			break
		}
		d := dst[n : n+3 : n+3]
		d[0], d[1], d[2] = a<<2|b>>4, b<<4|c>>2, c<<6|e
		n, k = n+3, k+4
	}
	return n, k
}

// finish ends a group: a lone digit is no octet.
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

// count is how many octets append would give.
func (d *base64Decoder) count(src []byte) (octets int64) {
	t := &base64Digit
	digits := 0
	for i := 0; i < len(src); i++ {
		for len(src)-i >= 8 { // eight digits at once
			s := src[i : i+8 : i+8]
			if (t[s[0]]|t[s[1]]|t[s[2]]|t[s[3]]|t[s[4]]|t[s[5]]|t[s[6]]|t[s[7]])&0x80 != 0 {
				break
			}
			digits, i = digits+8, i+8
		}
		if i == len(src) {
			break
		}
		c := src[i]
		v := t[c]
		if v == padBase64 {
			octets += d.countDigits(digits) + d.countEnd()
			digits = 0
			continue
		}
		digits += int(v>>7 ^ 1)
	}
	return octets + d.countDigits(digits)
}

func (d *base64Decoder) countDigits(digits int) int64 {
	digits += d.n
	d.n = digits & 3
	return int64(digits / 4 * 3)
}

// countEnd is how many octets finish would give.
func (d *base64Decoder) countEnd() int64 {
	n := max(0, d.n-1)
	d.n = 0
	return int64(n)
}
