package storage

import (
	"encoding/binary"
	"errors"

	bolt "go.etcd.io/bbolt"
)

const (
	// sweepBlobs is how many blobs one transaction of a sweep removes.
	sweepBlobs = 500
	// collectBlobs is how many removed blobs a sealed volume gathers before it
	// is opened for writing to give up their bytes.
	collectBlobs = 100
)

// openBlob is an entry of a bucket "open" with what mail.db knows of the blob.
type openBlob struct {
	id      BlobID
	volume  uint16 // of an entry of mail.db whose row is gone: where the chunks are
	whole   int64  // of an entry of a body volume: orphan.go
	hasRow  bool
	refs    uint32
	garbage bool // the entry names a volume
	octets  int64
}

// openBlobsOf reads the bucket "open" of a volume's transaction, and looks up
// the rows in mail.db.
func (b *blobStore) openBlobsOf(view func(func(tx *bolt.Tx) error) error) (all []openBlob, err error) {
	err = view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketOpen).ForEach(func(k, v []byte) error {
			o := openBlob{id: BlobID(binary.BigEndian.Uint64(k))}
			o.whole = wholeSince(v)
			if len(v) >= 2 {
				o.garbage, o.volume = true, binary.LittleEndian.Uint16(v)
			}
			if len(v) >= 10 {
				o.octets = int64(binary.LittleEndian.Uint64(v[2:]))
			}
			all = append(all, o)
			return nil
		})
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all, b.f.mail.View(func(tx *bolt.Tx) error {
		for i := range all {
			o := &all[i]
			if row, err := readBlobRow(tx, o.id); err == nil {
				o.hasRow, o.refs = true, row.refs
			} else if !errors.Is(err, ErrNoMessage) {
				o.hasRow, o.refs = true, 1 // a damaged row keeps its bytes
			}
		}
		return nil
	})
}

// sweepIndex looks up the open blobs of mail.db: it removes the bytes that a
// crash left without a row, and the blobs without a reference.
func (b *blobStore) sweepIndex() (more bool, err error) {
	all, err := b.openBlobsOf(b.f.mail.View)
	if err != nil {
		return false, err
	}
	var orphans, unused, closed []BlobID
	for _, o := range all {
		switch {
		case b.live[o.id] != nil || o.garbage && !o.hasRow:
		case !o.hasRow:
			orphans = append(orphans, o.id)
		case o.refs > 0:
			closed = append(closed, o.id)
		case !b.pinned(o.id):
			unused = append(unused, o.id)
		}
		if len(orphans)+len(unused)+len(closed) == sweepBlobs {
			more = true
			break
		}
	}
	if len(orphans)+len(unused)+len(closed) == 0 {
		return false, nil
	}
	return more, b.f.mail.Update(func(tx *bolt.Tx) error {
		for _, id := range closed {
			if err := tx.Bucket(bucketOpen).Delete(keyBlob(id)); err != nil {
				return err
			}
		}
		octets := int64(0)
		for _, id := range orphans {
			n, err := freeChunks(tx, id)
			if err != nil {
				return err
			}
			octets += n
		}
		if err := b.addBodies(tx, -octets); err != nil {
			return err
		}
		if err := b.freeBlobs(tx, unused); err != nil {
			return err
		}
		return b.stamp(tx)
	})
}

