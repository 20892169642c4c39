package storage

import (
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// foldRows is how many journaled rows one transaction of the fold moves.
const foldRows = 500

// foldSmall moves the journal's rows into mail.db along with a commit, when
// they are few.
func (w *txn) foldSmall() error {
	o := w.f.overlay
	meta := w.bucket(bucketMeta)
	switch {
	case w.f.journal == nil || o.len() == 0:
		return nil
	case o.len() > foldWithCommit:
		// The mailbox rows may count flags that only the journal has.
		return meta.Put([]byte("journal_end"), journalMark{w.f.journal.end, w.f.journal.crc}.encode())
	}
	for space, s := range o.spaces {
		if err := w.foldSpace(space, s, foldWithCommit); err != nil {
			return err
		}
	}
	w.folded = true
	return errors.Join(meta.Delete([]byte("journal_end")), putUint64(w.tx.Bucket(bucketMeta), "journal", w.f.journal.next))
}

// foldSpace moves up to most rows of a space, in UID order.
func (w *txn) foldSpace(space Space, s *spaceOverlay, most int) error {
	uids := make([]imap.UID, 0, len(s.rows))
	for uid := range s.rows {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	rows := w.bucket(bucketRows)
	for _, uid := range uids[:min(most, len(uids))] {
		w.settled = append(w.settled, rowKey{space, uid})
		w.dirty = true
		key := keyUID(space, uid)
		v := rows.Get(key)
		if v == nil {
			continue // expunged since
		}
		r, err := decodeRow(uid, v)
		if err != nil {
			continue // Check mends it, without these flags: commits must go on
		}
		st := s.rows[uid]
		if st.modseq <= r.ModSeq {
			continue // this transaction changed it
		}
		if err := w.unlog(space, uid, key); err != nil {
			return err
		}
		r.ModSeq, r.Flags = st.modseq, st.flags
		if err := rows.Put(key, encodeRow(&r)); err != nil {
			return err
		}
		if err := w.log(space, st.modseq, uid, []byte{logFlags}); err != nil {
			return err
		}
	}
	return w.foldMailboxes()
}

// foldMailboxes takes the mailbox rows of the journal along, so that a row's
// HighestModSeq in mail.db is never below that of its messages.
func (w *txn) foldMailboxes() error {
	for id := range w.f.overlay.boxes {
		s, err := w.box(id)
		if err == ErrNoMailbox {
			continue
		}
		if err != nil {
			return err
		}
		s.changed = true
	}
	return nil
}

// foldSlice moves one slice of a long journal. The writer's goroutine only.
func (f *files) foldSlice() error {
	w, err := f.update(func(w *txn) error {
		w.dirty = true
		if f.overlay.len() <= foldWithCommit {
			return nil // flush does it
		}
		left := foldRows
		for space, s := range f.overlay.spaces {
			n := len(s.rows)
			if err := w.foldSpace(space, s, left); err != nil {
				return err
			}
			if left -= n; left <= 0 {
				break
			}
		}
		return nil
	})
	if err == nil {
		w.publish()
	}
	return err
}

// fold moves the whole journal into mail.db.
func (a *Account) fold() error {
	a.mu.Lock()
	closed := a.f == nil
	a.mu.Unlock()
	if closed {
		return nil
	}
	for more := true; more; {
		err := a.exec(func(f *files) error {
			if f.overlay.len() == 0 {
				more = false
				return nil
			}
			return f.foldSlice()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replay reads the journal into the overlay when the account is opened.
func (f *files) replay() error {
	f.overlay = newOverlay()
	f.journal.own = f.blobs.begun // the run goes on
	defer f.journal.tell(f.a)
	return f.mail.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		owners, err := mailboxesBySpace(tx)
		if err != nil {
			return err
		}
		return f.journal.load(getUint64(meta, "journal"), decodeJournalMark(meta.Get([]byte("journal_end"))), func(entries []flagEntry) error {
			for _, e := range entries {
				if err := f.replayEntry(tx, owners, e); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (f *files) replayEntry(tx *bolt.Tx, owners map[Space]Mailbox, e flagEntry) error {
	f.modseq = max(f.modseq, e.modseq)
	v := tx.Bucket(bucketRows).Get(keyUID(e.space, e.uid))
	stored, ok := owners[e.space]
	if v == nil {
		return nil // expunged after this change
	}
	r, err := decodeRow(e.uid, v)
	if err != nil {
		return nil // damaged: Check's
	}
	if e.modseq <= r.ModSeq {
		return nil
	}
	// A stored mailbox row with a later MODSEQ has counted this change.
	// One of a deleted mailbox has no counts, and its flags for a restore.
	if ok && e.modseq > stored.HighestModSeq {
		m := f.overlay.mailbox(stored)
		f.overlay.apply(e.space, &r)
		m.recount(&r, e.flags)
		m.HighestModSeq = e.modseq
		f.overlay.boxes[m.ID] = m
	}
	f.overlay.put(e.space, e.uid, e.flagState)
	return nil
}

func mailboxesBySpace(tx *bolt.Tx) (map[Space]Mailbox, error) {
	owners := map[Space]Mailbox{}
	err := tx.Bucket(bucketMailboxes).ForEach(func(k, v []byte) error {
		if m, err := decodeMailbox(k, v); err == nil { // a damaged one is Check's
			owners[m.Space] = m
		}
		return nil
	})
	return owners, err
}
