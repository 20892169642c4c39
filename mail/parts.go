package mail

import "encoding/binary"

// The section parts of a record holds the tree in the order of the message.
// Each part, the message itself first, is
//
//	1        bits 0-1 kind: 0 leaf, 1 multipart, 2 message/rfc822 or global, 3 such
//	         a message in an encoding; bit 2: decoded octets follow (else they are
//	         those of the body); bit 3: the encoding is not known; bit 4: bare line
//	         feeds follow
//	uvarint  number of children, of a multipart; a message of kind 2 has one
//	uvarint  offset of its header in the message
//	uvarint  octets of the header, with the empty line
//	uvarint  octets of the body
//	uvarint  decoded octets, if bit 2
//	uvarint  bare line feeds, if bit 4
//	names    type, subtype, encoding, charset, each as 1 + its place in
//	         knownNames, or 0, uvarint length and octets
const (
	partKindBits = 3
	partDecoded  = 1 << 2
	partUnknown  = 1 << 3
	partBare     = 1 << 4
)

// A Part is a part of a message.
type Part struct {
	Type, Subtype string // upper case
	Encoding      string // upper case, empty for none
	Charset       string // upper case, empty for none
	Offset        int64  // of its header in the message
	HeaderSize    int64  // with the empty line
	BodySize      int64
	DecodedSize   int64 // octets of the body without its encoding; -1 if that is not known
	BareLF        int64 // line feeds without a carriage return in the decoded body of text: with CRLF it is so many octets longer
	Multipart     bool
	Message       bool // message/rfc822 or message/global, with a message inside
	kind          partKind
	children      int
}

func (p *Parser) appendParts(b []byte) []byte {
	for i := range p.nodes {
		t := &p.nodes[i]
		bits := byte(t.kind)
		size := t.end - t.body
		switch {
		case t.decoded < 0:
			bits |= partUnknown
		case t.decoded != size:
			bits |= partDecoded
		}
		if t.bare != 0 {
			bits |= partBare
		}
		b = append(b, bits)
		if t.kind == kindMultipart {
			b = binary.AppendUvarint(b, uint64(t.children))
		}
		b = binary.AppendUvarint(b, uint64(t.offset))
		b = binary.AppendUvarint(b, uint64(t.body-t.offset))
		b = binary.AppendUvarint(b, uint64(size))
		if bits&partDecoded != 0 {
			b = binary.AppendUvarint(b, uint64(t.decoded))
		}
		if bits&partBare != 0 {
			b = binary.AppendUvarint(b, uint64(t.bare))
		}
		for _, s := range [...]string{t.typ, t.subtype, t.encoding, t.charset} {
			b = appendName(b, s)
		}
	}
	return b
}

func appendName(b []byte, s string) []byte {
	if code, ok := nameCodes[s]; ok {
		return append(b, code+1)
	}
	b = binary.AppendUvarint(append(b, 0), uint64(len(s)))
	return append(b, s...)
}

// name reads a name; a known one takes no memory.
func (v *varints) name() string {
	if len(v.b) == 0 {
		v.ok = false
		return ""
	}
	code := int(v.b[0])
	v.b = v.b[1:]
	if code > len(knownNames) {
		v.ok, v.b = false, nil
		return ""
	}
	if code > 0 {
		return knownNames[code-1]
	}
	n := v.uvarint()
	if n > int64(len(v.b)) {
		v.ok, v.b = false, nil
		return ""
	}
	s := string(v.b[:n])
	v.b = v.b[n:]
	return s
}

