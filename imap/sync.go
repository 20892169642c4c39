package imap

import (
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/storage"
)

// batchSize is how many messages are read at once: storage's limit of a call.
const batchSize = 500

// A batch is the memory of reading messages in batches, kept for the next
// command of any session.
type batch struct {
	uids    []imap.UID
	rows    []storage.Row
	blobs   []storage.BlobID
	changes []storage.Change
}

var batches = sync.Pool{New: func() any {
	return &batch{
		uids:    make([]imap.UID, 0, batchSize),
		rows:    make([]storage.Row, 0, batchSize),
		blobs:   make([]storage.BlobID, 0, batchSize),
		changes: make([]storage.Change, 0, batchSize),
	}
}}

// batch is the scratch memory of the running command, emptied.
func (s *session) batch() *batch {
	if s.scratch == nil {
		s.scratch = batches.Get().(*batch)
	}
	b := s.scratch
	b.uids, b.rows, b.blobs, b.changes = b.uids[:0], b.rows[:0], b.blobs[:0], b.changes[:0]
	return b
}

// dropBatch gives the scratch memory back, at the end of a command.
func (s *session) dropBatch() {
	if s.scratch != nil {
		batches.Put(s.scratch)
		s.scratch = nil
	}
}

// sync tells the client what changed in the selected mailbox since it was told
// last: the only place where EXISTS, RECENT, EXPUNGE and unasked-for FETCH
// come from. With withhold, expunges wait for another command.
func (s *session) sync(withhold, withUID bool) error {
	sel := s.sel
	if sel == nil {
		return nil
	}
	withUID = withUID || s.rev2() || s.wishes.uids // RFC 9051 §7.5.2
	v, b := sel.view, s.batch()
	// The row and the first batch come from one read and bound all the others.
	// While expunges are withheld the log is read again from Expunged on.
	since, withheld, first := v.Expunged(), storage.ModSeq(0), v.Next()
	told := sel.toldFlags()
	if s.wishes.quiet == quietNone {
		since = min(since, told)
	}
	box, changes, more, err := s.sel.account.Changes(sel.box.ID, since, 0, b.changes)
	if err != nil {
		return s.lost(err)
	}
	if err := s.admit(&box); err != nil {
		return err
	}
	if since < box.Floor {
		// Tombstones as old as that are forgotten: look what is left.
		if withhold {
			withheld = since + 1
		} else if err := s.compare(&box); err != nil {
			return s.lost(err)
		}
	}
	s.announceKeywords(&box)
	for {
		if gone := s.report(&box, changes, told, withhold, withUID); withheld == 0 {
			withheld = gone
		}
		if !more || s.w.Err() != nil {
			break
		}
		since = changes[len(changes)-1].ModSeq
		_, changes, more, err = s.sel.account.Changes(sel.box.ID, since, box.HighestModSeq, changes[:0])
		if err != nil {
			return s.lost(err)
		}
	}
	if err := s.arrivals(&box); err != nil {
		return s.lost(err)
	}
	s.advance(box, told, withheld)
	if err := s.synced(); err != nil {
		return s.lost(err)
	}
	if err := s.welcome(first); err != nil {
		return s.lost(err)
	}
	return s.w.Err()
}

