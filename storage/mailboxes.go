package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// mailboxRequest is a change of the mailboxes themselves. It can be applied
// again as it is.
type mailboxRequest func(w *txn) error

func (r mailboxRequest) bodies() []*Upload { return nil }
func (r mailboxRequest) rows() int         { return 1 }
func (r mailboxRequest) rewind()           {}
func (r mailboxRequest) frees() bool       { return true }

func (r mailboxRequest) apply(w *txn) (bool, error) { return false, r(w) }

// newMailbox makes a row with a new identity, not yet named.
func (w *txn) newMailbox(name string) *Mailbox {
	var id MailboxID
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	s := &boxState{Mailbox: Mailbox{ID: id, Name: name, Space: w.newSpace(), UIDValidity: w.newValidity(), UIDNext: 1, FirstUnseen: 1}}
	w.boxes[id] = s
	w.used.Mailboxes++
	w.change(&s.Mailbox, w.next())
	return &s.Mailbox
}

func (w *txn) newSpace() Space {
	meta := w.bucket(bucketMeta)
	n := getUint32(meta, "space") + 1
	_ = meta.Put([]byte("space"), le32(n)) // fails only in a read transaction
	return Space(n)
}

// newValidity is above every UIDVALIDITY that this account has given out, and
// above those of a copy of it that ran elsewhere (DESIGN §5).
func (w *txn) newValidity() uint32 {
	meta := w.bucket(bucketMeta)
	n := max(getUint32(meta, "validity")+1, uint32(w.f.a.now().Unix()))
	_ = meta.Put([]byte("validity"), le32(n))
	return n
}

func (w *txn) putName(m *Mailbox) error {
	w.dirty = true
	return fatal(w.bucket(bucketNames).Put([]byte(m.Name), m.ID[:]))
}

func (w *txn) byName(name string) (*Mailbox, error) {
	id := w.bucket(bucketNames).Get([]byte(name))
	if id == nil {
		return nil, ErrNoMailbox
	}
	return w.mailbox(MailboxID(id))
}

// below lists the names under name, without it.
func (w *txn) below(name string) (names []string) {
	prefix := []byte(name + "/")
	c := w.bucket(bucketNames).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		names = append(names, string(k))
	}
	return names
}

// CreateMailbox makes a mailbox. Names above it that don't exist stay names
// without a mailbox (\NonExistent). use is its special use (RFC 6154 §3).
func (a *Account) CreateMailbox(name string, use ...imap.MailboxAttr) (m Mailbox, err error) {
	if name, err = MailboxName(name); err != nil {
		return m, err
	}
	if err := a.roomFor(0); err != nil {
		return m, err
	}
	err = a.do(mailboxRequest(func(w *txn) error {
		if _, err := w.byName(name); err != ErrNoMailbox {
			if err == nil {
				err = ErrMailboxExists
			}
			return err
		}
		if err := w.useFree(use); err != nil {
			return err
		}
		if err := w.room(Usage{Mailboxes: 1}); err != nil {
			return err
		}
		created := w.newMailbox(name)
		created.SpecialUse = use
		if err := w.inherit(created); err != nil {
			return fatal(err)
		}
		m = *created
		return w.putName(created)
	}))
	return m, err
}

// useFree refuses a special use that a mailbox already has: clients look for
// one Sent, one Trash (RFC 6154 §2).
func (w *txn) useFree(use []imap.MailboxAttr) error {
	if len(use) == 0 {
		return nil
	}
	return w.bucket(bucketNames).ForEach(func(_, id []byte) error {
		m, err := w.f.mailboxRow(w.tx, MailboxID(id))
		if err != nil {
			return err
		}
		for _, has := range m.SpecialUse {
			for _, want := range use {
				if strings.EqualFold(string(has), string(want)) {
					return ErrUseTaken
				}
			}
		}
		return nil
	})
}

