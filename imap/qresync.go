package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extQResync: a client that comes back is told in SELECT what changed and what
// went since its last MODSEQ, and of expunges by UID (RFC 7162 §3.2).
var extQResync = extension{
	name: "QRESYNC", rfc: "RFC 7162", caps: []capability{{name: "QRESYNC"}},
	needs:  []*extension{&extCondStore},
	enable: "QRESYNC", onEnable: func(s *session) { s.modSeqs, s.vanished, s.resyncs = true, true, true },
	fetchModifiers: []fetchModifier{{name: "VANISHED", parse: parseVanished}},
	selectParams:   []selectParam{{name: "QRESYNC", parse: parseQResync}},
}

var errNotEnabled = bad("ENABLE QRESYNC comes first") // RFC 7162 §3.2.3

// parseVanished reads the modifier of UID FETCH (RFC 7162 §3.2.6).
func parseVanished(d *wire.Decoder, r *request, c *fetchCmd) {
	switch {
	case !r.uid:
		d.FailErr(bad("VANISHED is only for UID FETCH"))
		return
	case !r.s.resyncs:
		d.FailErr(errNotEnabled)
		return
	}
	c.wantChanges().earlier = func(s *session, t *touched) {
		s.writeEarlier(t, rangesOf(uidSet(c.set), s.sel.view.Next()-1))
	}
}

// writeEarlier tells which of the UIDs that a client knows are gone (RFC 7162
// §3.2.10.1). Of messages that went a moment ago, and are in the view, sync tells.
func (s *session) writeEarlier(t *touched, known view.Ranges) {
	if !t.complete { // RFC 7162 §3.2.6: as if all were asked for
		s.writeVanished(s.sel.view.Gaps(known), true)
		return
	}
	gone := t.gone.Intersect(known)
	s.writeVanished(gone.Without(s.sel.view.UIDs(gone)), true)
}

// rangesOf are the numbers of set up to last, where a "*" stands for last.
func rangesOf(set imap.UIDSet, last imap.UID) view.Ranges {
	var rs view.Ranges
	for _, r := range set {
		lo, hi := r.Start, r.Stop
		if lo == 0 {
			lo = last
		}
		if hi == 0 || hi > last {
			hi = last
		}
		if lo > 0 && lo <= hi {
			rs = append(rs, view.Range{Lo: lo, Hi: hi})
		}
	}
	return rs.Union(nil)
}

// A resync is the argument of QRESYNC in SELECT: what the client knows.
type resync struct {
	validity uint32
	modSeq   storage.ModSeq
	uids     imap.UIDSet // nil: all
	seqs     imap.SeqSet // with matches: a sample of what has which number
	matches  imap.UIDSet
}

// parseQResync reads "(" uidvalidity SP modseq [SP known-uids] [SP seq-match-data] ")".
func parseQResync(d *wire.Decoder, r *request, c *selectCmd) {
	if !r.s.resyncs {
		d.FailErr(errNotEnabled)
		return
	}
	q := new(resync)
	d.SP()
	d.Byte('(')
	q.validity = d.NzNumber()
	q.modSeq = parseModSeq(d)
	for first := true; d.TrySP(); first = false {
		if d.Peek() == '(' {
			q.parseMatch(d, r)
			break
		}
		if !first {
			d.Fail("known sequence numbers")
			break
		}
		q.uids = knownSet[imap.UIDSet](d, true)
	}
	d.Byte(')')
	c.follow = append(c.follow, q.run)
}

// parseMatch reads seq-match-data.
func (q *resync) parseMatch(d *wire.Decoder, r *request) {
	r.numbers = true
	d.Byte('(')
	q.seqs = knownSet[imap.SeqSet](d, false)
	d.SP()
	q.matches = knownSet[imap.UIDSet](d, true)
	d.Byte(')')
	seqs, uids := uint64(0), uint64(0)
	for _, r := range q.seqs {
		seqs += uint64(r.Stop) - uint64(r.Start) + 1
	}
	for _, r := range q.matches {
		uids += uint64(r.Stop) - uint64(r.Start) + 1
	}
	if d.Err() == nil && seqs != uids {
		d.FailErr(bad("the sequence numbers and their UIDs are not of the same number"))
	}
}

// knownSet reads a sequence-set without "*" and "$".
func knownSet[S imap.NumSet](d *wire.Decoder, uid bool) S {
	set := d.NumSet(uid)
	typed, ok := set.(S)
	if d.Err() == nil && (!ok || set.Dynamic() || imap.IsSearchRes(uidSet(set))) {
		d.Fail(`numbers without "*"`)
	}
	return typed
}

// run tells what went and what changed (RFC 7162 §3.2.5.1), at the end of SELECT.
func (q *resync) run(s *session) error {
	if q.validity != s.sel.box.UIDValidity {
		return nil // the client sees it
	}
	last := s.sel.view.Next() - 1
	known := view.Ranges{{Lo: 1, Hi: last}}
	if q.uids != nil || last == 0 {
		known = rangesOf(q.uids, last)
	}
	t, err := s.touched(q.modSeq)
	if err != nil {
		return err
	}
	s.writeEarlier(t, known.Intersect(view.Ranges{{Lo: q.matched(s.sel.view) + 1, Hi: max(last, 1)}}))
	c := new(fetchCmd)
	for _, item := range []dataItem{itemUID, itemFlags, itemModSeq} {
		c.add(item)
	}
	f := newFetcher(s, c)
	defer f.free()
	return f.fetch(t.changed.Intersect(known))
}

// matched is the highest UID that has the number that the client knows: of all
// up to there the client knows what is left (RFC 7162 §3.2.5.2). A message's
// number only changes when one before it goes, so matches come first.
func (q *resync) matched(v *view.View) (uid imap.UID) {
	matches, at := q.matches, imap.UID(0)
	for _, r := range q.seqs {
		for seq := r.Start; seq <= r.Stop && seq <= uint32(v.Messages()); seq++ {
			if at == 0 {
				at = matches[0].Start
			}
			if v.UID(view.Seq(seq)) != at {
				return uid
			}
			uid = at
			if at++; at > matches[0].Stop {
				matches, at = matches[1:], 0
			}
		}
	}
	return uid
}
