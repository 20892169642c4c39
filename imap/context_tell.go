package imap

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/mail"
	"nestbox/storage"
)

// syncContexts tells how results change by what the client was just told:
// flags that others or it changed, and new messages.
func syncContexts(s *session) error {
	n := s.contexts()
	if n == nil || len(n.all) == 0 {
		return nil
	}
	b := batches.Get().(*batch) // the session's own is the searcher's
	defer batches.Put(b)
	if s.wishes.quiet == quietNone {
		if err := n.flags(s, b); err != nil {
			return err
		}
	}
	return n.arrivals(s, b)
}

// flags looks again at the messages that changed.
func (n *contexts) flags(s *session, b *batch) error {
	box := &s.sel.box
	for more := n.since < box.HighestModSeq; more; {
		var changes []storage.Change
		var err error
		_, changes, more, err = s.sel.account.Changes(box.ID, n.since, box.HighestModSeq, b.changes[:0])
		if err != nil {
			return err
		}
		uids := b.uids[:0]
		for _, c := range changes {
			n.since = max(n.since, c.ModSeq)
			if !c.Expunged && c.UID < n.next && s.sel.view.Has(c.UID) {
				uids = append(uids, c.UID)
			}
		}
		slices.Sort(uids)
		for part := range slices.Chunk(slices.Compact(uids), batchSize) {
			if err := n.look(s, part, false); err != nil {
				return err
			}
		}
	}
	n.since = max(n.since, box.HighestModSeq)
	return nil
}

// arrivals looks at the messages that are new in the view.
func (n *contexts) arrivals(s *session, b *batch) error {
	v := s.sel.view
	if n.next >= v.Next() {
		return nil
	}
	cursor := v.Cursor(view.Ranges{{Lo: n.next, Hi: v.Next() - 1}})
	for uids := cursor.Next(b.uids[:0]); len(uids) > 0; uids = cursor.Next(b.uids[:0]) {
		if err := n.look(s, uids, true); err != nil {
			return err
		}
	}
	n.next = v.Next()
	return nil
}

// look searches again in at most batchSize messages, ascending, and tells which
// of them entered and left each result.
func (n *contexts) look(s *session, uids []imap.UID, fresh bool) error {
	for _, x := range n.all {
		now, err := x.search(s, uids)
		if err != nil {
			return err
		}
		var in, out []imap.UID
		for _, uid := range uids {
			_, is := slices.BinarySearch(now, uid)
			switch was := x.matches.Has(uid); {
			case is && !was:
				in = append(in, uid)
			case was && !is:
				out = append(out, uid)
			}
		}
		if fresh && x.fetch != nil && len(in) > 0 {
			if err := fetchUnasked(s, x.fetch, view.RangesOf(in)); err != nil {
				return err
			}
		}
		x.leave(s, out)
		if err := x.enter(s, in); err != nil {
			return err
		}
	}
	return nil
}

// search is which of the messages match.
func (x *searchContext) search(s *session, uids []imap.UID) (hits []imap.UID, err error) {
	e, err := newSearcher(s, x.program, x.slots)
	if err != nil {
		return nil, err
	}
	defer e.free()
	e.rows = s.batch().rows
	in := make([]imap.UID, 0, len(uids))
	for _, uid := range uids {
		if e.scope.Has(uid) {
			in = append(in, uid)
		}
	}
	err = e.batch(in, func(row *storage.Row) bool {
		hits = append(hits, row.UID)
		return true
	})
	return hits, err
}

// expungeContexts takes messages out of the results before the client is told
// that they are no more (RFC 5267 §4.3.4).
func expungeContexts(s *session, gone []imap.UID) {
	n := s.contexts()
	if n == nil {
		return
	}
	for _, x := range n.all {
		var out []imap.UID
		for _, uid := range gone {
			if x.matches.Has(uid) {
				out = append(out, uid)
			}
		}
		x.leave(s, out)
	}
}

// leave takes messages, ascending, out of the result.
func (x *searchContext) leave(s *session, out []imap.UID) {
	if len(out) == 0 {
		return
	}
	x.matches = x.matches.Without(out)
	if x.sorted == nil {
		x.write(s, "REMOVEFROM", 0, out)
		return
	}
	// From the end on, so that what is left to go stays where it was.
	order := x.sorted.order
	is := func(i int) bool { _, ok := slices.BinarySearch(out, order[i]); return ok }
	for i := len(order) - 1; i >= 0; i-- {
		if !is(i) {
			continue
		}
		end := i + 1
		for i > 0 && end-i < maxContextSet && is(i-1) {
			i--
		}
		x.write(s, "REMOVEFROM", i+1, order[i:end])
		order = slices.Delete(order, i, end)
	}
	x.sorted.order = order
}

