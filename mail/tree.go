package mail

import (
	"bytes"
	"slices"
)

type partKind uint8

const (
	kindLeaf      partKind = iota
	kindMultipart          // its children are parts
	kindMessage            // message/rfc822 or message/global: its child is the message in it
	kindOpaque             // such a message in an encoding, which RFC 2046 §5.2.1 forbids: not looked into
)

// A node is a part of the message's tree; the first one is the message.
type node struct {
	kind     partKind
	global   bool // message/global
	digest   bool // multipart/digest
	children int

	offset    int64 // of its header
	body      int64
	end       int64
	firstLine int64 // line feeds of the message before the body
	lines     int64 // line feeds in the body
	decoded   int64 // octets of the decoded body, -1 if the encoding is not known
	bare      int64 // line feeds without a carriage return in decoded text

	typ, subtype, encoding, charset string
	lead, envelope, tail            span
}

// A span is a place in Parser.wire.
type span struct{ start, end int }

// A boundary is that of an open multipart.
type boundary struct {
	level int // of the multipart in Parser.stack
	text  string
}

func (p *Parser) top() *node { return &p.nodes[p.stack[len(p.stack)-1]] }

// open begins a part inside of the present one, with its header.
func (p *Parser) open() {
	p.message = true
	if len(p.stack) > 0 {
		t := p.top()
		t.children++
		p.message = t.kind == kindMessage
	}
	p.stack = append(p.stack, len(p.nodes))
	p.nodes = append(p.nodes, node{offset: p.pos, body: p.pos})
	p.inHeader, p.keep, p.start = true, false, false
	p.head = p.head[:0]
}

// isDelimiter deals with a line if it is a delimiter.
func (p *Parser) isDelimiter(line []byte) bool {
	if len(p.bounds) == 0 || len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return false
	}
	which, closing := p.boundaryOf(bytes.TrimRight(line[2:], " \t\r\n"))
	if which < 0 {
		return false
	}
	p.endParts(p.bounds[which].level + 1)
	p.advance(line)
	p.rest = line[len(line)-1] != '\n'
	if closing { // what follows is an epilogue
		p.bounds = p.bounds[:which]
		p.start = true
		return true
	}
	p.bounds = p.bounds[:which+1]
	p.open()
	p.opening = p.rest
	if len(p.nodes) >= maxParts { // the rest is one leaf
		p.bounds = p.bounds[:0]
	}
	return true
}

// boundaryOf finds the boundary that s begins with: inner ones first, and the
// longest if it is not the whole (RFC 2046 §5.1.1 wants the beginning alone
// compared).
func (p *Parser) boundaryOf(s []byte) (which int, closing bool) {
	which = -1
	for i := len(p.bounds) - 1; i >= 0; i-- {
		b := p.bounds[i].text
		if len(b) > len(s) || string(s[:len(b)]) != b || which >= 0 && len(b) <= len(p.bounds[which].text) {
			continue
		}
		tail := s[len(b):]
		which, closing = i, len(tail) >= 2 && tail[0] == '-' && tail[1] == '-'
		if len(tail) == 0 || closing && len(tail) == 2 {
			break // there can't be a better one
		}
	}
	return which, closing
}

// endParts closes the parts from a level of the stack on.
func (p *Parser) endParts(level int) {
	for p.inHeader { // a part without a body
		p.endHeader()
	}
	for i := len(p.stack) - 1; i >= level; i-- {
		p.endPart(&p.nodes[p.stack[i]])
	}
	p.stack = p.stack[:level]
}

// endPart closes a part. The line end before a delimiter belongs to the
// delimiter (RFC 2046 §5.1.1), if it isn't that of the part's own header.
func (p *Parser) endPart(t *node) {
	t.end = max(t.body, p.pos-p.eol)
	t.lines = p.lines - t.firstLine
	if t.end < p.pos {
		t.lines--
	}
	switch size := t.end - t.body; t.kind {
	case kindLeaf, kindOpaque:
		t.decoded, t.bare = p.leaf.finish(p.pos-t.end, size)
		p.preview.end()
	default:
		t.decoded = size
	}
}

// endHeader reads the header that came in. The body begins here.
func (p *Parser) endHeader() {
	level := len(p.stack) - 1
	t := p.top()
	t.body, t.firstLine = p.pos, p.lines
	p.inHeader, p.keep, p.start = false, false, true

	h := &p.fields
	h.read(p.head, p.message, level > 0 && p.nodes[p.stack[level-1]].digest)
	bound := p.classify(t, h, len(p.stack) < maxDepth && len(p.nodes) < maxParts)
	p.writeHeader(t, h)
	if level == 0 {
		p.readRoot(h)
	}
	switch t.kind {
	case kindMultipart:
		if bound != "" {
			p.bounds = append(p.bounds, boundary{level, bound})
		}
	case kindMessage:
		p.open()
	default:
		e := encodingOf(t.encoding)
		p.base64 = p.base64 || e == encBase64
		p.leaf.begin(e, t.typ == "TEXT")
		if t.typ == "TEXT" && string(h.disposition) != "ATTACHMENT" {
			p.preview.begin(t)
		}
	}
}

// classify says what the part is by its type, and gives a multipart's boundary.
func (p *Parser) classify(t *node, h *headerFields, deeper bool) (bound string) {
	t.typ, t.subtype, t.encoding = intern(h.typ), intern(h.subtype), intern(h.encoding)
	t.charset = intern(upperName(h.param("CHARSET")))
	message := t.typ == "MESSAGE" && (t.subtype == "RFC822" || t.subtype == "GLOBAL")
	switch {
	case t.typ != "MULTIPART" && !message:
	case !deeper: // its form would promise parts
		t.typ, t.subtype = "APPLICATION", "OCTET-STREAM"
		h.typ, h.subtype = []byte(t.typ), []byte(t.subtype)
	case message:
		t.kind, t.global = kindMessage, t.subtype == "GLOBAL"
		if e := encodingOf(t.encoding); e != encIdentity {
			t.kind = kindOpaque
		}
	default:
		t.kind, t.digest = kindMultipart, t.subtype == "DIGEST"
		b := bytes.TrimRight(h.param("BOUNDARY"), " \t")
		if len(b) <= maxBoundary {
			bound = string(b)
		}
	}
	return bound
}

// Finish ends the message and gives its record, in memory of its own. The
// parser can be used again after a Reset.
func (p *Parser) Finish() Record {
	if len(p.line) > 0 {
		line := slices.Clone(p.line)
		p.line = p.line[:0]
		if p.inHeader {
			p.headerLine(line)
		} else if !p.isDelimiter(line) {
			p.content(line)
		}
	}
	p.eol = 0 // the last line end is the message's
	p.endParts(0)
	return p.record()
}