// RenameMailbox renames a mailbox and all below it. INBOX stays where it is,
// empty: its messages go to the new mailbox (RFC 9051 §6.3.6).
func (a *Account) RenameMailbox(from, to string) (err error) {
	if from, err = MailboxName(from); err != nil {
		return ErrNoMailbox
	}
	if to, err = MailboxName(to); err != nil {
		return err
	}
	return a.do(mailboxRequest(func(w *txn) error {
		if from == "INBOX" {
			return w.renameInbox(to)
		}
		return w.renameTree(from, to)
	}))
}

func (w *txn) renameTree(from, to string) error {
	names := w.below(from)
	if _, err := w.byName(from); err == nil {
		names = append(names, from)
	} else if err != ErrNoMailbox || len(names) == 0 {
		return err
	}
	if strings.HasPrefix(to, from+"/") {
		return &NameError{Name: to, Why: "is below the mailbox itself"}
	}
	// All checks first: a refused rename has changed nothing.
	for _, name := range names {
		target := to + strings.TrimPrefix(name, from)
		if len(target) > MaxMailboxName {
			return &NameError{Name: target, Why: "is longer than 1000 octets"}
		}
		if w.bucket(bucketNames).Get([]byte(target)) != nil {
			return ErrMailboxExists
		}
	}
	if len(w.below(to)) > 0 {
		return ErrMailboxExists // would mix two trees
	}
	for _, name := range names {
		m, err := w.byName(name)
		if err != nil {
			return fatal(err)
		}
		if err := w.bucket(bucketNames).Delete([]byte(name)); err != nil {
			return fatal(err)
		}
		m.Name = to + strings.TrimPrefix(name, from)
		w.change(m, w.next())
		if err := w.putName(m); err != nil {
			return err
		}
	}
	return nil
}

// renameInbox gives INBOX's space, and so its messages, to a new mailbox.
// INBOX goes on with an empty space and its UIDNEXT; one tombstone tells its
// sessions that all is gone.
func (w *txn) renameInbox(to string) error {
	if w.bucket(bucketNames).Get([]byte(to)) != nil {
		return ErrMailboxExists
	}
	inbox, err := w.byName("INBOX")
	if err != nil {
		return err
	}
	if err := w.room(Usage{Mailboxes: 1}); err != nil {
		return err
	}
	moved := w.newMailbox(to)
	empty := moved.Space
	id, name, validity := moved.ID, moved.Name, moved.UIDValidity
	*moved = *inbox
	moved.ID, moved.Name, moved.UIDValidity, moved.SpecialUse = id, name, validity, nil
	w.change(moved, w.next())
	if err := w.copyAnnotations(inbox.ID, moved); err != nil {
		return fatal(err)
	}
	*inbox = Mailbox{ID: inbox.ID, Name: inbox.Name, Space: empty, UIDValidity: inbox.UIDValidity, UIDNext: inbox.UIDNext,
		Floor: inbox.HighestModSeq, FirstUnseen: inbox.UIDNext, RecentUID: inbox.UIDNext - 1,
		SpecialUse: inbox.SpecialUse, Keywords: inbox.Keywords, KeptDays: inbox.KeptDays, Hold: inbox.Hold, ACL: inbox.ACL}
	at := w.next()
	w.change(inbox, at)
	if inbox.UIDNext > 1 {
		if err := w.log(empty, at, 1, append([]byte{logGone}, le32(uint32(inbox.UIDNext-1))...)); err != nil {
			return err
		}
	}
	if err := w.inheritPrivate(moved.Space, empty); err != nil {
		return err
	}
	return w.putName(moved)
}

// Subscribe adds name to the subscriptions or takes it out. The name of a
// mailbox that doesn't exist can't be added.
func (a *Account) Subscribe(name string, on bool) (err error) {
	return a.subscribe(name, on, true)
}

// SubscribeShared is Subscribe for the name of another account's mailbox.
func (a *Account) SubscribeShared(name string, on bool) error {
	return a.subscribe(name, on, false)
}

