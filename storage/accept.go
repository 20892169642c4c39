package storage

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// acceptBlobs is how many blobs of a volume that is ahead one step compares
// with the index.
const acceptBlobs = 1000

// acceptAhead goes through the volumes that were found ahead, a step at a
// time. One of which the index knows every blob, because what it didn't know
// was recovered, is an ordinary volume again: it is written to, and swept.
func (b *blobStore) acceptAhead() (more bool, err error) {
	for _, v := range b.volumes.aheadNow() {
		next, known, err := b.knowsBlobs(v, v.accepted)
		switch {
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrCorrupt), err == nil && !known:
			v.stays = true // until it is opened by the next run
			continue
		case err != nil:
			return false, err
		}
		if v.accepted = next; next > 0 {
			return true, nil
		}
		if err := v.accept(); err != nil && !errors.Is(err, ErrUnavailable) {
			return false, err
		}
		v.stays = true
	}
	return false, nil
}

// aheadNow lists the volumes that are ahead as far as is known, unless they
// were looked through.
func (vs *volumes) aheadNow() (ahead []*volume) {
	vs.mu.Lock()
	all := slices.Collect(maps.Values(vs.all))
	vs.mu.Unlock()
	for _, v := range all {
		v.mu.RLock()
		if v.ahead && !v.behind && !v.stays {
			ahead = append(ahead, v)
		}
		v.mu.RUnlock()
	}
	return ahead
}

// knowsBlobs compares some blobs of a volume, from the id first on, with the
// index. next is where to go on, 0 at the end.
func (b *blobStore) knowsBlobs(v *volume, first BlobID) (next BlobID, known bool, err error) {
	type blob struct {
		id  BlobID
		run uint32
	}
	var blobs []blob
	err = v.view(func(tx *bolt.Tx) error {
		runs := tx.Bucket(bucketRuns)
		c := tx.Bucket(bucketHeads).Cursor()
		for k, _ := c.Seek(keyBlob(first)); k != nil; k, _ = c.Next() {
			id := BlobID(binary.BigEndian.Uint64(k))
			if len(blobs) == acceptBlobs {
				next = id
				break
			}
			found := blob{id: id}
			if runs != nil {
				found.run = runOf(runs, id)
			}
			blobs = append(blobs, found)
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	known = true
	err = b.f.mail.View(func(tx *bolt.Tx) error {
		for _, found := range blobs {
			row, err := readBlobRow(tx, found.id)
			if err != nil || row.volume != v.n || row.run != 0 && row.run != found.run {
				known = false
				return nil
			}
		}
		return nil
	})
	return next, known, err
}

// accept says in a volume that was ahead that it is of this time: its next
// commit does.
func (v *volume) accept() error {
	if err := v.hold(true); err != nil { // opening it would find it ahead again
		return err
	}
	v.mu.RUnlock()
	v.mu.Lock()
	v.ahead = false
	v.mu.Unlock()
	err := v.commit(func(*bolt.Tx) error { return nil })
	if err != nil {
		v.mu.Lock()
		v.ahead = true
		v.mu.Unlock()
		return err
	}
	v.vs.b.f.a.st.log.Info("volume_accepted", "account", string(v.vs.b.f.a.id), "file", v.path)
	return nil
}
