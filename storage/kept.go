package storage

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// Expunge is not loss: the row of an expunged message goes to the bucket
// "kept", with its reference to the blob, for sessions that were not told yet
// (RFC 2180 §4.1.1) and to be restored. After a time it goes for good
// (kept_expire.go). The rows of a deleted mailbox follow in slices; until then
// they lie in "rows" under the intent that says when it was deleted.

// A keptReason is why a row was kept.
type keptReason byte

const (
	keptExpunged keptReason = iota
	// keptMoved: the message lives on in another mailbox. Its row stays for
	// sessions, and under a hold.
	keptMoved
)

// keptMovedTime is how long the rows of moved messages stay: longer than any
// session can do without news.
const keptMovedTime = oneDay

// A KeptCount counts expunged messages.
type KeptCount struct {
	Messages int64 `json:"messages"`
	Octets   int64 `json:"octets"`
}

func (c KeptCount) plus(more KeptCount) KeptCount {
	return KeptCount{c.Messages + more.Messages, c.Octets + more.Octets}
}

var keptCountKey = []byte("kept")

func (c KeptCount) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(c.Messages))
	return binary.LittleEndian.AppendUint64(b, uint64(c.Octets))
}

// readKeptCount is the stored count; ok is false in a file of an early nestbox.
func readKeptCount(tx *bolt.Tx) (c KeptCount, ok bool) {
	v := tx.Bucket(bucketMeta).Get(keptCountKey)
	if len(v) < 16 {
		return c, false
	}
	return KeptCount{int64(binary.LittleEndian.Uint64(v)), int64(binary.LittleEndian.Uint64(v[8:]))}, true
}

// KeptCount counts the expunged messages that can be restored.
func (a *Account) KeptCount() (c KeptCount, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		c, _ = readKeptCount(tx)
		return nil
	})
	return c, err
}

// flushKept is a step of each commit.
func (w *txn) flushKept() error {
	if w.kept == (KeptCount{}) {
		return nil
	}
	c, _ := readKeptCount(w.tx)
	return w.bucket(bucketMeta).Put(keptCountKey, c.plus(w.kept).encode())
}

// keep puts an expunged row among the kept ones.
func (w *txn) keep(space Space, r *Row, when int64, why keptReason) error {
	if why == keptExpunged {
		w.kept = w.kept.plus(KeptCount{1, r.Size})
	}
	return fatal(w.bucket(bucketKept).Put(keyUID(space, r.UID), encodeKept(r, when, why)))
}

// unkeep takes a row from among them.
func (w *txn) unkeep(k *keptRowOf) error {
	w.dirty = true
	if k.why == keptExpunged {
		w.kept = w.kept.plus(KeptCount{-1, -k.row.Size})
	}
	return fatal(w.bucket(bucketKept).Delete(keyUID(k.space, k.row.UID)))
}

// keptRowOf is an entry of the bucket "kept".
type keptRowOf struct {
	space Space
	row   Row
	when  int64 // seconds since 1970
	why   keptReason
}

func decodeKept(k, v []byte) (e keptRowOf, err error) {
	if len(k) != 8 || len(v) < keptBytes {
		return e, ErrCorrupt
	}
	e.space = Space(binary.BigEndian.Uint32(k))
	if e.row, err = decodeRow(imap.UID(binary.BigEndian.Uint32(k[4:])), v); err != nil {
		return e, err
	}
	e.when = uint40(v[rowBytes:])
	if len(v) > keptBytes {
		e.why = keptReason(v[keptBytes])
	}
	return e, err
}

// keptAt is the entry of a key; ok is false when it is gone or damaged.
func (w *txn) keptAt(key []byte) (e keptRowOf, ok bool) {
	v := w.bucket(bucketKept).Get(key)
	if v == nil {
		return e, false
	}
	e, err := decodeKept(key, v)
	return e, err == nil
}

// A keptOwner is the mailbox that the rows of a space belong to, or belonged to.
type keptOwner struct {
	Mailbox
	deleted bool
	when    int64 // of the deletion
}

// keptOwners finds the owner of each space.
func (f *files) keptOwners(tx *bolt.Tx) (map[Space]*keptOwner, error) {
	owners := map[Space]*keptOwner{}
	err := tx.Bucket(bucketNames).ForEach(func(_, id []byte) error {
		m, err := f.mailboxRow(tx, MailboxID(id))
		if err == nil {
			owners[m.Space] = &keptOwner{Mailbox: m}
		}
		return ignoreCorrupt(err)
	})
	if err != nil {
		return nil, err
	}
	return owners, tx.Bucket(bucketIntents).ForEach(func(k, v []byte) error {
		if o, ok := decodeDeleted(k, v); ok {
			owners[o.Space] = o
		}
		return nil
	})
}

// decodeDeleted reads the intent of a deleted mailbox.
func decodeDeleted(k, v []byte) (*keptOwner, bool) {
	if len(k) != 4 || len(v) < 1+8+16 || v[0] != intentDeleted {
		return nil, false
	}
	o := &keptOwner{deleted: true, when: int64(binary.LittleEndian.Uint64(v[1:]))}
	id, rest := v[9:25], v[25:]
	if len(rest) > 0 && rest[0] == tagName {
		o.Mailbox, _ = decodeMailbox(id, rest) // what is left of it names the mailbox
	} else {
		copy(o.ID[:], id)
		o.Name = string(rest)
	}
	o.Space = Space(binary.BigEndian.Uint32(k))
	return o, true
}

