package storage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// ReadRows is how many rows one call of Rows gives at most: a longer read
// transaction would hold up the writer (STORAGE.md §4).
const ReadRows = 500

// read runs fn with a transaction and the journal's state that belongs to
// it. fn must not call back into the account.
func (a *Account) read(fn func(f *files, tx *bolt.Tx) error) error {
	f, err := a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	err = mapError(survive(func() error {
		f.overlay.mu.RLock()
		defer f.overlay.mu.RUnlock()
		return f.mail.View(func(tx *bolt.Tx) error { return fn(f, tx) })
	}))
	a.st.suspect(err)
	return err
}

// mailboxRow and rowsFrom are the only readers of the buckets mailboxes and
// rows (build/ holds it): what mail.db says, and what the journal has on top.
func (f *files) mailboxRow(tx *bolt.Tx, id MailboxID) (Mailbox, error) {
	v := tx.Bucket(bucketMailboxes).Get(id[:])
	if v == nil {
		return Mailbox{}, ErrNoMailbox
	}
	m, err := decodeMailbox(id[:], v)
	if err != nil {
		return m, err
	}
	return f.overlay.mailbox(m), nil
}

// rowsFrom calls fn with the rows of the given UIDs, ascending.
func (f *files) rowsFrom(tx *bolt.Tx, space Space, uids []imap.UID, fn func(Row)) error {
	c := tx.Bucket(bucketRows).Cursor()
	var k, v []byte
	var want [8]byte
	binary.BigEndian.PutUint32(want[:], uint32(space))
	for _, uid := range uids {
		binary.BigEndian.PutUint32(want[4:], uint32(uid))
		if k != nil {
			k, v = c.Next() // neighbours are the common case
		}
		if k == nil || !bytes.Equal(k, want[:]) {
			k, v = c.Seek(want[:])
		}
		if !bytes.Equal(k, want[:]) {
			if r, ok := keptRow(tx, want[:], uid); ok {
				fn(r)
			}
			k = nil // the cursor stands on a later row: seek again
			continue
		}
		r, err := decodeRow(uid, v)
		if err != nil { // the others must be served; Check names it
			f.a.st.log.Error("row_damaged", "account", string(f.a.id), "space", uint32(space), "error", err)
			continue
		}
		f.overlay.apply(space, &r)
		f.a.rowsRead.Add(1)
		fn(r)
	}
	return nil
}

func keptRow(tx *bolt.Tx, key []byte, uid imap.UID) (Row, bool) {
	v := tx.Bucket(bucketKept).Get(key)
	if v == nil {
		return Row{}, false
	}
	r, err := decodeRow(uid, v)
	r.Expunged = true
	return r, err == nil
}

// Rows appends the rows of uids, which are ascending and at most ReadRows.
// Messages that never were, or are forgotten, are left out; expunged ones
// that are still kept are marked.
func (a *Account) Rows(space Space, uids []imap.UID, dst []Row) ([]Row, error) {
	err := a.read(func(f *files, tx *bolt.Tx) error {
		return f.rowsFrom(tx, space, uids, func(r Row) { dst = append(dst, r) })
	})
	return dst, err
}

// RowsRead is how many message rows were read since the account was opened: what
// a command costs, for tests and metrics.
func (a *Account) RowsRead() uint64 { return a.rowsRead.Load() }

// Mailbox is the mailbox's row, or ErrNoMailbox when it is deleted.
func (a *Account) Mailbox(id MailboxID) (m Mailbox, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		m, err = f.mailboxRow(tx, id)
		return err
	})
	return m, err
}

// MailboxByName finds a mailbox. INBOX is found in any case.
func (a *Account) MailboxByName(name string) (m Mailbox, err error) {
	if name, err = MailboxName(name); err != nil {
		return m, ErrNoMailbox // nothing can have such a name
	}
	err = a.read(func(f *files, tx *bolt.Tx) error {
		id := tx.Bucket(bucketNames).Get([]byte(name))
		if id == nil {
			return ErrNoMailbox
		}
		m, err = f.mailboxRow(tx, MailboxID(id))
		return err
	})
	return m, err
}

// Mailboxes lists all mailboxes in the order of their names' bytes.
func (a *Account) Mailboxes() (all []Mailbox, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		return tx.Bucket(bucketNames).ForEach(func(_, id []byte) error {
			m, err := f.mailboxRow(tx, MailboxID(id))
			if errors.Is(err, ErrCorrupt) || err == ErrNoMailbox { // the others must be served; Check names it
				f.a.st.log.Error("mailbox_damaged", "account", string(f.a.id), "error", err)
				return nil
			}
			all = append(all, m)
			return err
		})
	})
	return all, err
}

// Subscriptions lists the subscribed names, whether a mailbox of that name
// exists or not (RFC 9051 §6.3.7).
func (a *Account) Subscriptions() (names []string, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		return tx.Bucket(bucketSubs).ForEach(func(name, _ []byte) error {
			names = append(names, string(name))
			return nil
		})
	})
	return names, err
}

