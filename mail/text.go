package mail

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// A Scope is the part of a message that a search looks at.
type Scope uint8

// The scopes of SEARCH TEXT, BODY and HEADER.
const (
	ScopeHeader Scope = 1 << iota // the message's header
	ScopeBody                     // its text, with the headers of messages in it
	ScopeText   = ScopeHeader | ScopeBody
)

const (
	pieceBytes    = 8 << 10
	maxHeaderText = 1 << 20 // octets of a header that searches look at
)

// NormalText calls emit with the normal text of a message, piece by piece,
// until it returns false. Fields and parts end in a line feed, which no normal
// string holds, so that no match spans two. A piece is only valid in emit.
func NormalText(rec Record, raw io.ReaderAt, s Scope, emit func(piece []byte) bool) error {
	t := &texter{raw: raw, emit: emit}
	if s&ScopeHeader != 0 {
		t.header(0, rec.HeaderSize())
	}
	if s&ScopeBody != 0 && !t.done && t.err == nil {
		rec.Parts(func(path []int, p Part) bool {
			switch {
			case p.Message:
				if off, n, ok := rec.Range(path, SectionHeader); ok {
					t.header(off, n)
				}
			case p.Type == "TEXT":
				t.part(p)
			}
			return !t.done && t.err == nil
		})
	}
	return t.err
}

type texter struct {
	raw  io.ReaderAt
	emit func([]byte) bool
	out  []byte
	done bool
	err  error
}

// give passes the text on. Decomposed it can be longer than what was read.
func (t *texter) give() {
	for b := t.out; len(b) > 0 && !t.done; {
		n := min(len(b), pieceBytes)
		t.done = !t.emit(b[:n])
		b = b[n:]
	}
	t.out = t.out[:0]
}

// header gives the fields of the header at off.
func (t *texter) header(off, n int64) {
	b := make([]byte, min(n, maxHeaderText))
	k, err := t.raw.ReadAt(b, off)
	if err != nil && err != io.EOF {
		t.err = err
		return
	}
	eachField(b[:k], func(name, value []byte) bool {
		var z normalizer
		t.out = z.append(t.out, name)
		t.out = append(t.out, ':', ' ')
		t.out = AppendNormalHeader(t.out, value)
		t.out = append(t.out, '\n')
		if len(t.out) >= pieceBytes {
			t.give()
		}
		return !t.done
	})
	t.give()
}

// part gives the text of a text part.
func (t *texter) part(p Part) {
	var z normalizer
	err := decodeText(io.NewSectionReader(t.raw, p.Offset+p.HeaderSize, p.BodySize), p, func(b []byte) bool {
		t.out = z.append(t.out, b)
		t.give()
		return !t.done
	})
	if err != nil {
		t.err = err
		return
	}
	t.out = append(t.out, '\n')
	t.give()
}

// decodeText calls emit with the text of a part in UTF-8.
func decodeText(r io.Reader, p Part, emit func([]byte) bool) error {
	src := &sourceReader{r: r}
	r = src
	if d, err := NewTransferReader(p.Encoding, r); err == nil {
		r = d
	}
	single, _ := charset(p.Charset).(*charmap.Charmap)
	if e := charset(p.Charset); e != nil && single == nil {
		r = transform.NewReader(r, e.NewDecoder())
	}
	var tags *htmlText
	if p.Subtype == "HTML" {
		tags = new(htmlText)
	}
	in := make([]byte, pieceBytes)
	var chars, out []byte
	left := 0 // octets of a character that came in part
	for {
		n, err := r.Read(in[left:])
		b := in[:left+n]
		whole, text := len(b), b
		if single != nil { // many times faster than its decoder
			chars = appendChars(chars[:0], b, single)
			text = chars
		} else {
			if err == nil {
				whole -= partial(b)
			}
			text = validUTF8(b[:whole])
		}
		if tags != nil {
			out = tags.append(out[:0], text)
			if err != nil {
				out = tags.finish(out)
			}
			text = out
		}
		if len(text) > 0 && !emit(text) {
			return nil
		}
		left = copy(in, b[whole:])
		if err != nil {
			return src.err // what a decoder dislikes is the end of the text, no error
		}
	}
}

// appendChars appends the UTF-8 of text in a charset of single octets.
func appendChars(dst, b []byte, charset *charmap.Charmap) []byte {
	for _, c := range b {
		dst = utf8.AppendRune(dst, charset.DecodeByte(c))
	}
	return dst
}

// partial is how many octets at the end of b begin a character.
func partial(b []byte) int {
	for i := 1; i <= min(3, len(b)); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}

// sourceReader remembers why reading failed.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A previewer keeps the beginning of the first text part for PREVIEW (RFC
// 8970 §3).
type previewer struct {
	part *part
	raw  []byte
}

const (
	previewRaw   = 4 << 10
	previewChars = 200 // RFC 8970 §3.1
)

func (v *previewer) add(t *part, b []byte) {
	if v.part != t && t.header.typ == "TEXT" && t.header.disposition != "ATTACHMENT" && len(bytes.TrimSpace(v.raw)) == 0 {
		v.part, v.raw = t, v.raw[:0]
	}
	if v.part == t && len(v.raw) < previewRaw {
		v.raw = append(v.raw, b[:min(len(b), previewRaw-len(v.raw))]...)
	}
}

// text is the preview: white space as single blanks.
func (v *previewer) text() []byte {
	if v.part == nil {
		return nil
	}
	h := &v.part.header
	p := Part{Type: h.typ, Subtype: h.subtype, Encoding: h.encoding, Charset: h.param("CHARSET")}
	var text strings.Builder
	_ = decodeText(strings.NewReader(string(v.raw)), p, func(b []byte) bool { // never fails: memory
		text.Write(b)
		return text.Len() < 8*previewRaw
	})
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1 // NUL must not go over the wire
		}
		return r
	}, text.String())
	s = strings.Join(strings.Fields(s), " ")
	n := 0
	for i := range s {
		if n++; n > previewChars {
			return []byte(s[:i])
		}
	}
	return []byte(s)
}
