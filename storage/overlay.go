package storage

import (
	"sync"

	"github.com/emersion/go-imap/v2"
)

// The overlay is what the journal holds and mail.db doesn't: flags of some
// messages, and the rows of their mailboxes. Readers hold its lock while
// their transaction is open, so that both belong together; the writer changes
// it after its commit or journal record is on disk.
//
// An entry with a lower MODSEQ than mail.db's row says nothing: a reader whose
// transaction already sees a commit that took the entry in is right either way.
type overlay struct {
	mu     sync.RWMutex
	spaces map[Space]*spaceOverlay
	boxes  map[MailboxID]Mailbox
	rows   int
}

type spaceOverlay struct {
	rows map[imap.UID]flagState
	// log is in MODSEQ order; an entry whose row has a later MODSEQ is over.
	log []Change
}

type flagState struct {
	modseq ModSeq
	flags  Flags
}

func newOverlay() *overlay {
	return &overlay{spaces: map[Space]*spaceOverlay{}, boxes: map[MailboxID]Mailbox{}}
}

// len counts the messages with flags in the journal. Only for the writer.
func (o *overlay) len() int { return o.rows }

// apply brings a row of mail.db up to date.
func (o *overlay) apply(space Space, r *Row) {
	if s := o.spaces[space]; s != nil {
		if st, ok := s.rows[r.UID]; ok && st.modseq > r.ModSeq {
			r.ModSeq, r.Flags = st.modseq, st.flags
		}
	}
}

// mailbox brings a mailbox row of mail.db up to date.
func (o *overlay) mailbox(m Mailbox) Mailbox {
	if later, ok := o.boxes[m.ID]; ok && later.HighestModSeq > m.HighestModSeq {
		return later
	}
	return m
}

// changes appends the flag changes with since < MODSEQ <= upTo.
func (o *overlay) changes(space Space, since, upTo ModSeq, dst []Change) []Change {
	s := o.spaces[space]
	if s == nil {
		return dst
	}
	// Most readers ask for the last few.
	i := len(s.log)
	for i > 0 && s.log[i-1].ModSeq > since {
		i--
	}
	for _, c := range s.log[i:] {
		if c.ModSeq > upTo {
			break
		}
		if s.rows[c.UID].modseq == c.ModSeq {
			dst = append(dst, c)
		}
	}
	return dst
}

// put takes in a journaled flag change.
func (o *overlay) put(space Space, uid imap.UID, st flagState) {
	s := o.spaces[space]
	if s == nil {
		s = &spaceOverlay{rows: map[imap.UID]flagState{}}
		o.spaces[space] = s
	}
	if _, ok := s.rows[uid]; !ok {
		o.rows++
	}
	s.rows[uid] = st
	s.log = append(s.log, Change{UID: uid, Last: uid, ModSeq: st.modseq})
}

// settle forgets what the committed transaction w took into mail.db.
func (o *overlay) settle(w *txn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, s := range w.boxes {
		if s.changed || s.deleted {
			delete(o.boxes, id)
		}
	}
	if w.folded {
		o.spaces, o.rows = map[Space]*spaceOverlay{}, 0
		clear(o.boxes)
		return
	}
	for _, k := range w.settled {
		s := o.spaces[k.space]
		if s == nil {
			continue
		}
		if _, ok := s.rows[k.uid]; ok {
			delete(s.rows, k.uid)
			o.rows--
		}
		if len(s.rows) == 0 {
			delete(o.spaces, k.space)
		}
	}
}
