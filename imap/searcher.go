package imap

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/mail"
	"nestbox/storage"
)

// A searcher evaluates one program on the messages of the selected mailbox,
// batch by batch and in stages: what the rows decide first, then what the
// records, the headers and at last the texts do, each read only for the
// messages that are still undecided.
type searcher struct {
	s       *session
	program criterion
	slots   int
	// scope is where the program can match at all: sets that all of it is
	// joined with by AND are taken out of it.
	scope view.Ranges

	have    needs // what is at hand
	rows    []storage.Row
	all     []searched
	pending []*searched
	blobs   []storage.BlobID
	known   []tri
	scratch []byte
	fields  []needleLeaf // strings that are looked for in header fields
	texts   []needleLeaf // and in texts
	maybe   []*searched
	// relevant, if any, is where the score of a match is put for hit.
	relevant *uint8

	total, done int       // messages in scope, looked at
	told        time.Time // when the client heard of the search last
}

// A needleLeaf is a string, in normal form, that some criterion looks for.
type needleLeaf struct {
	slot   int
	scope  mail.Scope
	text   string
	needle textMatcher // of texts
	scored bool
}

var searchers = sync.Pool{New: func() any { return new(searcher) }}

// newSearcher binds a copy of the program to the session: sets become UIDs,
// keywords become bits.
func newSearcher(s *session, program criterion, slots int) (*searcher, error) {
	e := searchers.Get().(*searcher)
	*e = searcher{
		s: s, program: program.clone(), slots: slots, told: time.Now(),
		all: e.all[:0], pending: e.pending[:0], blobs: e.blobs[:0], known: e.known[:0],
		scratch: e.scratch[:0], maybe: e.maybe[:0],
	}
	box, err := s.sel.account.Mailbox(s.sel.box.ID)
	if err != nil {
		return nil, err
	}
	e.program.leaves(func(c *criterion) {
		if err == nil {
			err = e.bind(c, &box)
		}
	})
	if err != nil {
		return nil, err
	}
	e.narrow(&box)
	e.total = s.sel.view.Count(e.scope)
	return e, nil
}

// free gives the memory of the searcher to the next one.
func (e *searcher) free() {
	clear(e.all[:cap(e.all)])
	clear(e.pending[:cap(e.pending)])
	clear(e.maybe[:cap(e.maybe)])
	if cap(e.scratch) > keepScratch {
		e.scratch = nil
	}
	e.s, e.program, e.rows, e.fields, e.texts = nil, criterion{}, nil, nil, nil
	searchers.Put(e)
}

// tellAfter is how long a search goes on without a word to the client.
const tellAfter = 10 * time.Second

// progress stops a search that nobody waits for. A server that only reads its
// disk doesn't notice that a client is gone, and clients lose patience with a
// silent server: now and then an untagged OK serves both.
func (e *searcher) progress() error {
	if err := e.s.progress(); err != nil {
		return err
	}
	if time.Since(e.told) < tellAfter {
		return nil
	}
	e.told = time.Now()
	e.s.tellProgress("searched", e.done, e.total)
	return e.s.w.Flush()
}

// tellProgress tells the client that its command goes on.
func (s *session) tellProgress(what string, done, goal int) {
	code := ""
	for _, x := range s.srv.tables.extensions {
		if x.progress != nil && s.has(x) {
			code = x.progress(s, done, goal)
		}
	}
	s.status("", imap.StatusResponseTypeOK, code, fmt.Sprintf("%s %d of %d messages", what, done, goal))
}

func (e *searcher) bind(c *criterion, box *storage.Mailbox) (err error) {
	switch c.op {
	case opSet:
		c.ranges, err = e.s.resolve(clamp(c.set, e.s.sel.view.Messages()))
		return err
	case opRecent:
		c.op, c.ranges = opSet, e.s.sel.recent
	case opKeyword:
		c.op, c.mask = opFlags, box.Bit(c.keyword)
		if c.want = c.mask; c.mask == 0 {
			c.op = opOr // of nothing: no
		}
	case opText:
		leaf := needleLeaf{slot: c.slot, scope: c.scope, text: c.needle, scored: c.scored}
		if c.look != nil {
			leaf.needle = c.look()
		} else {
			leaf.needle = mail.NewNeedle(c.needle)
		}
		e.texts = append(e.texts, leaf)
	case opTest:
		if c.needle != "" {
			e.fields = append(e.fields, needleLeaf{slot: c.slot, text: c.needle})
		}
	}
	return nil
}

// clamp leaves out what of a set of sequence numbers is beyond the mailbox:
// for SEARCH that is no error, it matches nothing.
func clamp(set imap.NumSet, messages view.Seq) imap.NumSet {
	seqs, ok := set.(imap.SeqSet)
	if !ok {
		return set
	}
	last := uint32(messages)
	var in imap.SeqSet
	for _, r := range seqs {
		lo, hi := r.Start, r.Stop
		if lo == 0 {
			lo = last
		}
		if hi == 0 {
			hi = last
		}
		lo, hi = min(lo, hi), min(max(lo, hi), last)
		if lo > 0 && lo <= hi {
			in = append(in, imap.SeqRange{Start: lo, Stop: hi})
		}
	}
	return in
}

