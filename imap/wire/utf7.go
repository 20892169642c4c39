package wire

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf7 is the BASE64 of modified UTF-7: "," for "/", no padding (RFC 3501
// §5.1.3).
var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

var errUTF7 = errors.New("not modified UTF-7")

// EncodeUTF7 writes a name in modified UTF-7.
func EncodeUTF7(s string) string {
	if plainName(s) {
		return s
	}
	var out []byte
	for i := 0; i < len(s); {
		if c := s[i]; c >= 0x20 && c <= 0x7e {
			out = append(out, c)
			if c == '&' {
				out = append(out, '-')
			}
			i++
			continue
		}
		var units []byte
		for i < len(s) && (s[i] < 0x20 || s[i] > 0x7e) {
			r, n := utf8.DecodeRuneInString(s[i:])
			i += n
			if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
				units = append(units, byte(hi>>8), byte(hi), byte(lo>>8), byte(lo))
			} else {
				units = append(units, byte(r>>8), byte(r))
			}
		}
		out = append(out, '&')
		out = utf7.AppendEncode(out, units)
		out = append(out, '-')
	}
	return string(out)
}

// DecodeUTF7 reads a name in modified UTF-7. It takes only the one form that
// each name has: no printable ASCII in BASE64, no shift back and forth, no
// stray bits (RFC 3501 §5.1.3).
func DecodeUTF7(s string) (string, error) {
	var out []byte
	shifted := false // the last thing was a BASE64 run
	for i := 0; i < len(s); {
		c := s[i]
		if c < 0x20 || c > 0x7e {
			return "", errUTF7
		}
		if c != '&' {
			out = append(out, c)
			i++
			shifted = false
			continue
		}
		end := i + 1
		for end < len(s) && s[end] != '-' {
			end++
		}
		// The decoder below would overlook line ends.
		if end == len(s) || strings.ContainsAny(s[i+1:end], "\r\n") {
			return "", errUTF7
		}
		if end == i+1 {
			out = append(out, '&')
			i, shifted = end+1, false
			continue
		}
		if shifted {
			return "", errUTF7
		}
		var err error
		if out, err = appendUnits(out, s[i+1:end]); err != nil {
			return "", err
		}
		i, shifted = end+1, true
	}
	return string(out), nil
}

// appendUnits appends a BASE64 run of UTF-16, decoded, as UTF-8.
func appendUnits(out []byte, run string) ([]byte, error) {
	units, err := utf7.DecodeString(run)
	if err != nil || len(units)%2 != 0 {
		return nil, errUTF7
	}
	for i := 0; i < len(units); i += 2 {
		r := rune(units[i])<<8 | rune(units[i+1])
		if utf16.IsSurrogate(r) {
			if i+3 >= len(units) {
				return nil, errUTF7
			}
			i += 2
			r = utf16.DecodeRune(r, rune(units[i])<<8|rune(units[i+1]))
			if r == utf8.RuneError {
				return nil, errUTF7
			}
		}
		if r >= 0x20 && r <= 0x7e || r == 0 {
			return nil, errUTF7
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}
