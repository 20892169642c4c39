package storage

import (
	"errors"
	"unicode/utf8"
)

var errPunycode = errors.New("not punycode")

// Parameters of RFC 3492 §5.
const (
	punyBase        = 36
	punyTMin        = 1
	punyTMax        = 26
	punySkew        = 38
	punyDamp        = 700
	punyInitialBias = 72
	punyInitialN    = 128
)

// decodePunycode returns the characters of an IDNA label without its "xn--"
// (RFC 3492 §6.2). The label must hold some that are not ASCII, else two
// spellings would stand for one domain.
func decodePunycode(label string) (string, error) {
	var out []rune
	rest := label
	for i := len(label) - 1; i >= 0; i-- {
		if label[i] == '-' {
			out, rest = []rune(label[:i]), label[i+1:]
			break
		}
	}
	if rest == "" || len(label) > maxLabel {
		return "", errPunycode
	}
	n, i, bias := punyInitialN, 0, punyInitialBias
	for len(rest) > 0 {
		before, weight := i, 1
		for k := punyBase; ; k += punyBase {
			if rest == "" {
				return "", errPunycode
			}
			digit := punyDigit(rest[0])
			rest = rest[1:]
			// A label has at most 63 bytes and a rune 21 bits: 1<<30 is
			// beyond all that is valid, and below an overflow of 32 bits.
			if digit < 0 || weight > (1<<30)/punyBase {
				return "", errPunycode
			}
			if i += digit * weight; i > 1<<30 || i < 0 {
				return "", errPunycode
			}
			t := min(max(k-bias, punyTMin), punyTMax)
			if digit < t {
				break
			}
			weight *= punyBase - t
		}
		bias = punyAdapt(i-before, len(out)+1, before == 0)
		n += i / (len(out) + 1)
		i %= len(out) + 1
		if !utf8.ValidRune(rune(n)) {
			return "", errPunycode
		}
		out = append(out[:i], append([]rune{rune(n)}, out[i:]...)...)
		i++
	}
	return string(out), nil
}

func punyDigit(c byte) int {
	switch {
	case c >= 'a' && c <= 'z':
		return int(c - 'a')
	case c >= '0' && c <= '9':
		return int(c-'0') + 26
	}
	return -1
}

// punyAdapt is the bias adaptation of RFC 3492 §6.1.
func punyAdapt(delta, points int, first bool) int {
	if first {
		delta /= punyDamp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for delta > (punyBase-punyTMin)*punyTMax/2 {
		delta /= punyBase - punyTMin
		k += punyBase
	}
	return k + (punyBase-punyTMin+1)*delta/(delta+punySkew)
}
