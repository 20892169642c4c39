package mail

import "strings"

// DecodeHeader decodes the encoded words of a header value (RFC 2047) into
// UTF-8. It takes them where they stand, also within other words, and what
// can't be decoded stays as it is.
func DecodeHeader(s string) string {
	if !strings.Contains(s, "=?") {
		return string(validUTF8([]byte(s)))
	}
	d := wordDecoder{out: make([]byte, 0, len(s))}
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		name, text, rest, ok := encodedWord(s[i:])
		if !ok {
			d.plain(s[:i+2])
			s = s[i+2:]
			continue
		}
		if !d.word || strings.Trim(s[:i], " \t\r\n") != "" { // white space between words is none of the text, §6.2
			d.plain(s[:i])
		}
		if !strings.EqualFold(name, d.charset) {
			d.flush()
		}
		d.word, d.charset, d.raw = true, name, append(d.raw, text...)
		s = rest
	}
	d.plain(s)
	d.flush()
	return string(d.out)
}

// A wordDecoder collects the octets of words that stand together in one
// charset: programs cut them within characters, though RFC 2047 §5 forbids it.
type wordDecoder struct {
	out     []byte
	word    bool // the last thing was an encoded word
	charset string
	raw     []byte
}

func (d *wordDecoder) plain(s string) {
	if s != "" {
		d.flush()
		d.word = false
		d.out = append(d.out, validUTF8([]byte(s))...)
	}
}

func (d *wordDecoder) flush() {
	if len(d.raw) == 0 {
		return
	}
	text := d.raw
	if e := charset(d.charset); e != nil {
		if t, err := e.NewDecoder().Bytes(text); err == nil {
			text = t
		}
	}
	d.out = append(d.out, validUTF8(text)...)
	d.raw = d.raw[:0]
}

// encodedWord reads =?charset[*language]?encoding?text?= at the beginning of
// s (RFC 2047 §2, RFC 2231 §5).
func encodedWord(s string) (name string, text []byte, rest string, ok bool) {
	name, after, ok := strings.Cut(s[2:], "?")
	if !ok || name == "" || len(after) < 2 || after[1] != '?' || strings.ContainsAny(name, " \t\r\n=") {
		return "", nil, s, false
	}
	name, _, _ = strings.Cut(name, "*")
	coded, rest, ok := strings.Cut(after[2:], "?=")
	if !ok {
		return "", nil, s, false
	}
	switch after[0] {
	case 'B', 'b':
		var d base64Decoder
		return name, d.finish(d.decode(nil, []byte(coded))), rest, true
	case 'Q', 'q':
		return name, decodeQ(coded), rest, true
	}
	return "", nil, s, false
}

// decodeQ is the Q encoding, RFC 2047 §4.2.
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}
