package imap

import (
	"math/rand/v2"
	"testing"

	"nestbox/storage"
)

// A program evaluated in stages, on what is known at each, gives the same as
// one evaluated at once; and no stage reads what is decided already.
func TestEvalStages(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	stages := []needs{needRow, needRow | needRecord, needRow | needHeader, needRow | needText}
	for range 20000 {
		g := &programs{rnd: rnd}
		p := g.program(4)
		e := &searcher{}
		m := &searched{row: &storage.Row{Flags: storage.Flags(rnd.Uint64() & 31)}, known: make([]tri, g.slots)}
		want := g.truth(&p, m.row)
		got := unknown
		for _, have := range stages {
			e.have = have
			now := p.eval(e, m)
			if got != unknown && now != got {
				t.Fatalf("decided as %d, then %d", got, now)
			}
			if got = now; got != unknown {
				break
			}
		}
		if got != known(want) {
			t.Fatalf("got %d, want %v: %+v", got, want, p)
		}
	}
}

// programs makes random programs.
type programs struct {
	rnd   *rand.Rand
	slots int
	// value of the test of each slot
	values []bool
}

func (g *programs) program(depth int) criterion {
	kind := g.rnd.IntN(6)
	if depth == 0 {
		kind = g.rnd.IntN(3)
	}
	switch kind {
	case 0:
		return flagCriterion(1<<g.rnd.IntN(5), g.rnd.IntN(2) == 0)
	case 1, 2:
		value := g.rnd.IntN(2) == 0
		g.values = append(g.values, value)
		g.slots++
		need := []needs{needRecord, needHeader, needText}[g.rnd.IntN(3)]
		return criterion{op: opTest, needs: need, slot: g.slots - 1,
			test: func(*searcher, *searched) bool { return value }}
	case 3:
		return not(g.program(depth - 1))
	}
	var all []criterion
	for range g.rnd.IntN(4) {
		all = append(all, g.program(depth-1))
	}
	if kind == 4 {
		return and(all...)
	}
	return or(all...)
}

func (g *programs) truth(c *criterion, row *storage.Row) bool {
	switch c.op {
	case opFlags:
		return row.Flags&c.mask == c.want
	case opTest:
		return g.values[c.slot]
	case opNot:
		return !g.truth(&c.sub[0], row)
	}
	for i := range c.sub {
		if g.truth(&c.sub[i], row) != (c.op == opAnd) {
			return c.op == opOr
		}
	}
	return c.op == opAnd
}

func TestCharsets(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, in, want string
		ok, bad        bool
	}{
		{"UTF-8", "gr\u00fcn", "gr\u00fcn", true, false},
		{"utf-8", "\xff", "", false, false},
		{"us-ascii", "green", "green", true, false},
		{"US-ASCII", "gr\u00fcn", "", false, false},
		{"ISO-8859-1", "gr\xfcn", "gr\u00fcn", true, false},
		{"koi8-r", "\xd4", "\u0442", true, false},
		{"X-NONE", "", "", true, true},
	}
	for _, c := range cases {
		decode, err := charsetDecoder(c.name)
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got, ok := decode(c.in); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %q is %q, %v", c.name, c.in, got, ok)
		}
	}
}
