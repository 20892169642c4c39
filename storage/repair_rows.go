package storage

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// lastUID is the highest UID of a space in a bucket of rows, 0 if there is none.
func lastUID(b *bolt.Bucket, space Space) imap.UID {
	cur := b.Cursor()
	k, _ := cur.Seek(keyUID(space, ^imap.UID(0)))
	if k == nil {
		k, _ = cur.Last()
	} else if !bytes.HasPrefix(k, keyUID(space, 0)[:4]) {
		k, _ = cur.Prev()
	}
	if len(k) != 8 || !bytes.HasPrefix(k, keyUID(space, 0)[:4]) {
		return 0
	}
	return imapUID(k)
}

// mendMessages mends the rows of the mailboxes in which something was found,
// and then what is kept of them.
func (c *check) mendMessages() error {
	for _, id := range c.boxes {
		var m Mailbox
		err := c.view(func() (err error) {
			m, err = c.f.mailboxRow(c.tx, id)
			return err
		})
		if err == ErrNoMailbox || errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			return err
		}
		c.did("%s: counts, UID blocks and change log are made anew", m.Name)
		for _, mend := range []func(*Mailbox) error{c.mendRows, c.mendLog, c.mendBlocks, c.mendCount} {
			if err := mend(&m); err != nil {
				return err
			}
		}
	}
	return nil
}

