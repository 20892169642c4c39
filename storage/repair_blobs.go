package storage

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// repairRounds bounds how often a repair of references looks again: giving a
// blob to Recovered changes its count, and one look remembers refsMax of them.
const repairRounds = 50

// mendReferences mends blob rows, counts and EMAILIDs. What nobody uses goes
// to Recovered first, so that no count is lowered to nothing.
func (c *check) mendReferences() error {
	for round := 0; ; round++ {
		if err := c.mendRefs(); err != nil {
			return err
		}
		tell := c.checkReport
		silent := *tell
		silent.tell = func(Finding) error { return nil }
		silent.n = 0
		c.checkReport = &silent
		before := len(c.refs.lost)
		err := c.references()
		c.checkReport = tell
		if err != nil || silent.n == 0 || round == repairRounds || silent.n == before && len(c.refs.lost) == before {
			return err
		}
	}
}

func (c *check) mendRefs() error {
	r := &c.refs
	for _, id := range r.lost {
		if err := c.rebuildBlob(id); err != nil {
			return err
		}
	}
	if err := c.recover(r.unowned); err != nil {
		return err
	}
	var ids []BlobID
	for id := range r.delta {
		ids = append(ids, id)
	}
	if err := c.inSlices(ids, func(w *txn, id BlobID) error {
		return w.correctRefs(id, r.delta[id])
	}); err != nil {
		return err
	}
	if len(ids) > 0 {
		c.did("the references of %d blobs are counted again", len(ids))
	}
	if err := c.inSlices(append(r.unfound, r.open...), func(w *txn, id BlobID) error { return w.index(id) }); err != nil {
		return err
	}
	for keys := r.emails; len(keys) > 0; {
		n := min(len(keys), repairSlice)
		if err := c.write(func(w *txn) error { return deleteKeys(w, w.bucket(bucketEmails), keys[:n]) }); err != nil {
			return err
		}
		keys = keys[n:]
	}
	if n := len(r.unfound) + len(r.emails); n > 0 {
		c.did("%d entries of the index of EMAILIDs are corrected", n)
	}
	return nil
}

// inSlices runs fn for each of ids, repairSlice of them in a transaction.
func (c *check) inSlices(ids []BlobID, fn func(w *txn, id BlobID) error) error {
	for len(ids) > 0 {
		n := min(len(ids), repairSlice)
		err := c.write(func(w *txn) error {
			w.dirty = true
			for _, id := range ids[:n] {
				if err := fn(w, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// correctRefs changes a blob's references by what they were found to be wrong;
// others may have changed meanwhile.
func (w *txn) correctRefs(id BlobID, delta int64) error {
	row, err := readBlobRow(w.tx, id)
	if err != nil {
		return ignoreCorrupt(err)
	}
	if n := int64(row.refs) + delta; n > 0 && n < 1<<32 {
		row.refs = uint32(n)
	}
	if err := w.bucket(bucketOpen).Delete(keyBlob(id)); err != nil {
		return err
	}
	return w.bucket(bucketBlobs).Put(keyBlob(id), row.encode())
}

// index makes a blob found by its EMAILID, and by the sweep if nobody uses it.
func (w *txn) index(id BlobID) error {
	row, err := readBlobRow(w.tx, id)
	if err != nil {
		return ignoreCorrupt(err)
	}
	if emails := w.bucket(bucketEmails); len(emails.Get(row.email[:])) != 8 {
		if err := emails.Put(append([]byte(nil), row.email[:]...), keyBlob(id)); err != nil {
			return err
		}
	}
	if row.refs == 0 {
		return w.bucket(bucketOpen).Put(keyBlob(id), nil)
	}
	return nil
}

// rebuildBlob makes the row of a blob that rows refer to: from the row, if one
// byte of it changed, else from the blob's bytes.
func (c *check) rebuildBlob(id BlobID) error {
	f, err := c.a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	var stored []byte
	if err := f.viewVolume(0, func(tx *bolt.Tx) error {
		stored = append(stored, tx.Bucket(bucketBlobs).Get(keyBlob(id))...)
		return nil
	}); err != nil {
		return err
	}
	mended, ok := mendByte(stored, func(v []byte) bool {
		_, err := decodeBlobRow(v)
		return err == nil && len(v) == blobRowBytes+4+sumBytes
	})
	if ok {
		c.did("the row of blob %d is mended: one byte had changed", id)
		return c.write(func(w *txn) error {
			w.dirty = true
			return w.bucket(bucketBlobs).Put(keyBlob(id), mended)
		})
	}
	for n := range int(f.blobs.volumes.last) + 1 {
		b, err := f.readStray(strayBlob{uint16(n), id})
		if isClosed(err) {
			return err
		}
		if err != nil {
			continue
		}
		c.did("the row of blob %d is made again from its bytes in volume %d", id, n)
		return c.write(func(w *txn) error {
			w.dirty = true
			if err := w.bucket(bucketBlobs).Delete(keyBlob(id)); err != nil {
				return err
			}
			if err := w.adopt(b); err != nil { // counted once; the next round corrects it
				return err
			}
			return nil
		})
	}
	return nil // lost: it stays a finding
}

// recover gives blobs without a message one in the mailbox Recovered.
func (c *check) recover(strays []strayBlob) error {
	return c.a.recoverBlobs(c.ctx, strays, func(mailbox string, r recoveredBlob) {
		switch {
		case r.err != nil:
			c.line(Left, "blob %d of volume %d can't be recovered: %v", r.id, r.volume, r.err)
		case r.known:
			c.did("blob %d of volume %d is a message that is there already", r.id, r.volume)
			c.discard(r.strayBlob)
		default:
			c.did("blob %d of volume %d is UID %d in the mailbox %q", r.id, r.volume, r.uid, mailbox)
		}
	})
}

// discard lists bytes that the account has twice to be removed, unless another
// blob has the id.
func (c *check) discard(s strayBlob) {
	err := c.write(func(w *txn) error {
		if _, err := readBlobRow(w.tx, s.id); !errors.Is(err, ErrNoMessage) {
			return nil
		}
		w.dirty = true
		var v []byte
		if s.volume != 0 {
			v = []byte{byte(s.volume), byte(s.volume >> 8)}
		}
		return w.bucket(bucketOpen).Put(keyBlob(s.id), v)
	})
	if err != nil {
		c.line(Left, "blob %d: %v", s.id, err)
	}
}

func (c *check) mendStrays() error { return c.recover(c.strays) }

// mendRecords parses blobs again whose record is missing or damaged.
func (c *check) mendRecords() error {
	for round := 0; len(c.records) > 0 && round < repairRounds; round++ {
		f, err := c.a.acquire()
		if err != nil {
			return err
		}
		err = c.parseAgain(f, c.records)
		f.release()
		if err != nil {
			return err
		}
		c.did("%d records are made again from their messages", len(c.records))
		if len(c.records) < refsMax {
			return nil
		}
		if err := c.lookRecords(); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) parseAgain(f *files, ids []BlobID) error {
	for _, id := range ids {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		rec, err := f.parse(id)
		if isClosed(err) {
			return err
		}
		if err != nil {
			rec = nil // of no blob, or of one that can't be read
		}
		err = c.write(func(w *txn) error {
			w.dirty = true
			if _, err := readBlobRow(w.tx, id); err == nil && rec == nil {
				return nil
			}
			return w.f.blobs.putRecord(w.tx, id, rec)
		})
		if err != nil {
			return fmt.Errorf("record of blob %d: %w", id, err)
		}
	}
	return nil
}
