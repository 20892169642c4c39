package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// A blobStore keeps the bytes of an account's messages: the first in mail.db,
// volume 0, and then in body volumes.
//
// Bytes go to the disk before the row that makes them a blob, and go from it
// after that row is gone; in between they are listed in "open" of their
// volume, or, on their way out of a body volume, in "open" of mail.db, where
// the entry names the volume. A blob without references is listed there too.
type blobStore struct {
	f *files

	// Of the writer's goroutine.
	next    BlobID             // the last one given out
	bodies  int64              // octets of chunks in mail.db
	first   int64              // how many of them it takes
	live    map[BlobID]*Upload // placed, and without a row so far
	volumes volumes

	run   uint32 // the tag of this run: runs.go
	begun bool   // mail.db lists it

	counter atomic.Uint64 // commits of mail.db

	mu    sync.Mutex
	pins  map[BlobID]int  // open Blobs
	going map[BlobID]bool // their rows are being removed
	runs  []run           // that mail.db lists
}

// firstBodies is how many octets of bodies mail.db takes (STORAGE.md
// recommendation 5).
func firstBodies(o *Options) int64 {
	switch {
	case o.hooks != nil && o.hooks.firstBodies > 0:
		return o.hooks.firstBodies
	case strconv.IntSize == 32:
		return 16 << 20
	}
	return 64 << 20
}

func openBlobs(f *files) (*blobStore, error) {
	b := &blobStore{f: f, first: firstBodies(&f.a.st.opts), live: map[BlobID]*Upload{}, pins: map[BlobID]int{}, going: map[BlobID]bool{}}
	err := f.mail.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		b.next = BlobID(getUint64(meta, "blob"))
		b.counter.Store(getUint64(meta, "counter"))
		b.bodies = int64(getUint64(meta, "bodies"))
		b.startRun(tx, f.a.left)
		return b.volumes.start(b, meta.Get([]byte("volumes")))
	})
	if err != nil {
		return nil, err
	}
	if f.a.st.opts.readOnly {
		return b, nil
	}
	if _, err := b.sweepIndex(); err != nil { // perhaps the disk is full: it can wait
		f.a.st.log.Warn("sweep_failed", "account", string(f.a.id), "error", err)
	}
	return b, nil
}

func (b *blobStore) close() error { return b.volumes.close() }

// stamp is part of each commit of mail.db.
func (b *blobStore) stamp(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	counter := getUint64(meta, "counter") + 1
	tx.OnCommit(func() { b.counter.Store(counter) })
	if err := errors.Join(putUint64(meta, "counter", counter), b.stampRun(tx, counter)); err != nil {
		return err
	}
	if getUint64(meta, "blob") != uint64(b.next) {
		if err := putUint64(meta, "blob", uint64(b.next)); err != nil {
			return err
		}
	}
	if seen := b.volumes.encodeSeen(); string(seen) != string(meta.Get([]byte("volumes"))) {
		return meta.Put([]byte("volumes"), seen)
	}
	return nil
}

func putUint64(b *bolt.Bucket, key string, n uint64) error {
	return b.Put([]byte(key), binary.LittleEndian.AppendUint64(nil, n))
}

// addBodies counts octets of chunks that tx adds to mail.db, or removes.
func (b *blobStore) addBodies(tx *bolt.Tx, octets int64) error {
	meta := tx.Bucket(bucketMeta)
	n := max(int64(getUint64(meta, "bodies"))+octets, 0)
	tx.OnCommit(func() { b.bodies = n })
	return putUint64(meta, "bodies", uint64(n))
}

// writeBodies prepares the uploads of a transaction on mail.db: those whose
// bytes are new get a blob and a volume, and those that go to a body volume
// are written there and synced. Small ones for mail.db wait for the
// transaction itself, unless they are too many for one.
func (b *blobStore) writeBodies(ups []*Upload) error {
	var fresh []*Upload
	staged := int64(0) // for mail.db
	for _, u := range ups {
		if !u.closed || u.err != nil {
			return errUploadOpen
		}
		known, err := b.known(u.email)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		if u.blob == 0 {
			if err := b.place(u); err != nil {
				return err
			}
		}
		if u.volume == 0 {
			staged += u.staged()
		}
		if u.staged() > 0 || u.volume != 0 && !u.whole {
			fresh = append(fresh, u)
		}
	}
	for len(fresh) > 0 {
		n, octets := 0, int64(0)
		for n < len(fresh) && fresh[n].volume == fresh[0].volume && (n == 0 || octets+fresh[n].staged() <= batchBodies) {
			octets += fresh[n].staged()
			n++
		}
		if fresh[0].volume != 0 || staged > batchBodies {
			if err := b.write(fresh[0].volume, fresh[:n]); err != nil {
				return err
			}
		}
		fresh = fresh[n:]
	}
	return nil
}

// committed ends uploads whose messages are in mail.db. What one has on disk
// of bytes that were known by then is dropped.
func (b *blobStore) committed(ups []*Upload) error {
	var errs []error
	for _, u := range ups {
		errs = append(errs, b.end(u))
	}
	return errors.Join(errs...)
}

func (b *blobStore) known(e EmailID) (known bool, err error) {
	err = b.f.mail.View(func(tx *bolt.Tx) error {
		_, _, known = b.find(tx, e)
		return nil
	})
	return known, err
}

// place gives an upload its blob and its volume.
func (b *blobStore) place(u *Upload) error {
	volume := uint16(0)
	if b.bodies+b.promised(0)+u.expected() > b.first {
		var err error
		if volume, err = b.volumes.room(u.expected()); err != nil {
			return err
		}
	} else if err := b.volumes.lookAtLast(); err != nil {
		return err
	}
	b.next++
	u.blob, u.volume, u.promise = b.next, volume, u.expected()
	b.live[u.blob] = u
	return nil
}

