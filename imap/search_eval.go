package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/mail"
	"nestbox/storage"
)

// A tri is what is known of a criterion and a message while not all of the
// message has been read.
type tri uint8

const (
	unknown tri = iota
	yes
	no3
)

func known(b bool) tri {
	if b {
		return yes
	}
	return no3
}

// An op is the kind of a criterion.
type op uint8

const (
	opAnd     op = iota // of sub; of none: yes
	opOr                // of sub; of none: no
	opNot               // of sub[0]
	opFlags             // row.Flags & mask == want
	opSet               // the UID is in ranges
	opRecent            // becomes opSet
	opKeyword           // becomes opFlags, or no
	opTest              // test
	opText              // what the text stage found
)

// needText: the text of the body is read (search_text.go). It comes after
// needs of FETCH, as the dearest.
const needText = needBlob

// noSlot is the slot of a criterion that is cheap to ask again.
const noSlot = -1

// A criterion is a SEARCH key with its arguments, or several joined.
type criterion struct {
	op    op
	needs needs // what must be read to decide it
	sub   []criterion

	mask, want storage.Flags
	set        imap.NumSet // of opSet; ranges once it is bound to a session
	ranges     view.Ranges
	keyword    imap.Flag

	// slot is the place in searched.known, or noSlot.
	slot int
	// test decides an opTest, when needs are at hand.
	test func(e *searcher, m *searched) bool
	// needle is what an opText, or an opTest of a header field, looks for, in
	// normal form: a message whose signature lacks it is not read at all.
	needle string
	scope  mail.Scope
	// values calls f with the values of the header field that a criterion of a
	// string is about, in normal form, until f returns false.
	values func(e *searcher, m *searched, f func(value []byte) bool)
	// look makes what looks for it in texts, if that isn't for the needle.
	// scored: what was found has a score.
	look   func() textMatcher
	scored bool
}

func flagCriterion(flag storage.Flags, set bool) criterion {
	c := criterion{op: opFlags, needs: needRow, mask: flag}
	if set {
		c.want = flag
	}
	return c
}

func not(c criterion) criterion {
	switch c.op {
	case opNot:
		return c.sub[0]
	case opFlags:
		if c.mask&(c.mask-1) == 0 { // one flag
			c.want ^= c.mask
			return c
		}
	}
	return criterion{op: opNot, needs: c.needs, sub: []criterion{c}}
}

func and(all ...criterion) criterion { return join(opAnd, all) }

func or(all ...criterion) criterion { return join(opOr, all) }

// join joins criteria, the cheap ones first, so that they spare the others.
func join(op op, all []criterion) criterion {
	if len(all) == 1 {
		return all[0]
	}
	c := criterion{op: op}
	for _, sub := range all {
		c.needs |= sub.needs
		if sub.op == op {
			c.sub = append(c.sub, sub.sub...)
		} else {
			c.sub = append(c.sub, sub)
		}
	}
	slices.SortStableFunc(c.sub, func(a, b criterion) int { return int(a.needs) - int(b.needs) })
	return c
}

// clone is c with a tree of its own.
func (c *criterion) clone() criterion {
	same := *c
	same.sub = slices.Clone(c.sub)
	for i := range same.sub {
		same.sub[i] = same.sub[i].clone()
	}
	return same
}

// eval is what is known of the criterion with what has been read of m.
func (c *criterion) eval(e *searcher, m *searched) tri {
	switch c.op {
	case opAnd:
		return c.evalAll(e, m, no3, yes)
	case opOr:
		return c.evalAll(e, m, yes, no3)
	case opNot:
		switch c.sub[0].eval(e, m) {
		case yes:
			return no3
		case no3:
			return yes
		}
		return unknown
	case opFlags:
		return known(m.row.Flags&c.mask == c.want)
	case opSet:
		return known(c.ranges.Has(m.row.UID))
	case opTest:
		return c.ask(e, m)
	case opText:
		return m.known[c.slot]
	}
	return no3
}

// evalAll evaluates sub up to the first that is decisive; if none is, the
// result is otherwise, as far as all are known.
func (c *criterion) evalAll(e *searcher, m *searched, decisive, otherwise tri) tri {
	result := otherwise
	for i := range c.sub {
		switch c.sub[i].eval(e, m) {
		case decisive:
			return decisive
		case unknown:
			result = unknown
		}
	}
	return result
}

func (c *criterion) ask(e *searcher, m *searched) tri {
	if c.slot == noSlot {
		return known(c.test(e, m))
	}
	if k := m.known[c.slot]; k != unknown {
		return k
	}
	if c.needs&^e.have != 0 {
		return unknown
	}
	k := known(c.test(e, m))
	m.known[c.slot] = k
	return k
}

// leaves calls f with each criterion that has no sub.
func (c *criterion) leaves(f func(c *criterion)) {
	switch c.op {
	case opAnd, opOr, opNot:
		for i := range c.sub {
			c.sub[i].leaves(f)
		}
	default:
		f(c)
	}
}

// A searched is a message that is being looked at.
type searched struct {
	row    *storage.Row
	rec    mail.Record
	header []byte
	known  []tri   // by slot
	scores []uint8 // by slot, of criteria that have one
	state  tri     // of the whole program
}