// freeBlobs removes blobs that have no reference; others, and those that are
// being read, stay. What is in mail.db goes at once; the bytes in a body
// volume are noted and go later: never before the row, or an upload of the
// same bytes would find a blob without bytes.
func (b *blobStore) freeBlobs(tx *bolt.Tx, ids []BlobID) error {
	for _, id := range ids {
		row, err := readBlobRow(tx, id)
		if errors.Is(err, ErrNoMessage) || err == nil && (row.refs > 0 || !b.condemn(id)) {
			continue
		}
		if err != nil {
			return err
		}
		key := keyBlob(id)
		emails := tx.Bucket(bucketEmails)
		if string(emails.Get(row.email[:])) == string(key) {
			if err := emails.Delete(row.email[:]); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketBlobs).Delete(key); err != nil {
			return err
		}
		if err := b.putRecord(tx, id, nil); err != nil {
			return err
		}
		if row.volume != 0 {
			entry := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, row.volume), uint64(row.size))
			if err := tx.Bucket(bucketOpen).Put(key, entry); err != nil {
				return err
			}
			continue
		}
		octets, err := freeChunks(tx, id)
		if err == nil {
			err = b.addBodies(tx, -octets)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pin keeps a blob's bytes until unpin. It fails when they are being removed.
func (b *blobStore) pin(id BlobID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.going[id] {
		return false
	}
	b.pins[id]++
	return true
}

func (b *blobStore) unpin(id BlobID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pins[id]--; b.pins[id] == 0 {
		delete(b.pins, id)
	}
}

func (b *blobStore) pinned(id BlobID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pins[id] > 0
}

// condemn lets nobody pin a blob any more, unless somebody has.
func (b *blobStore) condemn(id BlobID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pins[id] > 0 {
		return false
	}
	b.going[id] = true
	return true
}

// keep takes back a condemnation whose transaction failed: the blob has a
// reference again.
func (b *blobStore) keep(id BlobID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.going, id)
}

// sweepVolumes removes from one body volume the bytes that belong to nothing:
// what a crash left without a row, and removed blobs if they are many. more
// tells that there may be another such volume.
func (b *blobStore) sweepVolumes() (more bool, err error) {
	all, err := b.openBlobsOf(b.f.mail.View)
	if err != nil {
		return false, err
	}
	removed := map[uint16][]BlobID{}
	for _, o := range all {
		if o.garbage && !o.hasRow {
			removed[o.volume] = append(removed[o.volume], o.id)
		}
	}
	for n, ids := range removed {
		if len(ids) < collectBlobs {
			continue
		}
		done, err := b.collect(n, ids[:min(len(ids), sweepBlobs)])
		if done || err != nil {
			return true, err
		}
	}
	b.volumes.lookAtNewest()
	if more, err := b.acceptAhead(); more || err != nil {
		return more, err
	}
	for _, v := range b.volumes.markedNow() {
		if err := b.sweepMarked(v); err != nil && !errors.Is(err, ErrUnavailable) {
			return true, err
		}
	}
	return false, nil
}

// collect removes the bytes of removed blobs from volume n, and then their
// entries in mail.db.
func (b *blobStore) collect(n uint16, ids []BlobID) (done bool, err error) {
	err = b.volumes.commit(n, func(tx *bolt.Tx) error {
		for _, id := range ids {
			if _, err := freeChunks(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrUnavailable) {
		return false, nil // the volume is not there, or not as it should be
	}
	if err != nil {
		return false, err
	}
	return true, b.f.mail.Update(func(tx *bolt.Tx) error {
		for _, id := range ids {
			if err := tx.Bucket(bucketOpen).Delete(keyBlob(id)); err != nil {
				return err
			}
		}
		return b.stamp(tx)
	})
}

// sweepMarked looks up the open blobs of a body volume that was found with
// some. In one that is ahead of the index they may be acknowledged mail.
func (b *blobStore) sweepMarked(v *volume) error {
	state, err := v.state()
	if err != nil || state.ahead || state.behind {
		return err
	}
	all, err := b.openBlobsOf(v.view)
	if err != nil {
		return err
	}
	var orphans []BlobID
	for _, o := range all {
		switch {
		case o.hasRow:
			v.settled = append(v.settled, o.id)
		case b.live[o.id] == nil && !b.spared(o):
			orphans = append(orphans, o.id)
		}
	}
	if len(orphans) > 0 {
		if err := v.commit(func(tx *bolt.Tx) error {
			for _, id := range orphans {
				if _, err := freeChunks(tx, id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	v.mu.Lock()
	v.marked = false
	v.mu.Unlock()
	return nil
}

// sweep is the store's share of the work that waits for a quiet moment.
func (b *blobStore) sweep() (more bool, err error) {
	if more, err = b.sweepIndex(); more || err != nil {
		return more, err
	}
	return b.sweepVolumes()
}