// slices runs fn on a mailbox in transactions until it says that there is no
// more; next is where it goes on.
func (c *check) slices(id MailboxID, fn func(w *txn, m *Mailbox, next []byte) ([]byte, error)) error {
	for next := []byte{}; next != nil; {
		err := c.write(func(w *txn) error {
			m, err := w.mailbox(id)
			if err == ErrNoMailbox { // deleted meanwhile
				next = nil
				return nil
			}
			if err == nil {
				next, err = fn(w, m, next)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mendRows mends message rows, so that each is one that can be. One that can't
// be is taken out; if nothing else has its blob, that goes to Recovered.
func (c *check) mendRows(box *Mailbox) error {
	return c.slices(box.ID, func(w *txn, m *Mailbox, next []byte) ([]byte, error) {
		rows := w.bucket(bucketRows)
		prefix := keyUID(m.Space, 0)[:4]
		hidden := hiddenFrom(w.tx, m.Space)
		var changes []change
		cur := rows.Cursor()
		n := 0
		var k, v []byte
		for k, v = cur.Seek(max2(next, keyUID(m.Space, 0))); bytes.HasPrefix(k, prefix) && len(k) == 8 && imapUID(k) < hidden && n < repairSlice; k, v = cur.Next() {
			n++
			if value := c.mendRow(w, m, imapUID(k), v); value != nil {
				changes = append(changes, change{bytes.Clone(k), value})
			}
		}
		var on []byte
		if n == repairSlice && bytes.HasPrefix(k, prefix) {
			on = bytes.Clone(k)
		}
		for _, ch := range changes {
			w.dirty = true
			if len(ch.value) > 0 {
				if err := rows.Put(ch.key, ch.value); err != nil {
					return nil, err
				}
				continue
			}
			at := w.next()
			w.change(m, at)
			if err := errors.Join(rows.Delete(ch.key), w.log(m.Space, at, imapUID(ch.key), []byte{logExpunge})); err != nil {
				return nil, err
			}
		}
		return on, nil
	})
}

// max2 is the later of two keys.
func max2(a, b []byte) []byte {
	if bytes.Compare(a, b) > 0 {
		return a
	}
	return b
}

// hiddenFrom is the UID from which on rows of a space are not shown yet.
func hiddenFrom(tx *bolt.Tx, space Space) imap.UID {
	v := tx.Bucket(bucketIntents).Get(keyUID(space, 0)[:4])
	if len(v) == 5 && v[0] == intentCopy {
		return imap.UID(binary.LittleEndian.Uint32(v[1:]))
	}
	return ^imap.UID(0)
}

// mendRow is what a row is to be: nil as it is, empty for none.
func (c *check) mendRow(w *txn, m *Mailbox, uid imap.UID, v []byte) []byte {
	r, err := decodeRow(uid, v)
	changed := false
	if err != nil {
		sound := func(v []byte) bool { return rowSound(uid, v) }
		mended, ok := mendByte(v, sound)
		switch {
		case ok && len(v) != rowBytes:
			c.did("%s: the row of UID %d is mended: one byte had changed", m.Name, uid)
			r, _ = decodeRow(uid, mended)
		case c.plausible(w, v, &r):
			c.did("%s: the row of UID %d is taken as it is: its message is the one that it says", m.Name, uid)
		default:
			c.did("%s: the row of UID %d can't be read and is taken out", m.Name, uid)
			return []byte{}
		}
		r.UID, changed = uid, true
	}
	if over := r.Flags >> systemFlags >> len(m.Keywords); over != 0 {
		r.Flags &= 1<<(systemFlags+len(m.Keywords)) - 1
		changed = true
	}
	if row, err := readBlobRow(w.tx, r.Blob); err == nil && (row.email != r.Email || row.size != r.Size) {
		if v := w.bucket(bucketEmails).Get(r.Email[:]); len(v) == 8 && row.email != r.Email {
			r.Blob = BlobID(binary.BigEndian.Uint64(v))
			row, err = readBlobRow(w.tx, r.Blob)
		}
		if err == nil {
			r.Size, r.Email = row.size, row.email
		}
		changed = true
	}
	if r.ModSeq == 0 {
		r.ModSeq, changed = w.next(), true
	}
	if r.ModSeq > m.HighestModSeq || r.ModSeq > w.modseq {
		w.modseq = max(w.modseq, r.ModSeq)
		w.change(m, r.ModSeq)
	}
	if uid >= m.UIDNext {
		m.UIDNext = uid + 1
		w.change(m, w.next())
	}
	if !changed {
		return nil
	}
	return encodeRow(&r)
}

// plausible reads a row that fails its checksum. It is taken if it names a
// blob and that blob's EMAILID.
func (c *check) plausible(w *txn, v []byte, r *Row) bool {
	if len(v) < rowBytes {
		return false
	}
	got, err := decodeRow(0, v[:rowBytes])
	if err != nil || got.ModSeq == 0 {
		return false
	}
	row, err := readBlobRow(w.tx, got.Blob)
	if err != nil || row.email != got.Email || row.size != got.Size {
		return false
	}
	got.ModSeq = min(got.ModSeq, w.modseq)
	*r = got
	return true
}

// mendLog takes damaged and stale entries out of the change log, puts in what
// is missing, and moves the floor: tombstones may have been lost, so clients
// that ask for what is gone compare all UIDs.
func (c *check) mendLog(box *Mailbox) error {
	err := c.slices(box.ID, func(w *txn, m *Mailbox, next []byte) ([]byte, error) {
		log, rows := w.bucket(bucketLog), w.bucket(bucketRows)
		prefix := keyUID(m.Space, 0)[:4]
		var bad [][]byte
		n := 0
		cur := log.Cursor()
		k, v := cur.Seek(max2(next, prefix))
		for ; bytes.HasPrefix(k, prefix) && n < repairSlice; k, v = cur.Next() {
			n++
			e, ok := decodeLog(k, v)
			ok = ok && e.at <= m.HighestModSeq && e.last < m.UIDNext
			switch {
			case ok && e.kind == logFlags:
				r, err := decodeRow(e.uid, rows.Get(keyUID(m.Space, e.uid)))
				ok = err == nil && r.ModSeq == e.at
			case ok && e.kind != logAdd:
				k, _ := rows.Cursor().Seek(keyUID(m.Space, e.uid))
				ok = !bytes.HasPrefix(k, prefix) || imapUID(k) > e.last
			}
			if !ok {
				bad = append(bad, bytes.Clone(k))
			}
		}
		var on []byte
		if n == repairSlice && bytes.HasPrefix(k, prefix) {
			on = bytes.Clone(k)
		}
		return on, deleteKeys(w, log, bad)
	})
	if err != nil {
		return err
	}
	err = c.slices(box.ID, func(w *txn, m *Mailbox, next []byte) ([]byte, error) {
		prefix := keyUID(m.Space, 0)[:4]
		cur := w.bucket(bucketRows).Cursor()
		k, v := cur.Seek(max2(next, keyUID(m.Space, 0)))
		for n := 0; bytes.HasPrefix(k, prefix) && len(k) == 8 && n < repairSlice; n++ {
			if r, err := decodeRow(imapUID(k), v); err == nil && r.ModSeq > 0 {
				if err := w.relog(m.Space, r.ModSeq, r.UID); err != nil {
					return nil, err
				}
			}
			k, v = cur.Next()
		}
		if !bytes.HasPrefix(k, prefix) {
			at := w.next()
			m.Floor = at
			w.change(m, at)
			return nil, nil
		}
		return bytes.Clone(k), nil
	})
	return err
}

// relog puts a row's entry into the change log, unless it is there.
func (w *txn) relog(space Space, at ModSeq, uid imap.UID) error {
	log := w.bucket(bucketLog)
	if len(log.Get(keyLog(space, at, uid))) > 0 {
		return nil
	}
	cur := log.Cursor()
	prefix := keyLog(space, at, 0)[:12]
	for k, v := cur.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = cur.Next() {
		if e, ok := decodeLog(k, v); ok && e.kind == logAdd && e.uid <= uid && uid <= e.last {
			return nil
		}
	}
	w.dirty = true
	return w.log(space, at, uid, []byte{logFlags})
}

// mendBlocks makes the UID blocks of a mailbox anew, one in a transaction.
func (c *check) mendBlocks(box *Mailbox) error {
	return c.slices(box.ID, func(w *txn, m *Mailbox, next []byte) ([]byte, error) {
		first := uint32(0)
		if len(next) == 8 {
			first = binary.BigEndian.Uint32(next[4:])
		}
		// The next block that has rows, or stands there.
		prefix := keyUID(m.Space, 0)[:4]
		index, some := ^uint32(0), false
		if k, _ := w.bucket(bucketRows).Cursor().Seek(keyUID(m.Space, imap.UID(first)*BlockUIDs)); bytes.HasPrefix(k, prefix) && imapUID(k) < hiddenFrom(w.tx, m.Space) {
			index, some = BlockIndex(imapUID(k)), true
		}
		if k, _ := w.bucket(bucketBlocks).Cursor().Seek(keyUID(m.Space, imap.UID(first))); bytes.HasPrefix(k, prefix) {
			index, some = min(index, binary.BigEndian.Uint32(k[4:])), true
		}
		if !some {
			return nil, nil
		}
		bits := new([64]uint64)
		cur := w.bucket(bucketRows).Cursor()
		for k, _ := cur.Seek(keyUID(m.Space, imap.UID(index)*BlockUIDs)); bytes.HasPrefix(k, prefix) && BlockIndex(imapUID(k)) == index && imapUID(k) < hiddenFrom(w.tx, m.Space); k, _ = cur.Next() {
			off := blockOffset(imapUID(k))
			bits[off/64] |= 1 << (off % 64)
		}
		w.dirty = true
		w.blocks[blockKey{m.Space, index}] = blockOf(index, bits)
		if index >= BlockIndex(^imap.UID(0)) {
			return nil, nil
		}
		return keyUID(m.Space, imap.UID(index)+1), nil
	})
}

// mendCount counts a mailbox's messages. It takes one transaction: 200,000
// rows are read in 30 ms.
func (c *check) mendCount(box *Mailbox) error {
	return c.write(func(w *txn) error {
		m, err := w.mailbox(box.ID)
		if err == ErrNoMailbox {
			return nil
		}
		if err != nil {
			return err
		}
		again := Mailbox{FirstUnseen: m.UIDNext}
		hidden := hiddenFrom(w.tx, m.Space)
		w.f.sumRows(w.tx, m.Space, func(r *Row) {
			if r.UID < hidden {
				w.f.overlay.apply(m.Space, r)
				again.count(r)
			}
		})
		before := usageOf(m)
		m.Messages, m.Unseen, m.Deleted = again.Messages, again.Unseen, again.Deleted
		m.Octets, m.DeletedOctets, m.FirstUnseen = again.Octets, again.DeletedOctets, again.FirstUnseen
		after := usageOf(m)
		w.used = w.used.plus(Usage{Octets: after.Octets - before.Octets, Messages: after.Messages - before.Messages})
		w.change(m, w.next())
		return nil
	})
}

// mendKept mends the rows of expunged messages. The blob of one that can't be
// read goes to Recovered.
func (c *check) mendKept() error {
	for next := []byte{0}; next != nil; {
		err := c.write(func(w *txn) error {
			b := w.bucket(bucketKept)
			cur := b.Cursor()
			k, v := cur.Seek(next)
			var changes []change
			for n := 0; k != nil && n < repairSlice; n++ {
				if value, ok := c.mendKeptRow(w, k, v); ok {
					changes = append(changes, change{bytes.Clone(k), value})
				}
				k, v = cur.Next()
			}
			next = bytes.Clone(k)
			for _, ch := range changes {
				w.dirty = true
				err := b.Delete(ch.key)
				if ch.value != nil {
					err = b.Put(ch.key, ch.value)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mendKeptRow is what a kept row is to be, if it can't stay; nil for none.
func (c *check) mendKeptRow(w *txn, k, v []byte) (value []byte, changed bool) {
	e, err := decodeKept(k, v)
	if err == nil && e.why <= keptMoved && w.bucket(bucketRows).Get(k) == nil {
		return nil, false
	}
	if len(k) != 8 {
		return nil, true
	}
	if err == nil && w.bucket(bucketRows).Get(k) != nil {
		c.did("kept row %x is taken out: its message is there", k)
		return nil, true
	}
	if mended, ok := mendByte(v, func(v []byte) bool { return rowSound(imapUID(k), v) }); ok {
		c.did("kept row %x is mended: one byte had changed", k)
		return mended, true
	}
	var r Row
	if c.plausible(w, v, &r) && len(v) >= keptBytes {
		r.UID = imapUID(k)
		c.did("kept row %x is taken as it is", k)
		return encodeKept(&r, min(uint40(v[rowBytes:]), w.f.a.now().Unix()), keptExpunged), true
	}
	c.did("kept row %x can't be read and is taken out", k)
	return nil, true
}