// part reads one part.
func (v *varints) part() (t Part) {
	if len(v.b) == 0 {
		v.ok = false
		return t
	}
	bits := v.b[0]
	v.b = v.b[1:]
	t.kind = partKind(bits & partKindBits)
	t.Multipart, t.Message = t.kind == kindMultipart, t.kind == kindMessage
	switch t.kind {
	case kindMultipart:
		t.children = int(min(v.uvarint(), maxParts))
	case kindMessage:
		t.children = 1
	}
	t.Offset, t.HeaderSize, t.BodySize = v.uvarint(), v.uvarint(), v.uvarint()
	t.DecodedSize = t.BodySize
	if bits&partUnknown != 0 {
		t.DecodedSize = -1
	}
	if bits&partDecoded != 0 {
		t.DecodedSize = v.uvarint()
	}
	if bits&partBare != 0 {
		t.BareLF = v.uvarint()
	}
	t.Type, t.Subtype, t.Encoding, t.Charset = v.name(), v.name(), v.name(), v.name()
	return t
}

// skip passes over what is inside of t.
func (v *varints) skip(t Part) {
	for left := t.children; left > 0 && v.ok; left-- {
		left += v.part().children
	}
}

// Part is the part at path (RFC 9051 §6.4.5.1); an empty path is the message.
func (r Record) Part(path []int) (Part, bool) {
	t, _, ok := r.find(path)
	return t, ok
}

// virtual is the part that BODYSTRUCTURE shows in one that has none.
func (t Part) virtual() Part {
	return Part{Type: "TEXT", Subtype: "PLAIN", Charset: "US-ASCII", Offset: t.Offset + t.HeaderSize}
}

// find looks a part up by its path, and returns the reader behind it. Part 1
// of a message without parts is its body; numbers below a message/rfc822 count
// the parts of the message in it.
func (r Record) find(path []int) (t Part, v varints, ok bool) {
	v = varints{b: r.section(secParts), ok: true}
	t = v.part()
	whole := true // t is a message, not a part of one
	for _, n := range path {
		if !whole && t.kind == kindMessage {
			t, whole = v.part(), true
		} else if !whole && t.kind == kindOpaque {
			t, whole = t.virtual(), true
		}
		switch {
		case !t.Multipart && whole && n == 1:
		case t.Multipart && t.children == 0 && n == 1:
			t = t.virtual()
		case !t.Multipart || n < 1 || n > t.children:
			return Part{}, v, false
		default:
			for ; n > 1 && v.ok; n-- {
				v.skip(v.part())
			}
			t = v.part()
		}
		whole = false
	}
	if !v.ok || !r.holds(t) {
		return Part{}, v, false
	}
	return t, v, true
}

// holds reports whether a part is within the message.
func (r Record) holds(t Part) bool {
	return t.Offset+t.HeaderSize+t.BodySize <= r.Size()
}

// Parts calls f with each part that has a number, in the order of the message,
// until it returns false. A message without parts has one, number 1. path is
// only valid in f.
func (r Record) Parts(f func(path []int, p Part) bool) {
	w := partWalker{r: r, v: varints{b: r.section(secParts), ok: true}, f: f}
	w.below(w.v.part(), true)
}

type partWalker struct {
	r    Record
	v    varints
	f    func([]int, Part) bool
	path []int
	done bool
}

// below visits what is inside of t; whole says that t is a message.
func (w *partWalker) below(t Part, whole bool) {
	switch {
	case w.done || !w.v.ok || len(w.path) > 2*maxDepth:
		w.done = true
	case t.Multipart:
		for n := 1; n <= t.children && !w.done; n++ {
			w.visit(n, w.v.part())
		}
	case whole:
		w.visit(1, t)
	case t.Message:
		w.below(w.v.part(), true)
	}
}

func (w *partWalker) visit(n int, t Part) {
	if !w.v.ok || !w.r.holds(t) {
		w.done = true
		return
	}
	w.path = append(w.path, n)
	w.done = !w.f(w.path, t)
	w.below(t, false)
	w.path = w.path[:len(w.path)-1]
}

func (r Record) validParts() bool {
	v := varints{b: r.section(secParts), ok: true}
	for left := 1; left > 0 && v.ok; left-- {
		t := v.part()
		if !r.holds(t) {
			return false
		}
		left += t.children
	}
	return v.ok && len(v.b) == 0
}
