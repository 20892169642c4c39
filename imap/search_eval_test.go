package imap

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nestbox/imap/wire"
	"nestbox/mail"
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

// The signatures are of mail.NormalText: what a header key can match must stand
// in it, or searches would miss messages.
func TestHeaderTextIsInNormalText(t *testing.T) {
	t.Parallel()
	header := "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?q?_aus?=\r\n =?utf-8?b?w6TDtg==?= Berlin\r\n" +
		"From:\t\"J\xfcrgen\" <j@example.org>\r\nX-Empty:\r\nX-Folded: one\r\n\ttwo\r\n  three  \r\n" +
		"X-Utf8: na\u00efve \u01c5 \u00df\r\nX-Control: a\x01b\x00c\r\nsubject: again\r\n\r\n"
	p := mail.NewParser()
	_, err := io.WriteString(p, header+"body\r\n")
	must(t, err)
	var text []byte
	must(t, mail.NormalText(p.Finish(), strings.NewReader(header+"body\r\n"), scopeText, func(piece []byte) bool {
		text = append(text, piece...)
		return true
	}))
	fields := 0
	for _, name := range []string{"SUBJECT", "FROM", "X-EMPTY", "X-FOLDED", "X-UTF8", "X-CONTROL"} {
		mail.HeaderField([]byte(header), name, func(value []byte) bool {
			fields++
			if normal := mail.AppendNormalHeader(nil, value); !bytes.Contains(text, normal) {
				t.Errorf("%s: %q is not in %q", name, normal, text)
			}
			return true
		})
	}
	if fields != 7 {
		t.Errorf("%d fields", fields)
	}
}

// A long search tells the client that it goes on, and stops when nobody is
// there.
func TestSearchProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	srv := NewServer(Options{})
	s := &session{srv: srv, c: &conn{srv: srv}, w: wire.NewEncoder(&out), log: slog.New(slog.DiscardHandler)}
	e := &searcher{s: s, total: 9, done: 4, told: time.Now()}
	must(t, e.progress())
	if out.Len() > 0 {
		t.Errorf("at once: %q", out.String())
	}
	e.told = e.told.Add(-tellAfter)
	must(t, e.progress())
	must(t, e.progress())
	if got := out.String(); got != "* OK [INPROGRESS (NIL 4 9)] searched 4 of 9 messages\r\n" {
		t.Errorf("%q", got)
	}
	s.w.Reset(brokenWriter{})
	e.told = e.told.Add(-tellAfter)
	if err := e.progress(); err == nil {
		t.Error("goes on for nobody")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
