package mail

import (
	"bytes"
)

// maxEncodedWord bounds an encoded word; RFC 2047 §2 allows 75 octets.
const maxEncodedWord = 4000

// An encodedWord is =?charset?encoding?text?= (RFC 2047 §2). Blanks in the
// text are against the rules, but common.
type encodedWord struct {
	charset  []byte
	encoding byte // 'B' or 'Q'
	text     []byte
}

// cutEncodedWord reads the word that s begins with; n is 0 if there is none.
func cutEncodedWord(s []byte) (w encodedWord, n int) {
	if len(s) < 8 || s[0] != '=' || s[1] != '?' {
		return w, 0
	}
	i := 2
	for i < len(s) && i < maxName && s[i] != '?' && class[s[i]]&isSpace == 0 {
		i++
	}
	if i == 2 || i+3 > len(s) || s[i] != '?' || s[i+2] != '?' {
		return w, 0
	}
	w.charset, w.encoding = s[2:i], upperByte(s[i+1])
	if star := bytes.IndexByte(w.charset, '*'); star > 0 { // a language, RFC 2231 §5
		w.charset = w.charset[:star]
	}
	if w.encoding != 'B' && w.encoding != 'Q' {
		return w, 0
	}
	start := i + 3
	rest := s[start:min(len(s), start+maxEncodedWord)]
	end := bytes.Index(rest, []byte("?="))
	if end < 0 {
		return w, 0
	}
	w.text = rest[:end]
	return w, start + end + 2
}

// encodedWordLen is the length of the encoded word that s begins with, or 0.
func encodedWordLen(s []byte) int {
	_, n := cutEncodedWord(s)
	return n
}

// appendOctets appends what the word encodes.
func (w encodedWord) appendOctets(dst []byte) []byte {
	if w.encoding == 'B' {
		var d base64Decoder
		return d.finish(d.append(dst, w.text))
	}
	for i := 0; i < len(w.text); i++ {
		switch c := w.text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(w.text) && hexDigit(w.text[i+1]) >= 0 && hexDigit(w.text[i+2]) >= 0:
			dst = append(dst, byte(hexDigit(w.text[i+1])<<4|hexDigit(w.text[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendDecoded appends the UTF-8 of a header value: encoded words decoded,
// line ends and what can't be decoded as they stand. White space between two
// encoded words is none (RFC 2047 §6.2), and their octets are decoded
// together, for there are programs that split characters.
func appendDecoded(dst, s []byte) []byte {
	var octets []byte
	for {
		i := bytes.Index(s, []byte("=?"))
		if i < 0 {
			return validUTF8(dst, s)
		}
		w, n := cutEncodedWord(s[i:])
		if n == 0 {
			dst, s = validUTF8(dst, s[:i+2]), s[i+2:]
			continue
		}
		dst = validUTF8(dst, s[:i])
		s = s[i+n:]
		octets = w.appendOctets(octets[:0])
		charset := w.charset
		for {
			next := bytes.TrimLeft(s, " \t\r\n")
			w, n = cutEncodedWord(next)
			if n == 0 {
				break
			}
			if !bytes.EqualFold(w.charset, charset) {
				dst = appendUTF8(dst, octets, string(charset))
				octets, charset = octets[:0], w.charset
			}
			octets = w.appendOctets(octets)
			s = next[n:]
		}
		dst = appendUTF8(dst, octets, string(charset))
	}
}

// DecodeHeader is the UTF-8 of a header value, encoded words decoded.
func DecodeHeader(s string) string { return string(appendDecoded(nil, []byte(s))) }