// narrow moves what limits the whole program from it into scope.
func (e *searcher) narrow(box *storage.Mailbox) {
	e.scope = e.s.sel.view.All()
	p := &e.program
	if p.op != opAnd {
		*p = criterion{op: opAnd, needs: p.needs, sub: []criterion{*p}}
	}
	rest := make([]criterion, 0, len(p.sub))
	for _, c := range p.sub {
		switch {
		case c.op == opSet:
			e.scope = e.scope.Intersect(c.ranges)
			continue
		case c.op == opFlags && c.mask == storage.FlagSeen && c.want == 0:
			if box.Unseen == 0 {
				e.scope = nil
			} else {
				e.scope = e.scope.Intersect(view.Ranges{{Lo: max(box.FirstUnseen, 1), Hi: e.s.sel.view.Last()}})
			}
		case c.op == opFlags && c.mask == storage.FlagDeleted && c.want != 0 && box.Deleted == 0:
			e.scope = nil
		}
		rest = append(rest, c)
	}
	p.sub = rest
}

// batch calls hit with those of uids, ascending, that match, in their order,
// until it returns false.
func (e *searcher) batch(uids []imap.UID, hit func(row *storage.Row) bool) error {
	if err := e.progress(); err != nil {
		return err
	}
	e.done += len(uids)
	if len(e.program.sub) == 0 { // the scope says it all
		var row storage.Row
		for _, row.UID = range uids {
			if !hit(&row) {
				break
			}
		}
		return nil
	}
	rows, err := e.s.sel.account.Rows(e.s.sel.box.Space, uids, e.rows[:0])
	if err != nil {
		return err
	}
	e.rows = rows
	if err := e.decide(); err != nil {
		return err
	}
	for i := range e.all {
		if e.all[i].state != yes {
			continue
		}
		if e.relevant != nil {
			*e.relevant = e.all[i].relevancy()
		}
		if !hit(e.all[i].row) {
			break
		}
	}
	return nil
}

// decide decides the rows, stage by stage.
func (e *searcher) decide() error {
	e.begin()
	want := e.program.needs
	if len(e.pending) > 0 && want&needRecord != 0 {
		if err := e.readRecords(); err != nil {
			return err
		}
	}
	if len(e.pending) > 0 && want&needHeader != 0 {
		if err := e.readHeaders(); err != nil {
			return err
		}
	}
	if len(e.pending) > 0 && want&needText != 0 {
		return e.readTexts()
	}
	return nil
}

// begin is the stage of the rows. Messages that are expunged, but not yet for
// the client, are not found (RFC 2180 §4.3).
func (e *searcher) begin() {
	e.have = needRow
	e.all, e.pending = e.all[:0], e.pending[:0]
	if n := len(e.rows) * e.slots; cap(e.known) < n {
		e.known = make([]tri, n)
	} else {
		e.known = e.known[:n]
		clear(e.known)
	}
	if cap(e.all) < len(e.rows) {
		e.all = make([]searched, 0, max(len(e.rows), batchSize))
	}
	for i := range e.rows {
		if e.rows[i].Expunged {
			continue
		}
		e.all = append(e.all, searched{row: &e.rows[i], known: e.known[i*e.slots : (i+1)*e.slots]})
		m := &e.all[len(e.all)-1]
		if m.state = e.program.eval(e, m); m.state == unknown {
			e.pending = append(e.pending, m)
		}
	}
}

// pendingBlobs are the blobs of the messages that are still undecided.
func (e *searcher) pendingBlobs() []storage.BlobID {
	e.blobs = e.blobs[:0]
	for _, m := range e.pending {
		e.blobs = append(e.blobs, m.row.Blob)
	}
	return e.blobs
}

// settle evaluates again and keeps the messages that are still undecided.
func (e *searcher) settle() {
	left := e.pending[:0]
	for _, m := range e.pending {
		if m.state == unknown {
			m.state = e.program.eval(e, m)
		}
		if m.state == unknown {
			left = append(left, m)
		}
	}
	e.pending = left
}

func (e *searcher) readRecords() error {
	e.have = needRow | needRecord
	err := e.s.sel.account.Records(e.pendingBlobs(), func(i int, rec mail.Record) bool {
		m := e.pending[i]
		m.rec = rec
		m.state = e.program.eval(e, m)
		m.rec = nil
		return true
	})
	e.have = needRow
	e.settle()
	return err
}

// readHeaders reads the headers of those messages that may have one of the
// needles.
func (e *searcher) readHeaders() error {
	for _, leaf := range e.fields {
		if err := e.ruleOut(leaf); err != nil {
			return err
		}
	}
	e.settle()
	e.have = needRow | needHeader
	err := e.s.sel.account.Headers(e.pendingBlobs(), func(i int, header []byte) bool {
		m := e.pending[i]
		m.header = header
		m.state = e.program.eval(e, m)
		m.header = nil
		return true
	})
	e.have = needRow
	e.settle()
	return err
}

// ruleOut decides the messages whose signature lacks the string.
func (e *searcher) ruleOut(leaf needleLeaf) error {
	e.maybe, e.blobs = e.maybe[:0], e.blobs[:0]
	for _, m := range e.pending {
		if m.known[leaf.slot] == unknown {
			e.maybe, e.blobs = append(e.maybe, m), append(e.blobs, m.row.Blob)
		}
	}
	if len(e.blobs) == 0 {
		return nil
	}
	maybe, err := e.s.sel.account.Candidates(e.blobs, leaf.text)
	if err != nil {
		return err
	}
	for i, m := range e.maybe {
		if !maybe[i] {
			m.known[leaf.slot] = no3
		}
	}
	return nil
}

// gone reports whether err means that a message can't be read while others
// can. Such a message doesn't match.
func gone(err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt) || errors.Is(err, storage.ErrNoMessage)
}
