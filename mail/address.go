package mail

import "bytes"

// An address is one of an ENVELOPE. A group begins with one that has a
// mailbox alone, its name, and ends with one that has nothing (RFC 9051
// §7.5.2).
type address struct {
	name, route, mailbox, host []byte
	hasMailbox, hasHost        bool
}

// An addressReader reads the addresses of a field (RFC 5322 §3.4 and §4.4).
// What is not in that form gives the best that can be made of it.
type addressReader struct {
	lexer
	yield   func(*address)
	left    int // addresses that may still come
	group   bool
	comment []byte // the last one
	joined  []byte // words with blanks between them, a phrase
	local   []byte // words without blanks around dots, a local part
	words   int
}

// read calls yield for each address, left times at most.
func (r *addressReader) read() {
	for r.left > 0 {
		r.space()
		if r.i >= len(r.s) {
			break
		}
		switch r.s[r.i] {
		case ',':
			r.i++
		case ';':
			r.i++
			r.endGroup()
		default:
			r.address()
		}
	}
	r.endGroup()
}

func (r *addressReader) give(a *address) {
	r.left--
	r.yield(a)
}

func (r *addressReader) endGroup() {
	if r.group {
		r.group = false
		r.give(&address{})
	}
}

// space is skip that keeps the last comment.
func (r *addressReader) space() {
	for r.i < len(r.s) {
		if class[r.s[r.i]]&isSpace != 0 {
			r.i++
		} else if r.s[r.i] == '(' {
			if c := bytes.TrimSpace(r.lexer.comment()); len(c) > 0 {
				r.comment = c
			}
		} else {
			return
		}
	}
}

// address reads one mailbox or the begin of a group.
func (r *addressReader) address() {
	r.comment = nil
	r.phrase()
	words := r.words
	switch {
	case r.i < len(r.s) && r.s[r.i] == ':' && r.group: // groups don't nest
		r.i++
	case r.i < len(r.s) && r.s[r.i] == ':':
		r.i++
		r.group = true
		r.give(&address{mailbox: r.joined, hasMailbox: true})
	case r.i < len(r.s) && r.s[r.i] == '<':
		r.named(r.joined)
	default:
		r.bare(words)
	}
}

// named reads <address> after a display name. Without one, a comment behind
// the address is taken for it.
func (r *addressReader) named(name []byte) {
	name = r.save(name) // reading on uses the same memory
	a := r.angle()
	r.toComma()
	if a.name = bytes.TrimSpace(name); len(a.name) == 0 {
		a.name = r.comment
	}
	r.give(&a)
}

// bare reads what is behind the local part of an address without "<".
func (r *addressReader) bare(words int) {
	if r.i >= len(r.s) || r.s[r.i] != '@' {
		start := r.i
		r.toComma()
		if words == 0 {
			if r.i == start && r.i < len(r.s) && r.s[r.i] != ',' && r.s[r.i] != ';' {
				r.i++ // never stay at the same place
			}
			return
		}
		a := address{mailbox: r.joined, hasMailbox: true, hasHost: true}
		a.name = r.comment
		r.give(&a)
		return
	}
	r.i++
	a := address{mailbox: r.save(r.local), host: r.domain(), hasMailbox: true, hasHost: true}
	r.space()
	if r.i < len(r.s) && r.s[r.i] == '<' { // user@host <user@host>
		r.joined = append(append(append(r.joined[:0], a.mailbox...), '@'), a.host...)
		r.named(r.joined)
		return
	}
	r.toComma()
	a.name = r.comment
	r.give(&a)
}

// phrase reads words, up to one of : < @ , ;
func (r *addressReader) phrase() {
	r.joined, r.local, r.words = r.joined[:0], r.local[:0], 0
	for {
		r.space()
		if r.i >= len(r.s) {
			return
		}
		switch c := r.s[r.i]; c {
		case ':', '<', '@', ',', ';':
			return
		case '"':
			r.word(r.quoted())
		case '>', ')':
			r.i++
		default:
			start := r.i
			for r.i < len(r.s) && class[r.s[r.i]]&isPhrase == 0 {
				r.i++
			}
			if r.i < len(r.s) && bytes.HasPrefix(r.s[start:], []byte("=?")) {
				r.i = max(r.i, start+encodedWordLen(r.s[start:]))
			}
			r.word(r.s[start:r.i])
		}
	}
}

func (r *addressReader) word(w []byte) {
	if len(w) == 0 { // an empty quoted string
		return
	}
	if r.words > 0 {
		r.joined = append(r.joined, ' ')
		if n := len(r.local); n > 0 && r.local[n-1] != '.' && w[0] != '.' {
			r.local = append(r.local, ' ')
		}
	}
	r.joined = append(r.joined, w...)
	r.local = append(r.local, w...)
	r.words++
}

// save copies b to memory that lasts until the address is given.
func (r *addressReader) save(b []byte) []byte {
	start := len(*r.buf)
	*r.buf = append(*r.buf, b...)
	return (*r.buf)[start:len(*r.buf):len(*r.buf)]
}

// angle reads "<" [route ":"] local part "@" domain ">".
func (r *addressReader) angle() address {
	r.i++
	r.skip()
	var source []byte
	if r.i < len(r.s) && r.s[r.i] == '@' {
		route := r.s[r.i:min(len(r.s), r.i+maxLine)]
		if end := bytes.IndexAny(route, ":>"); end >= 0 && route[end] == ':' {
			source = r.save(bytes.TrimSpace(route[:end]))
			r.i += end + 1
		}
	}
	r.phrase()
	a := address{route: source, mailbox: r.save(r.local), hasMailbox: true, hasHost: true}
	if r.i < len(r.s) && r.s[r.i] == '@' {
		r.i++
		a.host = r.domain()
	}
	for r.i < len(r.s) && r.s[r.i] != '>' && r.s[r.i] != ',' {
		r.i++
	}
	if r.i < len(r.s) && r.s[r.i] == '>' {
		r.i++
	}
	return a
}

// domain reads a domain or a literal in brackets. Blanks may stand around its
// dots (RFC 5322 §4.4).
func (r *addressReader) domain() []byte {
	out := *r.buf
	first := len(out)
	for {
		r.space()
		start := r.i
		if r.i < len(r.s) && r.s[r.i] == '[' {
			for r.i < len(r.s) && r.s[r.i] != ']' && r.s[r.i] != '>' && r.s[r.i] != ',' {
				r.i++
			}
		}
		for r.i < len(r.s) && class[r.s[r.i]]&isPhrase == 0 {
			r.i++
		}
		part := r.s[start:r.i]
		if len(part) == 0 || len(out) > first && out[len(out)-1] != '.' && part[0] != '.' {
			r.i = start
			break
		}
		out = append(out, part...)
	}
	*r.buf = out
	return out[first:len(out):len(out)]
}

// toComma moves to the comma or semicolon that ends the address.
func (r *addressReader) toComma() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ',', ';':
			return
		case '"':
			r.quoted()
		case '(':
			r.space()
		default:
			r.i++
		}
	}
}