// enter puts messages, ascending, into the result.
func (x *searchContext) enter(s *session, in []imap.UID) error {
	if len(in) == 0 {
		return nil
	}
	if x.sorted == nil {
		x.matches = x.matches.Union(view.RangesOf(in))
		x.write(s, "ADDTO", 0, in)
		return nil
	}
	t, err := x.sorted.place(s, in)
	if err != nil {
		return err
	}
	x.matches = x.matches.Union(view.RangesOf(in))
	order := make([]imap.UID, 0, len(x.sorted.order)+len(in))
	old := 0
	for i := 0; i < len(t); {
		order = append(order, x.sorted.order[old:t[i].before]...)
		old = t[i].before
		first := len(order)
		for ; i < len(t) && t[i].before == old && len(order)-first < maxContextSet; i++ {
			order = append(order, t[i].uid)
		}
		x.write(s, "ADDTO", first+1, order[first:])
	}
	x.sorted.order = append(order, x.sorted.order[old:]...)
	return nil
}

// maxContextSet bounds the messages of one answer: clients have limits of a line.
const maxContextSet = 500

// write writes a change of the result: 0 is the position in one that is in the
// order of the mailbox.
func (x *searchContext) write(s *session, what string, position int, uids []imap.UID) {
	names := &found{uid: x.uid, view: s.sel.view}
	s.w.Raw(`* ESEARCH (TAG "`).Raw(x.tag).Raw(`")`)
	if x.uid {
		s.w.Raw(" UID")
	}
	s.w.SP().Raw(what).Raw(" (").Raw(strconv.Itoa(position)).SP()
	writeOrderedSet(s.w, names, uids)
	s.w.Raw(")").CRLF()
}

// A sortedIn is where a message belongs in an order: before the one at a place.
type sortedIn struct {
	uid    imap.UID
	before int
}

// place finds where messages belong, and puts them in order. Only their keys are
// read, and those of the messages that they are compared with.
func (o *sorting) place(s *session, in []imap.UID) ([]sortedIn, error) {
	keys := &sortKeys{s: s, t: newSortTable(o.criteria), at: map[imap.UID]int32{}}
	if err := keys.read(in); err != nil {
		return nil, err
	}
	all := make([]sortedIn, len(in))
	for i, uid := range in {
		lo, hi := 0, len(o.order)
		for lo < hi {
			mid := (lo + hi) / 2
			if err := keys.read(o.order[mid : mid+1]); err != nil {
				return nil, err
			}
			if keys.compare(o.order[mid], uid) < 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		all[i] = sortedIn{uid, lo}
	}
	slices.SortFunc(all, func(a, b sortedIn) int {
		return cmp.Or(cmp.Compare(a.before, b.before), keys.compare(a.uid, b.uid))
	})
	return all, nil
}

// sortKeys are the sort keys of some messages.
type sortKeys struct {
	s  *session
	t  *sortTable
	at map[imap.UID]int32
}

// read reads the keys of messages that aren't there yet. One that can't be read
// any more has none.
func (k *sortKeys) read(uids []imap.UID) error {
	var want []imap.UID
	for _, uid := range uids {
		if _, ok := k.at[uid]; !ok {
			k.at[uid], want = -1, append(want, uid)
		}
	}
	if len(want) == 0 {
		return nil
	}
	sel := k.s.sel
	rows, err := sel.account.Rows(sel.box.Space, want, nil)
	if err != nil {
		return err
	}
	add := func(i int, rec mail.Record) bool {
		k.at[rows[i].UID] = int32(len(k.t.uids))
		k.t.add(&rows[i], rec)
		return true
	}
	if !k.t.record {
		for i := range rows {
			add(i, nil)
		}
		return nil
	}
	blobs := make([]storage.BlobID, len(rows))
	for i := range rows {
		blobs[i] = rows[i].Blob
	}
	return sel.account.Records(blobs, add)
}

// compare compares by the sort criteria, and else as the mailbox has them.
func (k *sortKeys) compare(a, b imap.UID) int {
	x, y := k.at[a], k.at[b]
	if x >= 0 && y >= 0 {
		for i := range k.t.columns {
			if n := k.t.columns[i].compare(x, y); n != 0 {
				return n
			}
		}
	}
	return cmp.Compare(a, b)
}

// fetchUnasked fetches items of messages for a client that wished for them.
func fetchUnasked(s *session, c *fetchCmd, of view.Ranges) error {
	f := newFetcher(s, c)
	defer f.free()
	err := f.fetch(of)
	if f.failed != nil {
		s.log.Warn("imap_notify_fetch_failed", "error", f.failed)
	}
	return err
}
