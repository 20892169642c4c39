// Package mail reads messages: RFC 5322 headers and MIME structure, in one
// streaming pass at delivery, and the text that searches look at.
package mail

import (
	"bytes"
)

// Version is that of the parser, kept in each record.
const Version = 1

// Limits of what is looked into. What is beyond stays part of the leaf or
// header that it is in; mail is never refused.
const (
	maxDepth      = 100
	maxParts      = 5000
	maxHeader     = 256 << 10 // octets of one header that are parsed
	maxHeaders    = 2 << 20   // octets of the headers of all parts, but
	minHeader     = 256       // so many of each in any case
	maxLine       = 1000      // octets of a line that are looked at for a delimiter
	maxReferences = 100
)

type partKind uint8

const (
	kindLeaf partKind = iota
	kindMultipart
	kindMessage // message/rfc822 or message/global
)

// A part is a node of the message's tree while it is parsed. The root is the
// message itself.
type part struct {
	header    header
	kind      partKind
	global    bool // message/global
	digest    bool // its children are messages by default
	boundary  []byte
	offset    int64 // of its header
	body      int64 // of its body
	end       int64
	firstLine int64 // lines of the message before its body
	lines     int64
	encoded   bool // its octets are to be counted decoded
	size      sizer
	decoded   int64 // octets of the decoded body, -1 if not known
	children  []*part
}

// A Parser takes one message as it streams in. Memory is bounded: headers up
// to a limit, and the tree.
type Parser struct {
	root     *part
	stack    []*part // from the root to the part that bytes belong to
	parts    int
	inHeader bool
	head     []byte // the header that is coming in, up to headMax
	headMax  int
	headLeft int    // of maxHeaders
	line     []byte // beginning of a line that came in pieces
	lineLen  int64
	long     bool  // the line is too long to be held: line is its beginning, passed on already
	dropped  bool  // the long line is a delimiter
	cr       bool  // the line so far ends in CR
	pos      int64 // offset of the present line
	eol      int64 // where the content of the line before ended
	lines    int64 // lines so far
	eight    bool
	preview  previewer
}

// NewParser makes a parser, ready for a message.
func NewParser() *Parser {
	p := new(Parser)
	p.Reset()
	return p
}

// Reset makes the parser ready for another message.
func (p *Parser) Reset() {
	*p = Parser{head: p.head[:0], line: p.line[:0], stack: p.stack[:0]}
	p.root = &part{}
	p.parts = 1
	p.stack = append(p.stack, p.root)
	p.headLeft = maxHeaders
	p.beginHeader()
}

func (p *Parser) beginHeader() {
	p.inHeader, p.head = true, p.head[:0]
	p.headMax = min(maxHeader, max(minHeader, p.headLeft))
}

func (p *Parser) top() *part { return p.stack[len(p.stack)-1] }

// Write takes the next bytes of the message. It never fails.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n') + 1
		switch {
		case i == 0:
			p.piece(b)
			return n, nil
		case p.lineLen == 0:
			p.endLine(b[:i], int64(i))
		default:
			p.piece(b[:i])
			p.endLine(p.line, p.lineLen)
		}
		b = b[i:]
	}
	return n, nil
}

// piece takes a part of a line. A line is held until its end, since it can be
// a delimiter; of a long one only the beginning is.
func (p *Parser) piece(b []byte) {
	p.lineLen += int64(len(b))
	if n := len(b); b[n-1] != '\n' {
		p.cr = b[n-1] == '\r'
	} else if n > 1 {
		p.cr = b[n-2] == '\r'
	}
	if !p.long {
		k := min(len(b), maxLine-len(p.line))
		p.line = append(p.line, b[:k]...)
		if b = b[k:]; len(b) == 0 {
			return
		}
		p.long = true
		level, _ := p.boundaryOf(p.line)
		if p.dropped = level >= 0; !p.dropped {
			p.content(p.line)
		}
	}
	if !p.dropped {
		p.content(b)
	}
}

// content takes bytes that are no delimiter.
func (p *Parser) content(b []byte) {
	if p.inHeader {
		p.head = append(p.head, b[:min(len(b), p.headMax-len(p.head))]...)
	} else if t := p.top(); t.kind == kindLeaf {
		if t.encoded {
			t.size.add(b)
		}
		if len(p.preview.raw) < previewRaw {
			p.preview.add(t, b)
		}
	}
}

// endLine looks at a complete line of n octets. Of a long one that came in
// pieces line is the beginning; it is passed on already.
func (p *Parser) endLine(line []byte, n int64) {
	eol := p.pos + n - 1
	if p.long && p.cr || !p.long && len(line) > 1 && line[len(line)-2] == '\r' {
		eol--
	}
	begin := line[:min(eol-p.pos, int64(len(line)), maxLine)]
	level, closing := p.boundaryOf(begin)
	switch {
	case level >= 0:
		p.delimiter(level, closing, p.pos+n)
	case p.inHeader && len(begin) == 0:
		p.endHeader(p.pos+n, p.lines+1)
	case !p.long:
		p.content(line)
	}
	p.eol = eol
	p.pos += n
	p.lines++
	if p.lineLen > 0 {
		p.lineLen, p.line, p.long, p.cr = 0, p.line[:0], false, false
	}
}

