package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extContext keeps the result of SEARCH and SORT up to date: RETURN (UPDATE)
// (RFC 5267 §4). RETURN (PARTIAL) is that of RFC 9394, which has all of it.
var extContext = extension{
	name: "CONTEXT", rfc: "RFC 5267 §4",
	caps: []capability{
		{name: "CONTEXT=SEARCH"},
		{name: "CONTEXT=SORT", when: func(s *session) bool { return s.has(&extSort) && s.has(&extESort) }},
	},
	needs:    []*extension{&extESearch, &extPartial},
	commands: []*command{{name: "CANCELUPDATE", state: selected, parse: parseCancelUpdate}},
	searchReturns: []searchReturn{
		{"CONTEXT", func(*wire.Decoder, *request, *searchCmd) {}}, // a hint (RFC 5267 §4.2); all are quick
		{"UPDATE", parseUpdateReturn},
	},
	onSync:    syncContexts,
	onExpunge: expungeContexts,
}

const (
	contextNote = "CONTEXT"
	// maxContexts are the results of a session that are kept up to date.
	maxContexts = 10
	// maxContextOrder is how many messages the sorted ones may have together,
	// of which each takes four octets.
	maxContextOrder = 200_000
	// maxContextRanges are the ranges of all results together, of eight octets;
	// one result there is in any case (RFC 5267 §4.3.1).
	maxContextRanges = 100_000
)

// contexts are the results that are kept up to date, of one selection.
type contexts struct {
	sel *selection
	all []*searchContext
	// since and next are the MODSEQ and the UIDNEXT up to which they are.
	since storage.ModSeq
	next  imap.UID
}

// A searchContext is one result that the client is told the changes of.
type searchContext struct {
	tag     string
	uid     bool
	program criterion
	slots   int
	matches view.Ranges
	sorted  *sorting  // or nil
	fetch   *fetchCmd // of new messages, or nil
}

// A sorting is the result of a SORT in its order.
type sorting struct {
	criteria []sortCriterion
	order    []imap.UID
}

// contexts are those of the selected mailbox, or nil.
func (s *session) contexts() *contexts {
	n, _ := s.notes[contextNote].(*contexts)
	if n == nil {
		return nil
	}
	if n.sel != s.sel { // what is left of that one holds its view
		*n = contexts{sel: s.sel}
	}
	return n
}

// An updateWanted is RETURN (UPDATE) of a command.
type updateWanted struct {
	fetch   *fetchCmd
	program criterion
	slots   int
}

// parseUpdateReturn reads what follows UPDATE: what is fetched of new messages
// (RFC 5465 §7). There the grammar has no SP before the list, the example has.
func parseUpdateReturn(d *wire.Decoder, r *request, c *searchCmd) {
	if c.update != nil {
		d.FailErr(bad("UPDATE is given twice"))
		return
	}
	if n := r.s.contexts(); n != nil && n.find(r.tag) >= 0 { // RFC 5267 §4.3
		d.FailErr(bad("the tag is that of another search that is kept up to date"))
		return
	}
	c.update = new(updateWanted)
	if !r.s.has(&extNotify) || !d.TryText(" (") && !d.TryText("(") {
		return
	}
	f := new(fetchCmd)
	c.update.fetch = f
	f.item(d, r, d.Word())
	for n := 1; d.TrySP(); n++ {
		if n == maxFetchItems {
			d.FailErr(bad("more than %d items", maxFetchItems))
		}
		f.item(d, r, d.Word())
	}
	d.Byte(')')
}

// freeze takes the program of the command. Sequence numbers, and "$", mean the
// messages that they mean now (RFC 5267 §4.3).
func (u *updateWanted) freeze(s *session, c *searchCmd) (err error) {
	u.program, u.slots = c.program.clone(), c.slots
	u.program.leaves(func(c *criterion) {
		_, uids := c.set.(imap.UIDSet)
		if c.op != opSet || uids && !imap.IsSearchRes(uidSet(c.set)) || err != nil {
			return
		}
		var now view.Ranges
		if now, err = s.resolve(clamp(c.set, s.sel.view.Messages())); len(now) == 0 {
			*c = criterion{op: opOr} // of nothing: no
			return
		}
		c.set = now.Append(nil)
	})
	return err
}

// begin keeps the result up to date from here on, or says that it won't be.
func (u *updateWanted) begin(s *session, r *request, res *found, sorted *sorting) {
	n, _ := s.notes[contextNote].(*contexts)
	if n == nil {
		n = new(contexts)
		s.keep(contextNote, n, func() {})
	}
	if n.sel != s.sel || len(n.all) == 0 {
		*n = contexts{sel: s.sel, since: s.sel.view.Head(), next: s.sel.view.Next()}
	}
	order := 0
	for _, x := range n.all {
		if x.sorted != nil {
			order += len(x.sorted.order)
		}
	}
	ranges := len(res.matches)
	for _, x := range n.all {
		ranges += len(x.matches)
	}
	fleeting := sorted != nil && slices.ContainsFunc(sorted.criteria, func(k sortCriterion) bool { return k.relevancy })
	if fleeting || len(n.all) >= maxContexts || len(n.all) > 0 && ranges > maxContextRanges || sorted != nil && order+len(sorted.order) > maxContextOrder {
		s.status("", imap.StatusResponseTypeNo, `NOUPDATE "`+r.tag+`"`, "that can't be kept up to date, or too much is already")
		return
	}
	n.all = append(n.all, &searchContext{
		tag: r.tag, uid: r.uid, program: u.program, slots: u.slots, matches: res.matches, sorted: sorted, fetch: u.fetch,
	})
}

func (n *contexts) find(tag string) int {
	return slices.IndexFunc(n.all, func(x *searchContext) bool { return x.tag == tag })
}

// A cancelUpdateCmd is CANCELUPDATE, RFC 5267 §4.3.5.
type cancelUpdateCmd struct{ tags []string }

func parseCancelUpdate(d *wire.Decoder, _ *request) runner {
	c := new(cancelUpdateCmd)
	for d.SP(); d.Err() == nil; d.SP() {
		if d.Peek() != '"' {
			d.Fail("a quoted string")
		}
		c.tags = append(c.tags, d.String())
		if len(c.tags) > maxContexts {
			d.FailErr(badCode(imap.ResponseCodeLimit, "more than %d tags", maxContexts))
		}
		if d.AtEnd() {
			break
		}
	}
	d.End()
	return c
}

func (c *cancelUpdateCmd) run(s *session, _ *request) (reply, error) {
	n := s.contexts()
	for _, tag := range c.tags {
		at := -1
		if n != nil {
			at = n.find(tag)
		}
		if at < 0 {
			return reply{}, no("", "no search with such a tag is kept up to date")
		}
		n.all = slices.Delete(n.all, at, at+1)
	}
	return reply{}, nil
}