func (a *Account) subscribe(name string, on, own bool) (err error) {
	if name, err = MailboxName(name); err != nil {
		return err
	}
	return a.do(mailboxRequest(func(w *txn) error {
		subs := w.bucket(bucketSubs)
		if !on {
			if subs.Get([]byte(name)) != nil {
				w.dirty, w.subs = true, true
			}
			return fatal(subs.Delete([]byte(name)))
		}
		if own && w.bucket(bucketNames).Get([]byte(name)) == nil {
			return ErrNoMailbox
		}
		if subs.Get([]byte(name)) == nil {
			w.dirty, w.subs = true, true
		}
		return fatal(subs.Put([]byte(name), nil))
	}))
}

// Intents: what a power cut may leave behind and the next open finishes.
// kind u8, then:
//
//	intentCopy     first UID u32   rows from this UID on are not shown yet: remove them
//	intentStage                    rows of a transfer from another account (transfer.go): remove them
//	intentMoved    length u8, AccountID, MailboxID, UIDVALIDITY u32, ranges of UIDs (u32, u32)
//	                               messages that came from there: expunge them there
//	intentDeleted  time u64, MailboxID, fields  the space of a deleted mailbox, and
//	                                           its row (before: its name alone)
const (
	intentCopy byte = iota + 1
	intentDeleted
	intentStage
	intentMoved
)

func (w *txn) putIntent(space Space, kind byte, v []byte) error {
	w.dirty = true
	return fatal(w.bucket(bucketIntents).Put(keyUID(space, 0)[:4], append([]byte{kind}, v...)))
}

func encodeDeleted(m *Mailbox, at interface{ Unix() int64 }) []byte {
	v := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
	return append(append(v, m.ID[:]...), encodeMailbox(m)...)
}

// finishIntents removes the rows of COPYs that a power cut ended. What is
// staged may still be under way, but when the files are being opened.
func (f *files) finishIntents(opening bool) error {
	type unshown struct {
		space Space
		first imap.UID
	}
	var found []unshown
	err := f.mail.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketIntents).ForEach(func(k, v []byte) error {
			switch {
			case len(v) == 5 && v[0] == intentCopy:
				found = append(found, unshown{Space(binary.BigEndian.Uint32(k)), imap.UID(binary.LittleEndian.Uint32(v[1:]))})
			case len(v) == 1 && v[0] == intentStage && opening:
				found = append(found, unshown{Space(binary.BigEndian.Uint32(k)), 1})
			}
			return nil
		})
	})
	for _, u := range found {
		err = errors.Join(err, f.sweepSpace(u.space, u.first))
	}
	return err
}

// sweepSpace removes the rows of space from UID first on, and its intent.
func (f *files) sweepSpace(space Space, first imap.UID) (err error) {
	for more := true; more && err == nil; {
		more, err = f.sweepUnshown(space, first)
	}
	return err
}

// sweepUnshown removes a slice of the rows of space from UID first on.
func (f *files) sweepUnshown(space Space, first imap.UID) (more bool, err error) {
	w, err := f.update(func(w *txn) error {
		w.dirty = true
		c := w.bucket(bucketRows).Cursor()
		var gone [][]byte
		for k, v := c.Seek(keyUID(space, first)); bytes.HasPrefix(k, keyUID(space, 0)[:4]); k, v = c.Next() {
			if len(gone) == sliceRows {
				more = true
				break
			}
			// A damaged one goes without its reference, which Check recounts.
			if r, err := decodeRow(imap.UID(binary.BigEndian.Uint32(k[4:])), v); err == nil {
				if err := w.f.blobs.link(w.tx, r.Blob, -1); err != nil {
					return err
				}
			}
			gone = append(gone, bytes.Clone(k))
		}
		for _, k := range gone {
			if err := w.bucket(bucketRows).Delete(k); err != nil {
				return err
			}
		}
		if !more {
			return w.bucket(bucketIntents).Delete(keyUID(space, 0)[:4])
		}
		return nil
	})
	if err == nil {
		w.publish() // the journal may have gone along
	}
	return more, err
}
