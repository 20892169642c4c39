package mail

import (
	"bytes"
	"encoding/binary"
)

// A Parser takes one message as it streams in.
type Parser struct {
	nodes  []node     // the message's tree, in the order of the message
	stack  []int      // from the root to the part that bytes belong to, by place in nodes
	bounds []boundary // of open multiparts, outer ones first

	inHeader bool
	message  bool   // the header is that of a message, not of a part
	line     []byte // beginning of a line that came in pieces
	start    bool   // in a body: at the start of a line
	rest     bool   // the rest of the line only has to be passed over
	opening  bool   // and a part begins behind it
	keep     bool   // the present field is kept
	field    int    // octets of it that are
	head     []byte // the fields of the present header that matter

	pos    int64 // offset of the next octet
	lines  int64 // line feeds so far
	eol    int64 // octets of the line end that the body so far ends in
	last   byte  // the octet before
	eight  bool
	base64 bool

	fields    headerFields
	leaf      leaf
	preview   previewer
	keys      sortKeys
	wire      []byte // wire form of what headers say
	marks     []mark // in wire
	addresses int

	// Of the message's header.
	ids    []byte // hashes
	marked byte   // bits of the record
	date   int64
	zone   int

	structure      []byte // memory of the record's sections
	structureMarks []mark
	scratch        []byte
}

// NewParser makes a parser, ready for a message.
func NewParser() *Parser {
	p := new(Parser)
	p.Reset()
	return p
}

// Reset makes the parser ready for another message.
func (p *Parser) Reset() {
	*p = Parser{
		nodes: p.nodes[:0], stack: p.stack[:0], bounds: p.bounds[:0],
		line: p.line[:0], head: p.head[:0], wire: p.wire[:0], marks: p.marks[:0],
		fields: p.fields, leaf: p.leaf, preview: p.preview, keys: p.keys, ids: p.ids[:0],
		structure: p.structure, structureMarks: p.structureMarks, scratch: p.scratch,
	}
	p.leaf.begin(encIdentity, false)
	p.preview.reset()
	p.keys.reset()
	p.open()
}

// Write takes the next octets of the message. It never fails.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		switch {
		case p.rest:
			b = p.passLine(b)
		case p.inHeader:
			b = p.headerBytes(b)
		default:
			b = p.bodyBytes(b)
		}
	}
	return n, nil
}

// passLine takes the rest of a line of which the beginning decided all.
func (p *Parser) passLine(b []byte) []byte {
	line, rest := cutLine(b)
	if p.inHeader {
		p.keepField(line)
	}
	p.advance(line)
	p.rest = line[len(line)-1] != '\n'
	if p.opening {
		t := p.top()
		t.offset, t.body = p.pos, p.pos
		p.opening = p.rest
	}
	return rest
}

// cutLine splits b after the first line feed, or at its end.
func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], b[i+1:]
	}
	return b, nil
}

// wholeLine collects a line from pieces. It returns nil until there is a line
// feed, or enough octets to decide what the line is.
func (p *Parser) wholeLine(b []byte) (line, rest []byte) {
	line, rest = cutLine(b)
	if len(p.line) == 0 && line[len(line)-1] == '\n' && len(line) <= maxLine {
		return line, rest
	}
	if room := maxLine - len(p.line); len(line) > room {
		line, rest = b[:room], b[room:]
	}
	p.line = append(p.line, line...)
	if len(p.line) < maxLine && p.line[len(p.line)-1] != '\n' {
		return nil, rest
	}
	line = p.line
	p.line = p.line[:0] // its octets stay until the next piece
	return line, rest
}

// advance counts octets that have been dealt with.
func (p *Parser) advance(b []byte) {
	n := len(b)
	if n == 0 {
		return
	}
	p.pos += int64(n)
	p.lines += int64(bytes.Count(b, lineFeed))
	p.eol = 0
	if b[n-1] == '\n' {
		p.eol = 1
		if n > 1 && b[n-2] == '\r' || n == 1 && p.last == '\r' {
			p.eol = 2
		}
	}
	p.last = b[n-1]
}

var lineFeed = []byte{'\n'}

// headerBytes takes octets of a header.
func (p *Parser) headerBytes(b []byte) []byte {
	line, rest := p.wholeLine(b)
	if line != nil {
		p.headerLine(line)
	}
	return rest
}

// headerLine takes a line of a header, or as much of it as decides.
func (p *Parser) headerLine(line []byte) {
	if p.isDelimiter(line) {
		return
	}
	p.rest = line[len(line)-1] != '\n'
	if isBlank(line) {
		p.advance(line)
		p.endHeader()
		return
	}
	if line[0] != ' ' && line[0] != '\t' {
		p.keep, p.field = wanted(line, p.message), 0
	}
	p.keepField(line)
	p.advance(line)
}

// isBlank reports whether line is nothing but a line end.
func isBlank(line []byte) bool {
	return line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// keepField takes octets of a header field.
func (p *Parser) keepField(b []byte) {
	if len(p.stack) == 1 && !p.eight {
		p.eight = hasEightBit(b)
	}
	if p.keep {
		n := max(0, min(len(b), maxField-p.field, maxHeader-len(p.head)))
		p.head = append(p.head, b[:n]...)
		p.field += n
		if n < len(b) { // what follows is cut off
			p.keep = false
			if k := len(p.head); k > 0 && p.head[k-1] != '\n' {
				p.head = append(p.head, '\n')
			}
		}
	}
}

func hasEightBit(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

var delimiterStart = []byte("\n--")

// bodyBytes takes octets of a body.
func (p *Parser) bodyBytes(b []byte) []byte {
	if len(p.bounds) == 0 { // nothing but the end of the message ends it
		p.content(b)
		return nil
	}
	if p.start {
		if mayDelimit(p.line, b) {
			line, rest := p.wholeLine(b)
			if line != nil && !p.isDelimiter(line) {
				p.content(line)
				p.start = line[len(line)-1] == '\n'
			}
			return rest
		}
		p.content(p.line)
		p.line, p.start = p.line[:0], false
	}
	if i := bytes.Index(b, delimiterStart); i >= 0 {
		p.content(b[:i+1])
		p.start = true
		return b[i+1:]
	}
	n := len(b)
	if b[n-1] == '-' && n > 1 && b[n-2] == '\n' {
		n--
	}
	p.content(b[:n])
	p.start = b[n-1] == '\n'
	return b[n:]
}

// mayDelimit reports whether a line that begins with line and b begins like a
// delimiter.
func mayDelimit(line, b []byte) bool {
	switch len(line) {
	case 0:
		return b[0] == '-' && (len(b) == 1 || b[1] == '-')
	case 1:
		return b[0] == '-'
	}
	return true
}

// content takes octets of a body.
func (p *Parser) content(b []byte) {
	p.advance(b)
	if t := p.top(); t.kind == kindLeaf || t.kind == kindOpaque {
		p.leaf.write(b)
		if p.preview.open {
			p.preview.write(b)
		}
	}
}
