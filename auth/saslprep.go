package auth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxPassword bounds a password in bytes; RFC 4616 §2 wants 255 at least.
const maxPassword = 1024

// A PasswordError says why a password can't be one.
type PasswordError struct{ Why string }

func (e *PasswordError) Error() string { return "the password " + e.Why }

// prepare is SASLprep (RFC 4013), so that a password is the same however a
// keyboard composes its letters. Of it we leave out the rules on direction
// (§2.4) and on unassigned code points (§2.5): they only refuse passwords,
// they map none.
func prepare(password string) (string, error) {
	if len(password) > maxPassword {
		return "", &PasswordError{Why: fmt.Sprintf("has more than %d bytes", maxPassword)}
	}
	if !utf8.ValidString(password) {
		return "", &PasswordError{Why: "is not UTF-8"}
	}
	s := norm.NFKC.String(strings.Map(saslMap, password))
	if s == "" {
		return "", &PasswordError{Why: "is empty"}
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(saslProhibited, r) || r&0xFFFE == 0xFFFE {
			return "", &PasswordError{Why: "has a character that cannot be used"}
		}
	}
	return s, nil
}

// saslMap is RFC 4013 §2.1: blanks of all kinds (RFC 3454, C.1.2) become
// plain ones, invisible marks (B.1) go.
func saslMap(r rune) rune {
	switch {
	case r < 0xA0:
		return r
	case r == 0xA0, r == 0x1680, r >= 0x2000 && r <= 0x200B, r == 0x202F, r == 0x205F, r == 0x3000:
		return ' '
	case r == 0xAD, r == 0x34F, r == 0x1806, r >= 0x180B && r <= 0x180D, r == 0x200C, r == 0x200D,
		r == 0x2060, r >= 0xFE00 && r <= 0xFE0F, r == 0xFEFF:
		return -1
	}
	return r
}

// saslProhibited are the characters of RFC 3454 C.2.2 to C.9 that are neither
// control characters nor the two non-characters at the end of each plane.
var saslProhibited = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0340, Hi: 0x0341, Stride: 1}, {Lo: 0x06DD, Hi: 0x070F, Stride: 0x070F - 0x06DD}, {Lo: 0x180E, Hi: 0x180E, Stride: 1},
		{Lo: 0x200E, Hi: 0x200F, Stride: 1}, {Lo: 0x2028, Hi: 0x202E, Stride: 1}, {Lo: 0x2061, Hi: 0x2063, Stride: 1},
		{Lo: 0x206A, Hi: 0x206F, Stride: 1}, {Lo: 0x2FF0, Hi: 0x2FFB, Stride: 1}, {Lo: 0xE000, Hi: 0xF8FF, Stride: 1},
		{Lo: 0xFDD0, Hi: 0xFDEF, Stride: 1}, {Lo: 0xFFF9, Hi: 0xFFFD, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1D173, Hi: 0x1D17A, Stride: 1}, {Lo: 0xE0001, Hi: 0xE0001, Stride: 1}, {Lo: 0xE0020, Hi: 0xE007F, Stride: 1},
		{Lo: 0xF0000, Hi: 0x10FFFD, Stride: 1},
	},
}
