package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extCondStore: MODSEQs, conditional STORE, and what changed since one (RFC 7162
// §3.1). Every mailbox has MODSEQs: there is no NOMODSEQ.
//
// HIGHESTMODSEQ is part of every SELECT, asked for or not, as in example 1 of
// the RFC.
var extCondStore = extension{
	name: "CONDSTORE", rfc: "RFC 7162", caps: []capability{{name: "CONDSTORE"}},
	enable: "CONDSTORE", onEnable: func(s *session) { s.modSeqs = true },
	onSelect: func(s *session) {
		s.writeHighestModSeq(s.sel.box.HighestModSeq)
	},
	fetchItems: []fetchItem{{name: "MODSEQ", parse: func(_ *wire.Decoder, r *request, c *fetchCmd) {
		r.before = append(r.before, startModSeqs)
		c.add(itemModSeq)
	}}},
	fetchModifiers: []fetchModifier{{name: "CHANGEDSINCE", parse: parseChangedSince}},
	storeModifiers: []storeModifier{{name: "UNCHANGEDSINCE", parse: parseUnchangedSince}},
	searchKeys:     []searchKey{{"MODSEQ", parseModSeqKey}},
	statusItems: []statusItem{{
		name:  "HIGHESTMODSEQ",
		parse: func(r *request) { r.before = append(r.before, startModSeqs) },
		write: func(_ *session, box *place, w *wire.Encoder) error {
			w.Uint64(uint64(box.HighestModSeq))
			return nil
		},
	}},
	selectParams: []selectParam{{name: "CONDSTORE", parse: func(_ *wire.Decoder, r *request, _ *selectCmd) {
		// The mailbox that is left gets no HIGHESTMODSEQ: the new one does.
		r.before = append(r.before, func(s *session) { s.modSeqs = true })
	}}},
}

// startModSeqs is what every "CONDSTORE enabling command" does: the first one
// tells where a client that now keeps MODSEQs stands (RFC 7162 §3.1).
func startModSeqs(s *session) {
	if s.modSeqs {
		return
	}
	s.modSeqs = true
	if s.sel != nil {
		s.writeHighestModSeq(s.toldUpTo())
	}
}

func (s *session) writeHighestModSeq(m storage.ModSeq) {
	s.w.Raw("* OK [" + codeHighestModSeq + " ").Uint64(uint64(m)).Raw("] highest mod-sequence").CRLF()
}

// parseModSeq reads a mod-sequence-valzer. 0 is taken where the grammar wants
// more: iPhones send CHANGEDSINCE 0, and mean all.
func parseModSeq(d *wire.Decoder) storage.ModSeq {
	d.SP()
	return storage.ModSeq(d.Number64())
}

// A changesWanted limits a FETCH to what changed.
type changesWanted struct {
	since    storage.ModSeq
	hasSince bool
	// earlier, if any, tells of what went since then.
	earlier func(s *session, t *touched)
}

// wantChanges is the limit of c, to be filled.
func (c *fetchCmd) wantChanges() *changesWanted {
	if c.changes == nil {
		c.changes = new(changesWanted)
		c.narrow = append(c.narrow, c.changes.narrow)
	}
	return c.changes
}

func parseChangedSince(d *wire.Decoder, r *request, c *fetchCmd) {
	want := c.wantChanges()
	if want.hasSince {
		d.FailErr(bad("CHANGEDSINCE is given twice"))
		return
	}
	want.since, want.hasSince = parseModSeq(d), true
	c.add(itemModSeq) // RFC 7162 §3.1.4.1
	r.before = append(r.before, startModSeqs)
}

func (want *changesWanted) narrow(s *session, ranges view.Ranges) (view.Ranges, error) {
	if !want.hasSince {
		return nil, bad("VANISHED needs CHANGEDSINCE") // RFC 7162 §3.2.6
	}
	t, err := s.touched(want.since)
	if err != nil {
		return nil, err
	}
	if want.earlier != nil {
		want.earlier(s, t)
	}
	return ranges.Intersect(t.changed), nil
}

// A touched is what the change log has since a MODSEQ: UIDs that changed or
// came, and those that went, all among others that never were.
type touched struct {
	changed, gone view.Ranges
	// complete: no message that went is forgotten.
	complete bool
}

// touched reads the log. What happens while it does, sync tells.
func (s *session) touched(since storage.ModSeq) (*touched, error) {
	space, from := s.sel.box.Space, since
	box, err := s.sel.account.Mailbox(s.sel.box.ID)
	if err != nil {
		return nil, err
	}
	upTo, t := box.HighestModSeq, new(touched)
	touches := make([]storage.Touch, 0, batchSize)
	for from < upTo {
		if err := s.progress(); err != nil {
			return nil, err
		}
		touches, from, err = s.sel.account.Touched(space, from, upTo, touches[:0])
		if err != nil {
			return nil, err
		}
		for _, touch := range touches {
			r := view.Range{Lo: touch.UID, Hi: touch.Last}
			if touch.Expunged {
				t.gone = append(t.gone, r)
			} else {
				t.changed = append(t.changed, r)
			}
		}
	}
	// Looked at last: what was forgotten meanwhile counts.
	if box, err = s.sel.account.Mailbox(s.sel.box.ID); err != nil {
		return nil, err
	}
	t.changed, t.gone, t.complete = t.changed.Union(nil), t.gone.Union(nil), since >= box.Floor
	return t, nil
}

func parseUnchangedSince(d *wire.Decoder, r *request, c *storeCmd) {
	if c.conditional {
		d.FailErr(bad("UNCHANGEDSINCE is given twice")) // RFC 7162 §7
		return
	}
	c.conditional, c.unchangedSince = true, parseModSeq(d)
	r.before = append(r.before, startModSeqs)
}

// parseModSeqKey reads the key of SEARCH (RFC 7162 §3.1.5). There is one MODSEQ
// a message, so the name and the type of the entry are read and ignored.
func parseModSeqKey(d *wire.Decoder, p *searchParser) criterion {
	d.SP()
	if d.Peek() == '"' {
		if name := d.String(); !validEntry(name) {
			d.Fail(`an entry, "/flags/\\Seen"`)
		}
		d.SP()
		switch d.Word() {
		case "PRIV", "SHARED", "ALL":
		default:
			d.Fail("priv, shared or all")
		}
		d.SP()
	}
	from := storage.ModSeq(d.Number64())
	p.modSeq = true
	p.r.before = append(p.r.before, startModSeqs)
	return rowKey(func(row *storage.Row) bool { return row.ModSeq >= from })
}

func validEntry(name string) bool {
	const prefix = "/flags/"
	return len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) &&
		!strings.EqualFold(name[len(prefix):], string(imap.Flag(`\Recent`)))
}