// synced lets the extensions tell what else changed in the selected mailbox.
func (s *session) synced() error {
	for _, x := range s.srv.tables.extensions {
		if x.onSync != nil && s.has(x) {
			if err := x.onSync(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell lets the extensions tell what changed besides the selected mailbox.
func (s *session) tell() error {
	if s.account == nil {
		return nil
	}
	for _, x := range s.srv.tables.extensions {
		if x.onTell != nil && s.has(x) {
			if err := x.onTell(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// advance notes that the client knows all up to the row, those flags apart that
// it doesn't want to be told of, and what was withheld.
func (s *session) advance(box storage.Mailbox, told, withheld storage.ModSeq) {
	sel, expunged := s.sel, box.HighestModSeq
	if withheld != 0 {
		expunged = withheld - 1
	}
	sel.view.Advance(box.HighestModSeq, expunged)
	switch {
	case s.wishes.quiet == quietNone:
		sel.held = 0
	case sel.held == 0 && box.HighestModSeq > told:
		sel.held = told
	}
	sel.box, sel.skip = box, sel.skip[:0]
}

// report tells a batch of the log: expunges, and flag changes later than told. It
// returns the MODSEQ of the first expunge that it withheld, or 0.
func (s *session) report(box *storage.Mailbox, changes []storage.Change, told storage.ModSeq, withhold, withUID bool) (withheld storage.ModSeq) {
	v := s.sel.view
	var gone []imap.UID
	for _, c := range changes {
		if !c.Expunged {
			continue
		}
		held := v.UIDs(view.Ranges{{Lo: c.UID, Hi: c.Last}})
		switch {
		case len(held) == 0:
		case !withhold:
			gone = append(gone, held...)
		case withheld == 0:
			withheld = c.ModSeq
		}
	}
	s.reportExpunged(gone)
	if s.wishes.quiet != quietNone {
		return withheld
	}
	for _, c := range changes {
		if c.Expunged || c.ModSeq <= told || slices.Contains(s.sel.skip, c.ModSeq) {
			continue
		}
		if seq := s.sel.view.Seq(c.UID); seq != 0 {
			s.writeFlags(box, seq, c, withUID)
		}
	}
	return withheld
}

// reportExpunged tells of expunges from the highest number down, so that none
// shifts another.
func (s *session) reportExpunged(gone []imap.UID) {
	if len(gone) == 0 {
		return
	}
	v := s.sel.view
	slices.Sort(gone)
	gone = slices.Compact(gone)
	for _, x := range s.srv.tables.extensions {
		if x.onExpunge != nil && s.has(x) {
			x.onExpunge(s, gone)
		}
	}
	if s.vanished {
		s.writeVanished(view.RangesOf(gone), false)
	} else {
		for _, uid := range slices.Backward(gone) {
			s.w.Raw("* ").Number(uint32(v.Seq(uid))).Raw(" EXPUNGE").CRLF()
		}
	}
	v.Remove(gone)
	s.sel.recent = s.sel.recent.Without(gone)
}

// compare finds the expunges by looking which messages of the view are left.
func (s *session) compare(box *storage.Mailbox) error {
	v := s.sel.view
	uids, left := make([]imap.UID, 0, batchSize), make([]imap.UID, 0, batchSize)
	var gone []imap.UID
	cur := v.Cursor(v.All())
	for uids = cur.Next(uids[:0]); len(uids) > 0; uids = cur.Next(uids[:0]) {
		var err error
		left, err = s.sel.account.UIDs(box.Space, uids[0], uids[len(uids)-1], left[:0])
		if err != nil {
			return err
		}
		for _, uid := range uids {
			if _, ok := slices.BinarySearch(left, uid); !ok {
				gone = append(gone, uid)
			}
		}
	}
	s.reportExpunged(gone)
	return nil
}

// writeFlags writes an unasked-for FETCH.
func (s *session) writeFlags(box *storage.Mailbox, seq view.Seq, c storage.Change, withUID bool) {
	s.beginFetch(seq, c.UID)
	if (withUID || s.modSeqs) && !s.uidOnly {
		s.w.Raw("UID ").Number(uint32(c.UID)).SP()
	}
	s.w.Raw("FLAGS ").Append(func(b []byte) []byte {
		return box.AppendFlags(b, c.Flags, s.isRecent(c.UID))
	})
	if s.modSeqs {
		s.w.SP()
		s.writeModSeq(c.ModSeq)
	}
	s.w.Raw(")").CRLF()
}

// beginFetch writes "* 12 FETCH (".
func (s *session) beginFetch(seq view.Seq, uid imap.UID) {
	s.w.Append(func(b []byte) []byte { return s.appendFetch(b, seq, uid) })
}

func (s *session) appendFetch(b []byte, seq view.Seq, uid imap.UID) []byte {
	if s.uidOnly { // RFC 9586 §3.3
		b = strconv.AppendUint(append(b, "* "...), uint64(uid), 10)
		return append(b, " UIDFETCH ("...)
	}
	b = strconv.AppendUint(append(b, "* "...), uint64(seq), 10)
	return append(b, " FETCH ("...)
}

// writeModSeq writes the MODSEQ of a message (RFC 7162 §3.1.4.2).
func (s *session) writeModSeq(m storage.ModSeq) {
	s.sel.gaveModSeqs = true
	s.w.Raw("MODSEQ (").Uint64(uint64(m)).Raw(")")
}

// maxVanished bounds the ranges of one VANISHED: clients have limits of a line.
const maxVanished = 500

// writeVanished tells of expunged messages by their UIDs (RFC 7162 §3.2.10).
func (s *session) writeVanished(gone view.Ranges, earlier bool) {
	for part := range slices.Chunk(gone, maxVanished) {
		s.w.Raw("* VANISHED ")
		if earlier {
			s.w.Raw("(EARLIER) ")
		}
		s.w.NumSet(part.Append(nil)).CRLF()
		s.sel.gaveModSeqs = true
	}
}

// tellHighestModSeq ends a command that gave MODSEQs, for a client that resumes
// from what it was told last: up to n it has been told all. It goes with the
// tagged OK, if that has no other code (RFC 7162 §3.2, §6).
func (s *session) tellHighestModSeq(rep *reply, ok bool) {
	if s.sel == nil || !s.resyncs || !s.sel.gaveModSeqs {
		return
	}
	s.sel.gaveModSeqs = false
	code := codeHighestModSeq + " " + strconv.FormatUint(uint64(s.toldUpTo()), 10)
	if ok && rep.code == "" {
		rep.code = code
		return
	}
	s.status("", imap.StatusResponseTypeOK, code, "all changes up to it are told")
}

// arrivals adds the messages up to box.UIDNext to the view and tells of them.
// Those that came and went since are never mentioned.
func (s *session) arrivals(box *storage.Mailbox) error {
	v, b := s.sel.view, s.batch()
	if box.UIDNext <= v.Next() || s.wishes.quiet == quietAll {
		return nil
	}
	before := v.Messages()
	for lo := v.Next(); lo < box.UIDNext; {
		uids, err := s.sel.account.UIDs(box.Space, lo, box.UIDNext-1, b.uids[:0])
		if err != nil {
			return err
		}
		lo = box.UIDNext
		if len(uids) == cap(b.uids) {
			lo = uids[len(uids)-1] + 1
		}
		v.Add(uids, lo)
	}
	if v.Messages() == before {
		return nil
	}
	s.sel.addRecent(s.recentFrom(box), box.UIDNext)
	s.w.Raw("* ").Number(uint32(v.Messages())).Raw(" EXISTS").CRLF()
	s.writeRecent()
	return nil
}

// lost is what becomes of the session when its mailbox can't be read: if it was
// deleted, RFC 2180 §3.3 has the server disconnect.
func (s *session) lost(err error) error {
	switch {
	case errors.Is(err, storage.ErrNoMailbox):
		return &byeError{"", "the selected mailbox was deleted"}
	case errors.Is(err, storage.ErrClosed):
		return errClosed
	}
	return err
}
