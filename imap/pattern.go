package imap

import (
	"math/bits"
	"strings"
)

// A pattern matches mailbox names as LIST has it (RFC 9051 §6.3.9): "*" stands
// for anything, "%" for anything without a separator. It is a set of states
// moved along the name, one bit a pattern byte: time is the length of the name
// times that of the pattern over 64, whatever the wildcards.
type pattern struct {
	text  []byte
	inbox bool // the present byte is of INBOX: letters are the same in any case
}

// maxPattern bounds the bytes of a pattern that can still match a name of 1000
// bytes, with a wildcard between each two.
const maxPattern = 2*1000 + 1

// newPattern reads a pattern. ok is false when no name can match it.
func newPattern(text string) (p pattern, ok bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if n := len(p.text); n > 0 && isWildcard(c) && isWildcard(p.text[n-1]) {
			// Neighbours are as good as the stronger of them.
			if c == '*' {
				p.text[n-1] = c
			}
			continue
		}
		p.text = append(p.text, c)
	}
	return p, len(p.text) <= maxPattern
}

func isWildcard(c byte) bool { return c == '*' || c == '%' }

// endsIn reports whether the pattern's last byte is c.
func (p pattern) endsIn(c byte) bool {
	return len(p.text) > 0 && p.text[len(p.text)-1] == c
}

// match reports whether name matches. INBOX matches in any case, also as the
// first level of a name.
func (p pattern) match(name string) bool {
	inbox := name == "INBOX" || strings.HasPrefix(name, "INBOX"+separator)
	var few [4]uint64 // patterns up to 255 bytes need no memory
	states := few[:]
	if n := (len(p.text)+1+63)/64 + 1; n > len(states) {
		states = make([]uint64, n)
	}
	states[0] = 1
	p.skipWildcards(states)
	for i := 0; i < len(name); i++ {
		p.inbox = inbox && i < len("INBOX")
		if !p.step(states, name[i]) {
			return false
		}
	}
	return states[len(p.text)/64]&(1<<(len(p.text)%64)) != 0
}

// skipWildcards adds the states behind wildcards, which may stand for nothing.
// Two wildcards are never neighbours, so one pass does.
func (p pattern) skipWildcards(states []uint64) {
	for i := range states {
		for w := states[i]; w != 0; w &= w - 1 {
			at := i*64 + bits.TrailingZeros64(w)
			if at < len(p.text) && isWildcard(p.text[at]) {
				states[(at+1)/64] |= 1 << ((at + 1) % 64)
			}
		}
	}
}

// step moves the states over one byte of the name. It reports whether any is
// left.
func (p pattern) step(states []uint64, c byte) bool {
	carry, alive := uint64(0), false
	for i := range states {
		now, next := states[i], carry
		carry = 0
		for w := now; w != 0; w &= w - 1 {
			bit := bits.TrailingZeros64(w)
			at := i*64 + bit
			if at >= len(p.text) {
				continue
			}
			switch t := p.text[at]; {
			case t == '*' || t == '%' && c != separator[0]:
				next |= 1 << bit // the wildcard takes it
			case !isWildcard(t) && p.same(t, c):
				if bit == 63 {
					carry = 1
				} else {
					next |= 1 << (bit + 1)
				}
			}
		}
		states[i] = next
		alive = alive || next|carry != 0
	}
	p.skipWildcards(states)
	return alive
}

func (p pattern) same(t, c byte) bool {
	return t == c || p.inbox && 'a' <= t && t <= 'z' && t-32 == c
}
