package mail

import (
	"encoding/binary"
	"slices"
)

// readRoot reads what the record has of the message's own header beside its
// envelope.
func (p *Parser) readRoot(h *headerFields) {
	p.keys.readSubject(h.value[fieldSubject])
	var ok bool
	if p.date, p.zone, ok = parseDate(h.value[fieldDate]); ok {
		p.marked |= recDate
	}
	p.readID(h.value[fieldMessageID], recMessageID)
	p.readID(h.value[fieldInReplyTo], recInReplyTo)
	start := len(p.ids)
	eachID(h.value[fieldReferences], func(id Hash) bool {
		if len(p.ids)-start == maxIDs*len(id) { // the first and the last ones stay
			p.ids = slices.Delete(p.ids, start+len(id), start+2*len(id))
		}
		p.ids = append(p.ids, id[:]...)
		return true
	})
}

// readID takes the first id of a field.
func (p *Parser) readID(value []byte, mark byte) {
	eachID(value, func(id Hash) bool {
		p.ids = append(p.ids, id[:]...)
		p.marked |= mark
		return false
	})
}

// record writes the record of the parsed message.
func (p *Parser) record() Record {
	w := structureWriter{p: p, b: p.structure[:0], marks: p.structureMarks[:0]}
	w.part(0)
	p.structure, p.structureMarks = w.b, w.marks
	p.scratch = appendMarks(p.scratch[:0], w.marks)
	marksEnd := len(p.scratch)
	p.scratch = p.appendParts(p.scratch)
	root := &p.nodes[0]
	k := &p.keys
	sections := [sectionCount][]byte{
		secEnvelope:  p.wire[root.envelope.start:root.envelope.end],
		secStructure: w.b,
		secMarks:     p.scratch[:marksEnd], secParts: p.scratch[marksEnd:],
		secIDs: p.ids, secSubject: k.subject, secFrom: k.from, secTo: k.to, secCc: k.cc,
		secDisplayFrom: k.displayFrom, secDisplayTo: k.displayTo, secPreview: p.preview.result(),
	}
	marks := p.marked
	if p.eight {
		marks |= recEightBit
	}
	if k.reply {
		marks |= recReply
	}
	if p.base64 {
		marks |= recBase64
	}
	if slices.ContainsFunc(w.marks, func(m mark) bool { return m.kind != markExtension }) {
		marks |= recVariants
	}
	var head [255]byte
	b := append(head[:0], Version, marks, 0)
	total := 0
	for _, s := range sections {
		total += len(s)
	}
	for _, s := range sections[:sectionCount-1] {
		b = binary.AppendUvarint(b, uint64(len(s)))
	}
	b = binary.AppendUvarint(b, uint64(p.pos))
	b = binary.AppendUvarint(b, uint64(root.body))
	b = binary.AppendVarint(b, p.date)
	b = binary.AppendVarint(b, int64(p.zone))
	b[2] = byte(len(b))
	r := append(make([]byte, 0, len(b)+total), b...)
	for _, s := range sections {
		r = append(r, s...)
	}
	return slices.Clip(r)
}

// appendMarks writes marks that are in the order of their starts.
func appendMarks(b []byte, marks []mark) []byte {
	last := 0
	for _, m := range marks {
		b = append(b, byte(m.kind))
		b = binary.AppendUvarint(b, uint64(m.start-last))
		b = binary.AppendUvarint(b, uint64(m.end-m.start))
		last = m.start
	}
	return b
}

// AppendBodyStructure appends BODYSTRUCTURE, or without extended, BODY. rev2
// is false for a client in IMAP4rev1 without UTF8=ACCEPT, for which
// message/global is a basic part and parameters with a charset (RFC 2231) stay
// as they came.
func (r Record) AppendBodyStructure(dst []byte, extended, rev2 bool) []byte {
	s := r.section(secStructure)
	if extended && !r.has(recVariants) {
		return append(dst, s...)
	}
	v := varints{b: r.section(secMarks), ok: true}
	done, start := int64(0), int64(0)
	for len(v.b) > 0 {
		kind, n := v.mark(&start)
		if !v.ok || start+n > int64(len(s)) {
			break
		}
		if start < done || kind.shown(extended, rev2) {
			continue // inside of what is left out, or sent
		}
		dst = append(dst, s[done:start]...)
		done = start + n
	}
	return append(dst, s[done:]...)
}

// mark reads a mark; start is the one before, and becomes its own.
func (v *varints) mark(start *int64) (kind markKind, length int64) {
	kind = markKind(v.b[0])
	v.b = v.b[1:]
	*start += v.uvarint()
	if *start > maxNumber {
		v.ok = false
	}
	return kind, v.uvarint()
}

func (r Record) validMarks() bool {
	size := int64(len(r.section(secStructure)))
	v := varints{b: r.section(secMarks), ok: true}
	start := int64(0)
	for len(v.b) > 0 {
		kind, n := v.mark(&start)
		if kind >= markKinds || start+n > size {
			return false
		}
	}
	return v.ok
}