// boundaryOf finds the open multipart that line is a delimiter of: its
// boundary stands at the beginning, whatever follows (RFC 2046 §5.1.1). When one
// boundary begins with another, the longer counts, then the inner.
func (p *Parser) boundaryOf(line []byte) (level int, closing bool) {
	level = -1
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return level, false
	}
	line = line[2:]
	longest := 0
	for i := len(p.stack) - 1; i >= 0; i-- {
		if b := p.stack[i].boundary; len(b) > longest && bytes.HasPrefix(line, b) {
			level, longest = i, len(b)
		}
	}
	return level, level >= 0 && bytes.HasPrefix(line[longest:], []byte("--"))
}

// delimiter ends the parts inside of the multipart at level, and begins its
// next one at next, after the delimiter line.
func (p *Parser) delimiter(level int, closing bool, next int64) {
	for p.inHeader && len(p.stack)-1 > level { // a part whose header has no end
		p.endHeader(p.pos, p.lines)
	}
	for i := len(p.stack) - 1; i > level; i-- {
		p.endPart(p.stack[i], max(p.eol, p.stack[i].body), true)
	}
	p.stack = p.stack[:level+1]
	m := p.stack[level]
	if closing || p.parts >= maxParts {
		m.boundary = nil // what follows is an epilogue
		return
	}
	p.open(m, next)
}

// open begins a part inside of m at offset.
func (p *Parser) open(m *part, offset int64) {
	child := &part{offset: offset, body: offset}
	m.children = append(m.children, child)
	p.stack = append(p.stack, child)
	p.parts++
	p.beginHeader()
}

// endHeader reads the header that came in; the body begins at offset, after
// so many lines of the message.
func (p *Parser) endHeader(offset, line int64) {
	t := p.top()
	p.inHeader = false
	p.headLeft -= len(p.head)
	t.body, t.firstLine = offset, line
	if len(p.stack) == 1 {
		p.eight = hasEightBit(p.head)
	}
	inDigest := len(p.stack) > 1 && p.stack[len(p.stack)-2].digest
	t.header = parseHeader(p.head, inDigest, p.isMessage())
	t.classify(len(p.stack) < maxDepth && p.parts < maxParts)
	t.size.encoding = t.header.encoding
	t.encoded = t.kind == kindLeaf && newTransfer(t.header.encoding) != nil
	if t.kind == kindMessage {
		p.open(t, offset)
	}
}

// isMessage reports whether the present header is that of a message: the
// root's, or of what is in a message/rfc822.
func (p *Parser) isMessage() bool {
	return len(p.stack) == 1 || p.stack[len(p.stack)-2].kind == kindMessage
}

// classify says what the part is by its type.
func (t *part) classify(deeper bool) {
	h := &t.header
	switch {
	case h.typ == "MULTIPART" && deeper:
		t.kind = kindMultipart
		if b := bytes.TrimRight([]byte(h.param("BOUNDARY")), " \t"); len(b) > 0 {
			t.boundary = b
		}
		t.digest = h.subtype == "DIGEST"
	case h.typ == "MESSAGE" && (h.subtype == "RFC822" || h.subtype == "GLOBAL") && identity(h.encoding) && deeper:
		t.kind = kindMessage
		t.global = h.subtype == "GLOBAL"
	case h.typ == "MULTIPART", h.typ == "MESSAGE" && (h.subtype == "RFC822" || h.subtype == "GLOBAL"):
		// Not looked into: its form would promise parts.
		h.typ, h.subtype = "APPLICATION", "OCTET-STREAM"
	}
}

// identity reports whether a body is what it says, not encoded.
func identity(encoding string) bool {
	switch encoding {
	case "", "7BIT", "8BIT", "BINARY":
		return true
	}
	return false
}

// endPart closes a part whose body ends at offset. The line end before a
// delimiter is the delimiter's.
func (p *Parser) endPart(t *part, end int64, delimited bool) {
	t.end = end
	t.lines = p.lines - t.firstLine
	if delimited && t.lines > 0 {
		t.lines--
	}
	t.decoded = t.size.end(t.header.encoding, end-t.body)
}

// Finish ends the message and gives its record.
func (p *Parser) Finish() Record {
	if p.lineLen > 0 {
		if level, closing := p.boundaryOf(p.line); level >= 0 {
			p.delimiter(level, closing, p.pos+p.lineLen)
		} else if !p.long {
			p.content(p.line)
		}
	}
	p.pos += p.lineLen
	for p.inHeader {
		p.endHeader(p.pos, p.lines)
	}
	for i := len(p.stack) - 1; i >= 0; i-- {
		p.endPart(p.stack[i], p.pos, false)
	}
	return buildRecord(p)
}
