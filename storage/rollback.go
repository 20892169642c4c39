package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// lookForRollback compares the state that was just opened with the note in
// system.db, and with its journal: lost says that this is not the one that
// mail.db knows. One below the note was put back from an older copy: no number
// that may have been given out since is given out again, and every mailbox
// gets a new UIDVALIDITY.
func (f *files) lookForRollback(lost error) error {
	note, err := f.a.st.note(f.a.id)
	if err != nil {
		// Without system.db nobody could have logged in. What is damaged in
		// it is Check's to say.
		f.a.st.log.Warn("note_unreadable", "account", string(f.a.id), "error", err)
	}
	f.noted = note
	f.blobs.next = max(f.blobs.next, note.Blob)
	counter := f.blobs.counter.Load()
	if lost == nil && f.modseq >= note.ModSeq && counter >= note.Counter {
		return nil
	}
	why := []any{"account", string(f.a.id), "modseq", uint64(f.modseq), "commits", counter,
		"noted_modseq", uint64(note.ModSeq), "noted_commits", note.Counter, "noted", note.Noted}
	if lost != nil {
		why = append(why, "error", lost)
	}
	f.a.st.log.Error("account_rolled_back", why...)
	if lost != nil {
		if err := f.recountAll(); err != nil {
			return err
		}
	}
	f.blobs.volumes.lookAtAll() // no id is given out that is in one of them
	past := highWater{Validity: note.Validity, ModSeq: note.ModSeq, Counter: note.Counter, Space: note.Space, Thread: note.Thread}
	if err := f.beginRenewal(past); err != nil {
		return err
	}
	if lost != nil {
		f.journal.own = false
		if err := f.ownJournal(); err != nil {
			return err
		}
	}
	if err := f.finishRenewal(); err != nil {
		return err
	}
	f.noted.RolledBack = f.a.now()
	return f.takeNote()
}

// recountAll counts the flags in all mailboxes again: their rows count flag
// changes that are lost with the journal. It is for the opening of an account,
// with an empty overlay.
func (f *files) recountAll() error {
	var boxes map[Space]Mailbox
	err := f.mail.View(func(tx *bolt.Tx) (err error) {
		boxes, err = mailboxesBySpace(tx)
		return err
	})
	if err != nil {
		return err
	}
	for _, m := range boxes {
		again, err := f.recountRows(m.Space)
		if err != nil {
			return err
		}
		w, err := f.update(func(w *txn) error {
			m, err := w.mailbox(m.ID)
			if err != nil {
				return err
			}
			m.Unseen, m.Deleted, m.DeletedOctets, m.FirstUnseen = again.Unseen, again.Deleted, again.DeletedOctets, again.FirstUnseen
			if m.Unseen == 0 {
				m.FirstUnseen = m.UIDNext
			}
			w.change(m, w.next())
			return nil
		})
		if err != nil {
			return err
		}
		w.publish()
	}
	return nil
}

// recountRows counts the messages of a space, ReadRows in a transaction.
func (f *files) recountRows(space Space) (again Mailbox, err error) {
	next := keyUID(space, 0)
	for next != nil {
		err := f.mail.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketRows).Cursor()
			k, v := c.Seek(next)
			for n := 0; n < ReadRows && bytes.HasPrefix(k, next[:4]); n++ {
				if r, err := decodeRow(imap.UID(binary.BigEndian.Uint32(k[4:])), v); err == nil {
					again.count(&r)
				}
				k, v = c.Next()
			}
			if next = nil; bytes.HasPrefix(k, keyUID(space, 0)[:4]) {
				next = bytes.Clone(k)
			}
			return nil
		})
		if err != nil {
			return again, err
		}
	}
	return again, nil
}

// Restored is for an account whose files were put back by hand when nothing
// shows it: all of them come from the same earlier time. Every mailbox gets a
// new UIDVALIDITY, as after a rollback that was found.
func (st *Store) Restored(id AccountID) error {
	a, err := st.Account(id)
	if err != nil {
		return err
	}
	note, err := st.note(id)
	if err != nil {
		return err
	}
	if err := a.exec(func(f *files) error { f.blobs.volumes.lookAtAll(); return nil }); err != nil {
		return err
	}
	past := highWater{Validity: note.Validity, ModSeq: note.ModSeq, Counter: note.Counter, Space: note.Space, Thread: note.Thread}
	if err := a.renewValidity(past); err != nil {
		return err
	}
	if err := a.recoverOrphans(context.Background()); err != nil {
		return err
	}
	st.log.Info("account_renewed", "account", string(id))
	return errors.Join(a.exec(func(f *files) error { return f.takeNote() }), st.writeNotes())
}
