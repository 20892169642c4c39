package mail

import "encoding/binary"

// Parts are stored in preorder: kind u8, number of children, offset, header
// octets, body octets, decoded octets + 1 (uvarints), then type, subtype,
// encoding and charset, each a uvarint length and bytes.

// A Part is a part of a message.
type Part struct {
	Type, Subtype string // upper case
	Encoding      string // upper case, as it came; empty for none
	Charset       string
	Offset        int64 // of its header in the message
	HeaderSize    int64
	BodySize      int64
	DecodedSize   int64 // of the decoded body; -1 if the encoding is not known
	Multipart     bool
	Message       bool // message/rfc822 or message/global, looked into
	children      int
}

func appendPart(b []byte, t *part) []byte {
	b = append(b, byte(t.kind))
	for _, n := range []int64{int64(len(t.children)), t.offset, t.body - t.offset, t.end - t.body, t.decoded + 1} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, s := range []string{t.header.typ, t.header.subtype, t.header.encoding, t.header.param("CHARSET")} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, c := range t.children {
		b = appendPart(b, c)
	}
	return b
}

// A partReader reads stored parts. The first damage ends it.
type partReader struct {
	b    []byte
	size int64 // of the message
	ok   bool
}

func (r Record) parts() partReader { return partReader{r.section(secParts), r.Size(), true} }

func (p *partReader) uvarint() int64 {
	n, k := binary.Uvarint(p.b)
	if k <= 0 || n > 1<<62 {
		p.ok, p.b = false, nil
		return 0
	}
	p.b = p.b[k:]
	return int64(n)
}

func (p *partReader) bytes() []byte {
	n := p.uvarint()
	if n > int64(len(p.b)) {
		p.ok, p.b = false, nil
		return nil
	}
	s := p.b[:n]
	p.b = p.b[n:]
	return s
}

// next reads one part, with its strings if full.
func (p *partReader) next(full bool) (t Part) {
	if len(p.b) == 0 {
		p.ok = false
		return t
	}
	kind := partKind(p.b[0])
	p.b = p.b[1:]
	t.Multipart, t.Message = kind == kindMultipart, kind == kindMessage
	t.children = int(min(p.uvarint(), maxParts))
	t.Offset, t.HeaderSize, t.BodySize = p.uvarint(), p.uvarint(), p.uvarint()
	t.DecodedSize = p.uvarint() - 1
	if t.Offset > p.size || t.HeaderSize > p.size-t.Offset || t.BodySize > p.size-t.Offset-t.HeaderSize {
		p.ok, p.b = false, nil // damaged
		return Part{}
	}
	typ, sub, enc, charset := p.bytes(), p.bytes(), p.bytes(), p.bytes()
	if full {
		t.Type, t.Subtype, t.Encoding, t.Charset = string(typ), string(sub), string(enc), string(charset)
	}
	return t
}

// skip passes over the children of t.
func (p *partReader) skip(t Part) {
	for left := t.children; left > 0 && p.ok; left-- {
		left += p.next(false).children
	}
}

// find looks a part up by its path of part numbers (RFC 9051 §6.4.5.1), and
// returns the reader behind it; full is as in next. Part 1 of a message
// without parts is its body; numbers below a message/rfc822 count the parts of
// the message in it.
func (r Record) find(path []int, full bool) (t Part, p partReader, ok bool) {
	p = r.parts()
	t = p.next(full)
	whole := true // t is a message, not a part of one
	for _, n := range path {
		if !whole {
			if t.Message && t.children == 1 {
				t = p.next(full)
			} else if !t.Multipart {
				return t, p, false
			}
		}
		whole = false
		switch {
		case !t.Multipart && n == 1:
		case t.Multipart && t.children == 0 && n == 1: // the one that BODYSTRUCTURE shows
			t = Part{Type: "TEXT", Subtype: "PLAIN", Offset: t.Offset + t.HeaderSize}
		case !t.Multipart || n < 1 || n > t.children:
			return t, p, false
		default:
			for ; n > 1 && p.ok; n-- {
				p.skip(p.next(false))
			}
			t = p.next(full)
		}
	}
	return t, p, p.ok
}

// Part is the part at path; an empty path is the message.
func (r Record) Part(path []int) (Part, bool) {
	t, _, ok := r.find(path, true)
	return t, ok
}

// A Section is what BODY[] asks of a part.
type Section uint8

// The sections of RFC 9051 §6.4.5.1.
const (
	SectionBody   Section = iota // BODY[] or BODY[1.2]
	SectionHeader                // BODY[HEADER] or BODY[1.2.HEADER]
	SectionText                  // BODY[TEXT] or BODY[1.2.TEXT]
	SectionMIME                  // BODY[1.2.MIME]
)

// Range is where a section stands in the message. ok is false when there is
// no such part, or it has no such section.
func (r Record) Range(path []int, kind Section) (off, n int64, ok bool) {
	t, p, ok := r.find(path, false)
	if !ok {
		return 0, 0, false
	}
	if kind == SectionHeader || kind == SectionText {
		if len(path) > 0 {
			if !t.Message || t.children != 1 {
				return 0, 0, false
			}
			t = p.next(false)
		}
		if kind == SectionHeader {
			off, n = t.Offset, t.HeaderSize
		} else {
			off, n = t.Offset+t.HeaderSize, t.BodySize
		}
	} else if kind == SectionMIME {
		off, n = t.Offset, t.HeaderSize
		ok = len(path) > 0
	} else if len(path) == 0 {
		off, n = 0, r.Size()
	} else {
		off, n = t.Offset+t.HeaderSize, t.BodySize
	}
	if !p.ok {
		return 0, 0, false
	}
	return off, n, ok
}

// Parts calls f with each part that is not the message itself, in the order
// of the message. A message without parts has one, number 1.
func (r Record) Parts(f func(path []int, p Part) bool) {
	p := r.parts()
	root := p.next(true)
	if !p.ok {
		return
	}
	w := partWalker{p: &p, f: f}
	w.below(root, true)
}

type partWalker struct {
	p    *partReader
	f    func([]int, Part) bool
	path []int
	done bool
}

// below visits what is below t; whole says that t is a message.
func (w *partWalker) below(t Part, whole bool) {
	switch {
	case w.done || !w.p.ok || len(w.path) > 2*maxDepth:
	case t.Multipart:
		for n := 1; n <= t.children && !w.done && w.p.ok; n++ {
			w.visit(n, w.p.next(true))
		}
	case whole:
		w.visit(1, t)
	case t.Message && t.children == 1:
		w.below(w.p.next(true), true)
	}
}

func (w *partWalker) visit(n int, t Part) {
	if !w.p.ok {
		return
	}
	w.path = append(w.path, n)
	if !w.f(w.path, t) {
		w.done = true
	}
	w.below(t, false)
	w.path = w.path[:len(w.path)-1]
}
