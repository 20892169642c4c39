package mail

import (
	"io"
	"sync"
)

// A Scope is the part of a message that a search looks at.
type Scope uint8

const (
	// ScopeHeader is the message's header.
	ScopeHeader Scope = 1 << iota
	// ScopeBody is the text of all text parts, and the headers of messages in
	// the message.
	ScopeBody
	// ScopeText is both, and the headers of parts (RFC 9051 §6.4.4, TEXT).
	ScopeText = ScopeHeader | ScopeBody
)

const (
	maxPiece      = 8 << 10  // octets of normal text that are given at once
	textStep      = 4 << 10  // octets that are decoded at once
	textRead      = 32 << 10 // octets that are read at once
	maxHeaderText = 1 << 20  // octets of a header that searches look at
)

// NormalText calls emit with the normal text of a message, in pieces of at
// most 8 KB, until it returns false. Each header field is "NAME: value"; field
// and part end in a line feed, which no normal string holds, so that no match
// spans two. A piece is only valid in emit. The error is raw's, or
// io.ErrUnexpectedEOF when raw is shorter than the record says.
func NormalText(rec Record, raw io.ReaderAt, s Scope, emit func(piece []byte) bool) error {
	t := texters.Get().(*texter)
	defer texters.Put(t)
	t.raw, t.emit, t.out, t.done, t.err = raw, emit, t.out[:0], false, nil
	if s&ScopeHeader != 0 {
		t.header(0, rec.HeaderSize())
	}
	if s&ScopeBody != 0 && !t.done {
		t.body(rec, s == ScopeText)
	}
	t.give(0)
	err := t.err
	t.raw, t.emit, t.err = nil, nil, nil
	return err
}

var texters = sync.Pool{New: func() any { return &texter{in: make([]byte, textRead)} }}

type texter struct {
	raw     io.ReaderAt
	emit    func([]byte) bool
	in      []byte
	head    []byte
	out     []byte // normal text that was not given yet
	normal  normalizer
	decoder textDecoder
	done    bool
	err     error
}

// give passes text on as long as there are more than so many octets of it.
func (t *texter) give(keep int) {
	at := 0
	for len(t.out)-at > keep && !t.done {
		n := min(len(t.out)-at, maxPiece)
		t.done = !t.emit(t.out[at : at+n])
		at += n
	}
	t.out = t.out[:copy(t.out, t.out[at:])]
}

func (t *texter) body(rec Record, partHeaders bool) {
	rec.Parts(func(path []int, p Part) bool {
		if partHeaders && len(path) > 0 && p.Offset > 0 {
			t.header(p.Offset, p.HeaderSize)
		}
		switch {
		case t.done:
		case p.Message:
			if off, n, ok := rec.Range(path, SectionHeader); ok {
				t.header(off, n)
			}
		case p.Type == "TEXT" || p.Type == "MESSAGE":
			t.part(p)
		}
		return !t.done
	})
}

// read fills b from off on. It ends the text if that fails.
func (t *texter) read(b []byte, off int64) bool {
	n, err := t.raw.ReadAt(b, off)
	if n == len(b) {
		return true
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	t.err, t.done = err, true
	return false
}

// header gives the fields of the header at off.
func (t *texter) header(off, n int64) {
	n = min(n, maxHeaderText)
	if int64(cap(t.head)) < n {
		t.head = make([]byte, n)
	}
	t.head = t.head[:n]
	if !t.read(t.head, off) {
		return
	}
	header := t.head
	for !t.done {
		field, rest, end := nextField(header)
		if end {
			break
		}
		header = rest
		name, value := splitField(field)
		if name == nil {
			value = field
		} else {
			t.normal = normalizer{}
			t.out = t.normal.append(t.out, name)
			t.out = append(t.out, ':', ' ')
		}
		t.out = append(AppendNormalHeader(t.out, value), '\n')
		if len(t.out) >= maxPiece {
			t.give(maxPiece)
		}
	}
	if cap(t.head) > textRead {
		t.head = nil // a large one is rare
	}
}

// part gives the text of a part.
func (t *texter) part(p Part) {
	t.normal = normalizer{}
	t.decoder.reset(p.Subtype, p.Encoding, p.Charset)
	off, end := p.Offset+p.HeaderSize, p.Offset+p.HeaderSize+p.BodySize
	for off < end && !t.done {
		in := t.in[:min(int64(len(t.in)), end-off)]
		if !t.read(in, off) {
			return
		}
		off += int64(len(in))
		for len(in) > 0 && !t.done {
			n := min(len(in), textStep)
			t.text(t.decoder.decode(in[:n], false))
			in = in[n:]
		}
	}
	t.text(t.decoder.decode(nil, true))
	t.out = append(t.out, '\n')
}

func (t *texter) text(b []byte) {
	t.out = t.normal.append(t.out, b)
	if len(t.out) >= maxPiece {
		t.give(maxPiece)
	}
}