// keptUntil is the time of an expunge up to which rows of a mailbox go for
// good; ok is false when none may.
func (p *policy) keptUntil(o *keptOwner, now time.Time, why keptReason) (until int64, ok bool) {
	if p.err != nil || p.hold || o != nil && o.Hold {
		return 0, false
	}
	kept := p.kept
	if o != nil && o.KeptDays > 0 {
		kept = time.Duration(min(o.KeptDays-1, maxKeptDays)) * oneDay
	}
	if why == keptMoved {
		kept = min(kept, keptMovedTime)
	}
	return now.Add(-kept).Unix(), true
}

// settleRequest moves rows of deleted mailboxes to the kept ones, a slice at a
// time, and what else their spaces hold out.
type settleRequest struct{ more bool }

func (r *settleRequest) bodies() []*Upload { return nil }
func (r *settleRequest) rows() int         { return batchRows } // a transaction of its own
func (r *settleRequest) rewind()           {}
func (r *settleRequest) frees() bool       { return true }

func (r *settleRequest) apply(w *txn) (bool, error) {
	r.more = false
	var owners []*keptOwner
	err := w.bucket(bucketIntents).ForEach(func(k, v []byte) error {
		if o, ok := decodeDeleted(k, v); ok {
			owners = append(owners, o)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	left := sliceRows
	for _, o := range owners {
		for _, step := range []func(*keptOwner, *int) error{w.settleRows, w.settleRest, w.forgetSpace} {
			if err := step(o, &left); err != nil {
				return false, fatal(err)
			}
			if left <= 0 {
				r.more = true
				return false, nil
			}
		}
	}
	return false, nil
}

// settleRows moves rows of a deleted mailbox to the kept ones.
func (w *txn) settleRows(o *keptOwner, left *int) error {
	prefix := keyUID(o.Space, 0)[:4]
	rows := w.bucket(bucketRows)
	var gone []imap.UID
	c := rows.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && *left > 0; k, _ = c.Next() {
		gone = append(gone, imap.UID(binary.BigEndian.Uint32(k[4:])))
		*left--
	}
	for _, uid := range gone {
		r, ok := w.row(o.Space, uid)
		if !ok {
			continue // damaged: Check names it
		}
		w.dirty = true
		w.settled = append(w.settled, rowKey{o.Space, uid})
		if err := w.bucket(bucketKept).Put(keyUID(o.Space, uid), encodeKept(&r, o.when, keptExpunged)); err != nil {
			return err
		}
		if err := rows.Delete(keyUID(o.Space, uid)); err != nil {
			return err
		}
	}
	return nil
}

// settleRest removes the change log and the UID blocks of a deleted mailbox.
func (w *txn) settleRest(o *keptOwner, left *int) error {
	prefix := keyUID(o.Space, 0)[:4]
	for _, name := range [][]byte{bucketLog, bucketBlocks} {
		b := w.bucket(name)
		var gone [][]byte
		c := b.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && *left > 0; k, _ = c.Next() {
			gone = append(gone, bytes.Clone(k))
			*left--
		}
		for _, k := range gone {
			w.dirty = true
			if err := b.Delete(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetSpace forgets a deleted mailbox of which nothing is left.
func (w *txn) forgetSpace(o *keptOwner, _ *int) error {
	prefix := keyUID(o.Space, 0)[:4]
	for _, name := range [][]byte{bucketRows, bucketLog, bucketBlocks, bucketKept} {
		if k, _ := w.bucket(name).Cursor().Seek(prefix); bytes.HasPrefix(k, prefix) {
			return nil
		}
	}
	if more, err := w.forgetPrivate(o.Space); more || err != nil {
		return err // the rest next time
	}
	w.dirty = true
	return w.bucket(bucketIntents).Delete(prefix)
}

// settleDeleted moves the rows of all deleted mailboxes.
func (a *Account) settleDeleted() error {
	for more := true; more; {
		r := new(settleRequest)
		if err := a.do(r); err != nil {
			return err
		}
		more = r.more
	}
	return nil
}

// startCounts is a step of opening the account.
func (f *files) startCounts() {
	if err := f.countKept(); err != nil {
		f.a.st.log.Warn("kept_not_counted", "account", string(f.a.id), "error", err) // the next open tries again
	}
	f.showUsed()
	f.watchQuota(f.a.policy().limits, false)
}

// countKept counts the kept messages of a file that has no count.
func (f *files) countKept() error {
	counted := false
	err := f.mail.View(func(tx *bolt.Tx) error {
		_, counted = readKeptCount(tx)
		return nil
	})
	if counted || err != nil {
		return err
	}
	return f.mail.Update(func(tx *bolt.Tx) error {
		c, err := f.recountKept(tx)
		if err != nil || c == (KeptCount{}) {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keptCountKey, c.encode())
	})
}

// recountKept counts what the count in meta should be.
func (f *files) recountKept(tx *bolt.Tx) (c KeptCount, err error) {
	err = paced(tx.Bucket(bucketKept), func(k, v []byte) error {
		if e, err := decodeKept(k, v); err == nil && e.why == keptExpunged {
			c = c.plus(KeptCount{1, e.row.Size})
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	owners, err := f.keptOwners(tx)
	for space, o := range owners {
		if o.deleted {
			f.sumRows(tx, space, func(r *Row) { c = c.plus(KeptCount{1, r.Size}) })
		}
	}
	return c, err
}

func (f *files) sumRows(tx *bolt.Tx, space Space, fn func(*Row)) {
	prefix := keyUID(space, 0)[:4]
	c := tx.Bucket(bucketRows).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if r, err := decodeRow(imap.UID(binary.BigEndian.Uint32(k[4:])), v); err == nil {
			fn(&r)
		}
	}
}