// uploadPages is what a message takes in a volume besides its octets: it
// begins a page in "chunks", and pages are not filled to the last octet.
const uploadPages = 2 * 4096

// promised is how many octets the uploads under way may still bring to a
// volume.
func (b *blobStore) promised(volume uint16) (octets int64) {
	for _, u := range b.live {
		if u.volume == volume {
			octets += max(0, u.promise-u.octets) + uploadPages
		}
	}
	return octets
}

// write puts the staged chunks of uploads into their volume, at most about
// batchBodies, and syncs it.
func (b *blobStore) write(volume uint16, ups []*Upload) error {
	put := func(tx *bolt.Tx) (octets int64, err error) {
		for _, u := range ups {
			n, err := putChunks(tx, u)
			if err != nil {
				return 0, err
			}
			octets += n
			if err := tx.Bucket(bucketOpen).Put(keyBlob(u.blob), b.openEntry(u)); err != nil {
				return 0, err
			}
		}
		return octets, nil
	}
	var err error
	if volume == 0 {
		err = b.f.mail.Update(func(tx *bolt.Tx) error {
			octets, err := put(tx)
			if err != nil {
				return err
			}
			if err := b.addBodies(tx, octets); err != nil {
				return err
			}
			return b.stamp(tx)
		})
	} else {
		err = b.volumes.commit(volume, func(tx *bolt.Tx) error {
			for _, u := range ups {
				if err := b.markRun(tx, u.blob); err != nil {
					return err
				}
			}
			_, err := put(tx)
			return err
		})
	}
	if err == nil {
		for _, u := range ups {
			u.whole = u.closed
			u.wrote()
		}
	}
	return err
}

// putChunks writes the staged chunks of an upload.
func putChunks(tx *bolt.Tx, u *Upload) (octets int64, err error) {
	key := keyBlob(u.blob)
	heads, all := tx.Bucket(bucketHeads), tx.Bucket(bucketChunks)
	heads.FillPercent, all.FillPercent = fillAppend, fillAppend
	var chunks *bolt.Bucket
	n, start := u.written, 0
	for _, end := range u.ends {
		v := place{placeBlob, uint64(u.blob), n}.seal(u.stage[start:end:end])
		switch {
		case n == 0:
			err = heads.Put(key, v)
		case chunks == nil:
			if chunks, err = all.CreateBucketIfNotExists(key); err != nil {
				return 0, err
			}
			chunks.FillPercent = fillAppend
			fallthrough
		default:
			err = chunks.Put(keyChunk(n), v)
		}
		if err != nil {
			return 0, err
		}
		n, start = n+1, end
	}
	return int64(len(u.stage)), nil
}

// putBody writes what mail.db holds of a new blob: its row, its record, its
// place among the known bytes, and its chunks if they are not on disk yet.
func (b *blobStore) putBody(tx *bolt.Tx, u *Upload) error {
	if u.blob == 0 {
		return fmt.Errorf("upload of %d octets was not placed", u.size)
	}
	key := keyBlob(u.blob)
	if u.volume == 0 {
		octets, err := putChunks(tx, u)
		if err != nil {
			return err
		}
		if err := b.addBodies(tx, octets); err != nil {
			return err
		}
		if err := tx.Bucket(bucketOpen).Delete(key); err != nil {
			return err
		}
	}
	row := blobRow{volume: u.volume, size: u.size, email: u.email, head: u.head}
	if row.volume != 0 {
		row.run = b.run
	}
	blobs := tx.Bucket(bucketBlobs)
	blobs.FillPercent = fillAppend
	if err := blobs.Put(key, row.encode()); err != nil {
		return err
	}
	if err := tx.Bucket(bucketEmails).Put(append([]byte(nil), u.email[:]...), key); err != nil {
		return err
	}
	tx.OnCommit(func() {
		u.kept = true
		u.wrote()
		delete(b.live, u.blob)
		b.volumes.settled(u.volume, u.blob)
	})
	return b.putRecord(tx, u.blob, u.record)
}

// find looks for a blob by its bytes. One whose bytes are lost with their
// volume is not found: who brings them again stores them again.
func (b *blobStore) find(tx *bolt.Tx, e EmailID) (id BlobID, size int64, ok bool) {
	v := tx.Bucket(bucketEmails).Get(e[:])
	if len(v) != 8 {
		return 0, 0, false
	}
	id = BlobID(binary.BigEndian.Uint64(v))
	row, err := readBlobRow(tx, id)
	if err != nil || row.email != e {
		return 0, 0, false
	}
	if row.volume == 0 {
		return id, row.size, row.stored(tx, id) == nil
	}
	err = b.f.viewVolume(row.volume, func(tx *bolt.Tx) error { return row.stored(tx, id) })
	return id, row.size, err == nil
}

// link counts references to a blob. One without any is listed as open, for
// the sweep to remove.
func (b *blobStore) link(tx *bolt.Tx, id BlobID, delta int) error {
	blobs := tx.Bucket(bucketBlobs)
	blobs.FillPercent = fillAppend
	row, err := readBlobRow(tx, id)
	if err != nil {
		return err
	}
	refs := int64(row.refs) + int64(delta)
	if refs < 0 || refs > 1<<32-1 {
		return fmt.Errorf("%w: blob %d has %d references", ErrCorrupt, id, row.refs)
	}
	key := keyBlob(id)
	switch {
	case refs == 0:
		err = tx.Bucket(bucketOpen).Put(key, nil)
	case row.refs == 0:
		err = tx.Bucket(bucketOpen).Delete(key)
		b.keep(id)
	}
	if err != nil {
		return err
	}
	row.refs = uint32(refs)
	return blobs.Put(key, row.encode())
}
