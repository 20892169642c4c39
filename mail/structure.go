package mail

import (
	"sort"
	"strconv"
)

// The forms of a part without a transfer encoding and of one that is made up.
const (
	emptyPart     = `"TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0`
	emptyPartTail = " NIL NIL NIL NIL"
)

// writeHeader writes what a part's header says in wire form into p.wire: what
// comes before the sizes in BODYSTRUCTURE, a message's ENVELOPE, and the
// extension data.
func (p *Parser) writeHeader(t *node, h *headerFields) {
	full := len(p.wire) < maxKept
	t.lead.start = len(p.wire)
	if t.kind != kindMultipart {
		p.writeLead(t, h, full)
	}
	t.lead.end = len(p.wire)
	if p.message {
		if full {
			p.wire = p.appendEnvelope(p.wire, h)
		} else {
			p.wire = append(p.wire, emptyEnvelope...)
		}
	}
	t.envelope = span{t.lead.end, len(p.wire)}
	if full {
		p.writeTail(t, h)
	} else if t.kind == kindMultipart {
		p.wire = append(p.wire, " NIL NIL NIL NIL"...)
	} else {
		p.wire = append(p.wire, emptyPartTail...)
	}
	t.tail = span{t.envelope.end, len(p.wire)}
}

// writeLead writes type, subtype, parameters, id, description and encoding.
func (p *Parser) writeLead(t *node, h *headerFields, full bool) {
	p.wire = append(appendString(p.wire, h.typ), ' ')
	p.wire = append(appendString(p.wire, h.subtype), ' ')
	if full {
		p.writeParams(h.params)
		p.wire = appendNString(append(p.wire, ' '), h.value[fieldID], h.present[fieldID])
		p.wire = appendNString(append(p.wire, ' '), h.value[fieldDescription], h.present[fieldDescription])
	} else {
		p.wire = append(p.wire, "NIL NIL NIL"...)
	}
	p.wire = append(p.wire, ' ')
	if t.encoding == "" {
		p.wire = append(p.wire, `"7BIT"`...)
	} else {
		p.wire = appendString(p.wire, h.encoding)
	}
}

// writeTail writes the extension data: MD5, or parameters of a multipart, then
// disposition, language and location.
func (p *Parser) writeTail(t *node, h *headerFields) {
	p.wire = append(p.wire, ' ')
	if t.kind == kindMultipart {
		p.writeParams(h.params)
	} else {
		p.wire = appendNString(p.wire, h.value[fieldMD5], h.present[fieldMD5])
	}
	p.wire = append(p.wire, ' ')
	if len(h.disposition) > 0 {
		p.wire = append(appendString(append(p.wire, '('), h.disposition), ' ')
		p.writeParams(h.dispParams)
		p.wire = append(p.wire, ')')
	} else {
		p.wire = append(p.wire, "NIL"...)
	}
	p.wire = append(p.wire, ' ')
	switch len(h.languages) {
	case 0:
		p.wire = append(p.wire, "NIL"...)
	case 1:
		p.wire = appendString(p.wire, h.languages[0])
	default:
		p.wire = append(p.wire, '(')
		for i, tag := range h.languages {
			if i > 0 {
				p.wire = append(p.wire, ' ')
			}
			p.wire = appendString(p.wire, tag)
		}
		p.wire = append(p.wire, ')')
	}
	p.wire = appendNString(append(p.wire, ' '), h.value[fieldLocation], h.present[fieldLocation])
}

func (p *Parser) writeParams(params []param) {
	if len(params) == 0 {
		p.wire = append(p.wire, "NIL"...)
		return
	}
	p.wire = append(p.wire, '(')
	for i := range params {
		if i > 0 {
			p.wire = append(p.wire, ' ')
		}
		v := &params[i]
		if !v.extended {
			p.wire = append(appendString(p.wire, v.name), ' ')
			p.wire = appendString(p.wire, v.value)
			continue
		}
		name := append(v.name[:len(v.name):len(v.name)], '*')
		p.writeMarked(markRev1, name, v.value)
		p.writeMarked(markRev2, name, v.decoded) // RFC 9051 §7.5.2 wants it decoded
	}
	p.wire = append(p.wire, ')')
}

func (p *Parser) writeMarked(kind markKind, name, value []byte) {
	start := len(p.wire)
	p.wire = append(appendString(p.wire, name), ' ')
	p.wire = appendString(p.wire, value)
	p.marks = append(p.marks, mark{kind, start, len(p.wire)})
}

// A structureWriter writes the BODYSTRUCTURE of a parsed message.
type structureWriter struct {
	p     *Parser
	b     []byte
	marks []mark // in b, by start
}

// part writes the node at i and returns the place of the next one that is not
// inside of it.
func (w *structureWriter) part(i int) (next int) {
	t := &w.p.nodes[i]
	w.b = append(w.b, '(')
	next = i + 1
	if t.kind == kindMultipart {
		for range t.children {
			next = w.part(next)
		}
		if t.children == 0 {
			w.emptyPart()
		}
		w.b = appendString(append(w.b, ' '), []byte(t.subtype))
	} else {
		w.copy(t.lead)
		w.b = strconv.AppendInt(append(w.b, ' '), t.end-t.body, 10)
		switch {
		case t.kind == kindMessage || t.kind == kindOpaque:
			next = w.message(t, next)
		case t.typ == "TEXT":
			w.b = strconv.AppendInt(append(w.b, ' '), t.lines, 10)
		}
	}
	m := w.begin(markExtension)
	w.copy(t.tail)
	w.end(m)
	w.b = append(w.b, ')')
	return next
}

// message writes what a message/rfc822 has beyond other parts.
func (w *structureWriter) message(t *node, next int) int {
	m := -1
	if t.global {
		m = w.begin(markGlobal)
	}
	w.b = append(w.b, ' ')
	if t.kind == kindOpaque {
		w.b = append(append(w.b, emptyEnvelope...), ' ')
		w.emptyPart()
	} else {
		e := w.p.nodes[next].envelope
		w.b = append(append(w.b, w.p.wire[e.start:e.end]...), ' ')
		next = w.part(next)
	}
	w.b = strconv.AppendInt(append(w.b, ' '), t.lines, 10)
	if m >= 0 {
		w.end(m)
	}
	return next
}

// emptyPart writes the child of a multipart without parts.
func (w *structureWriter) emptyPart() {
	w.b = append(append(w.b, '('), emptyPart...)
	m := w.begin(markExtension)
	w.b = append(w.b, emptyPartTail...)
	w.end(m)
	w.b = append(w.b, ')')
}

func (w *structureWriter) begin(kind markKind) int {
	w.marks = append(w.marks, mark{kind, len(w.b), 0})
	return len(w.marks) - 1
}

func (w *structureWriter) end(m int) { w.marks[m].end = len(w.b) }

// copy copies wire form and the marks in it.
func (w *structureWriter) copy(s span) {
	first := sort.Search(len(w.p.marks), func(i int) bool { return w.p.marks[i].start >= s.start })
	for _, m := range w.p.marks[first:] {
		if m.end > s.end {
			break
		}
		w.marks = append(w.marks, mark{m.kind, m.start - s.start + len(w.b), m.end - s.start + len(w.b)})
	}
	w.b = append(w.b, w.p.wire[s.start:s.end]...)
}
