package mail

import (
	"unicode"
	"unicode/utf8"
)

// A previewer collects the beginning of the message's text for PREVIEW (RFC
// 8970 §3.3): of the first text part that has any.
type previewer struct {
	open    bool // a part is being looked at
	decoder textDecoder
	octets  int // that were looked at
	text    []byte
	chars   int
	blank   bool
	left    []byte
}

const (
	previewChars  = 200
	previewOctets = 256 << 10 // of the bodies that are looked at

	zeroWidthJoiner = '\u200d' // in emoji; other format characters mostly pad
)

func (v *previewer) reset() {
	*v = previewer{decoder: v.decoder, text: v.text[:0], left: v.left[:0]}
}

// begin starts with a text part, if none before it had text.
func (v *previewer) begin(t *node) {
	if v.chars > 0 || v.octets >= previewOctets || t.subtype != "PLAIN" && t.subtype != "HTML" {
		return
	}
	v.open = true
	v.decoder.reset(t.subtype, t.encoding, t.charset)
}

func (v *previewer) write(b []byte) {
	for len(b) > 0 && v.open {
		n := min(len(b), 1<<10, previewOctets-v.octets)
		v.take(v.decoder.decode(b[:n], false))
		v.octets += n
		b = b[n:]
		if v.chars > previewChars || v.octets >= previewOctets {
			v.open = false
		}
	}
}

// end ends the part.
func (v *previewer) end() {
	if v.open {
		v.take(v.decoder.decode(nil, true))
		v.open = false
	}
}

// take adds text: runs of white space are a blank, controls are left out.
func (v *previewer) take(b []byte) {
	if len(v.left) > 0 {
		v.left = append(v.left, b...)
		b = v.left
	}
	whole := len(b) - partialRune(b)
	for i, size := 0, 1; i < whole && v.chars <= previewChars; i += size {
		r := rune(b[i])
		if size = 1; r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b[i:whole])
		}
		switch {
		case r > ' ' && r < 0x7f:
		case unicode.IsSpace(r):
			v.blank = v.chars > 0
			continue
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != zeroWidthJoiner:
			continue
		}
		if v.blank {
			v.text = append(v.text, ' ')
			v.chars++
			v.blank = false
		}
		v.text = append(v.text, b[i:i+size]...)
		v.chars++
	}
	v.left = append(v.left[:0], b[whole:]...)
}

// result is the preview, at most 200 characters.
func (v *previewer) result() []byte {
	n := 0
	for i := range string(v.text) {
		if n++; n > previewChars {
			return v.text[:i]
		}
	}
	return v.text
}
