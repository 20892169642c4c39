package mail

import "bytes"

// A Needle looks for a string in text that comes in pieces.
type Needle struct {
	s    []byte
	tail []byte // end of the text so far, shorter than s

	found bool
}

// NewNeedle looks for s, which is in normal form.
func NewNeedle(s string) *Needle { return &Needle{s: []byte(s)} }

// Feed takes the next piece and reports whether the string stands in the text
// so far. The caller stops at the first find. The empty string is found at
// once.
func (n *Needle) Feed(piece []byte) (found bool) {
	if len(n.s) == 0 {
		n.found = true
		return true
	}
	found = n.feed(piece)
	n.found = n.found || found
	return found
}

// Score is 100 if the string was found, and else 0.
func (n *Needle) Score() int {
	if n.found {
		return 100
	}
	return 0
}

func (n *Needle) feed(piece []byte) (found bool) {
	keep := len(n.s) - 1
	if len(n.tail) > 0 { // across the border
		n.tail = append(n.tail, piece[:min(len(piece), keep)]...)
		if bytes.Contains(n.tail, n.s) {
			return true
		}
	}
	if bytes.Contains(piece, n.s) {
		return true
	}
	switch {
	case len(piece) >= keep:
		n.tail = append(n.tail[:0], piece[len(piece)-keep:]...)
	case len(n.tail) == 0:
		n.tail = append(n.tail, piece...)
	case len(n.tail) > keep:
		n.tail = append(n.tail[:0], n.tail[len(n.tail)-keep:]...)
	}
	return false
}

// Reset forgets the text.
func (n *Needle) Reset() { n.tail, n.found = n.tail[:0], false }