// Snapshot is a mailbox's row and the UIDs that belong to it.
func (a *Account) Snapshot(id MailboxID) (m Mailbox, blocks Blocks, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		if m, err = f.mailboxRow(tx, id); err != nil {
			return err
		}
		blocks, err = readBlocks(tx, m.Space, 0, ^uint32(0))
		return err
	})
	return m, blocks, err
}

func readBlocks(tx *bolt.Tx, space Space, lo, hi uint32) (blocks Blocks, err error) {
	c := tx.Bucket(bucketBlocks).Cursor()
	prefix := keyUID(space, 0)[:4]
	for k, v := c.Seek(keyUID(space, imap.UID(lo))); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		index := binary.BigEndian.Uint32(k[4:])
		if index > hi {
			break
		}
		b, ok := decodeBlock(index, v)
		if !ok {
			return nil, fmt.Errorf("%w: UID block %d of space %d", ErrCorrupt, index, space)
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// UIDs appends the existing UIDs from lo to hi, as long as dst has room.
func (a *Account) UIDs(space Space, lo, hi imap.UID, dst []imap.UID) ([]imap.UID, error) {
	err := a.read(func(f *files, tx *bolt.Tx) error {
		blocks, err := readBlocks(tx, space, BlockIndex(lo), BlockIndex(hi))
		for i := range blocks {
			dst = blocks[i].Append(dst, lo, hi)
		}
		return err
	})
	return dst, err
}

// Changes reads the flag changes and expunges with since < MODSEQ <= upTo, or
// up to the mailbox's HighestModSeq when upTo is 0. They are appended to dst
// in MODSEQ order until it has no more room, but the changes of one MODSEQ
// stay together; more tells that there are others, after the last one's
// MODSEQ. New messages are not among them: these are the UIDs from the last
// UIDNEXT on.
func (a *Account) Changes(id MailboxID, since, upTo ModSeq, dst []Change) (m Mailbox, _ []Change, more bool, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		if m, err = f.mailboxRow(tx, id); err != nil {
			return err
		}
		if upTo == 0 {
			upTo = m.HighestModSeq
		}
		if since >= upTo {
			return nil
		}
		first := len(dst)
		for more = true; more && len(dst) == first && err == nil; {
			dst, more, since, err = f.changes(tx, m.Space, since, upTo, dst)
		}
		return err
	})
	return m, dst, more, err
}

// changes reads one piece of the log, up to the MODSEQ last.
func (f *files) changes(tx *bolt.Tx, space Space, since, upTo ModSeq, dst []Change) (_ []Change, more bool, last ModSeq, err error) {
	first := len(dst)
	dst, more, err = readLog(tx, space, since, upTo, dst)
	if err != nil {
		return dst, false, 0, err
	}
	last = upTo
	if more {
		last = dst[len(dst)-1].ModSeq
	}
	dst = f.overlay.changes(space, since, last, dst)
	log := dst[first:]
	slices.SortStableFunc(log, func(x, y Change) int { return cmp.Compare(x.ModSeq, y.ModSeq) })
	log, err = f.fillFlags(tx, space, log)
	return dst[:first+len(log)], more, last, err
}

// readLog appends the log's entries; of flag changes without the flags.
func readLog(tx *bolt.Tx, space Space, since, upTo ModSeq, dst []Change) (_ []Change, more bool, err error) {
	c := tx.Bucket(bucketLog).Cursor()
	prefix := keyUID(space, 0)[:4]
	room := max(cap(dst)-len(dst), 1)
	first := len(dst)
	for k, v := c.Seek(keyLog(space, since+1, 0)); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		at := ModSeq(binary.BigEndian.Uint64(k[4:]))
		if at > upTo {
			break
		}
		uid := imap.UID(binary.BigEndian.Uint32(k[12:]))
		last := uid
		if len(v) == 5 {
			last = imap.UID(binary.LittleEndian.Uint32(v[1:]))
		}
		if len(v) == 0 {
			return dst, false, fmt.Errorf("%w: log of space %d", ErrCorrupt, space)
		}
		if v[0] == logAdd {
			continue
		}
		if len(dst)-first >= room && dst[len(dst)-1].ModSeq != at {
			return dst, true, nil
		}
		dst = append(dst, Change{UID: uid, Last: last, ModSeq: at, Expunged: v[0] != logFlags})
	}
	return dst, false, nil
}

// fillFlags looks up the flags of the changed messages, and drops entries
// that a later one replaces.
func (f *files) fillFlags(tx *bolt.Tx, space Space, log []Change) ([]Change, error) {
	rows := tx.Bucket(bucketRows)
	out := log[:0]
	for _, c := range log {
		if !c.Expunged {
			v := rows.Get(keyUID(space, c.UID))
			if v == nil {
				continue // expunged since; the tombstone follows
			}
			r, err := decodeRow(c.UID, v)
			if err != nil {
				continue
			}
			f.overlay.apply(space, &r)
			f.a.rowsRead.Add(1)
			if r.ModSeq != c.ModSeq {
				continue
			}
			c.Flags = r.Flags
		}
		out = append(out, c)
	}
	return out, nil
}
