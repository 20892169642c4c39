package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"

	bolt "go.etcd.io/bbolt"
)

// auditSealed audits a volume that nobody writes to, by a file of its own.
func (c *checkReport) auditSealed(path string, state []byte) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return c.auditState(path, pageFile{path, file}, state)
}

// lookStrays: all chunks in the volumes belong to a blob, or are listed to be
// looked after.
func (c *check) lookStrays() error {
	c.strays = nil
	f, err := c.a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	last := uint16(0)
	if err := c.a.exec(func(f *files) error { last = f.blobs.volumes.last; return nil }); err != nil {
		return err
	}
	for n := uint16(0); n <= last; n++ {
		ahead := false
		if n > 0 {
			v, err := f.blobs.volumes.get(n)
			if err != nil {
				continue // told already
			}
			state, err := v.state()
			if err != nil || state.behind && !state.ahead {
				continue // what an older copy has besides was removed since
			}
			ahead = state.ahead
		}
		for _, bucket := range [][]byte{bucketHeads, bucketChunks} {
			if err := c.straysIn(f, n, bucket, ahead); err != nil {
				return err
			}
		}
		if n == last {
			break // of 65,535
		}
	}
	return nil
}

// A chunkOwner is a blob that has chunks in a volume.
type chunkOwner struct {
	id     BlobID
	run    uint32
	listed bool
	head   bool
}

// straysIn looks through the keys of a bucket, ReadRows in a transaction.
func (c *check) straysIn(f *files, n uint16, bucket []byte, ahead bool) error {
	for from := []byte{0}; from != nil; {
		if err := errorOr(c.ctx.Err(), c.failed); err != nil {
			return err
		}
		runtime.Gosched()
		var found []chunkOwner
		err := f.viewVolume(n, func(tx *bolt.Tx) error {
			from, found = chunkOwners(tx, bucket, from)
			return nil
		})
		if stop := c.stopped(err); stop != nil {
			return stop
		}
		if err != nil {
			c.find("volume %d: %v", n, err)
			return nil
		}
		if err := c.ownerless(f, n, found, ahead); err != nil {
			return err
		}
	}
	return nil
}

// chunkOwners reads keys of heads or chunks from one on; next is nil at the end.
func chunkOwners(tx *bolt.Tx, bucket, from []byte) (next []byte, found []chunkOwner) {
	heads, open, runs := tx.Bucket(bucketHeads), tx.Bucket(bucketOpen), tx.Bucket(bucketRuns)
	cur := tx.Bucket(bucket).Cursor()
	for k, _ := cur.Seek(from); k != nil; k, _ = cur.Next() {
		if len(found) == ReadRows {
			return bytes.Clone(k), found
		}
		if len(k) != 8 {
			continue // the audit of pages would say so
		}
		o := chunkOwner{id: BlobID(binary.BigEndian.Uint64(k)), listed: open.Get(k) != nil, head: heads.Get(k) != nil}
		if runs != nil {
			o.run = runOf(runs, o.id)
		}
		if string(bucket) != string(bucketChunks) || !o.head { // those with a head were seen there
			found = append(found, o)
		}
	}
	return nil, found
}

// ownerless tells which of the blobs have no row. What seems so is looked at
// again between two commits.
func (c *check) ownerless(f *files, n uint16, found []chunkOwner, ahead bool) error {
	stray := func(tx *bolt.Tx, o chunkOwner) bool {
		row, err := readBlobRow(tx, o.id)
		switch {
		case err == nil:
			return row.volume != n || n != 0 && row.run != 0 && row.run != o.run
		}
		return (ahead || !o.listed) && tx.Bucket(bucketOpen).Get(keyBlob(o.id)) == nil
	}
	var suspects []chunkOwner
	err := f.viewVolume(0, func(tx *bolt.Tx) error {
		for _, o := range found {
			if stray(tx, o) {
				suspects = append(suspects, o)
			}
		}
		return nil
	})
	if err != nil || len(suspects) == 0 {
		return err
	}
	return c.a.exec(func(f *files) error {
		for _, o := range suspects {
			gone := false
			err := f.viewVolume(n, func(tx *bolt.Tx) error {
				gone = tx.Bucket(bucketHeads).Get(keyBlob(o.id)) == nil && tx.Bucket(bucketChunks).Bucket(keyBlob(o.id)) == nil
				return nil
			})
			if err != nil {
				return err
			}
			still := false
			if err := f.viewVolume(0, func(tx *bolt.Tx) error { still = stray(tx, o); return nil }); err != nil {
				return err
			}
			if gone || !still || f.blobs.live[o.id] != nil {
				continue
			}
			if !o.head {
				c.find("volume %d has a piece of blob %d without its beginning, and no message for it", n, o.id)
				continue
			}
			c.find("volume %d has blob %d, which belongs to no message", n, o.id)
			c.strays = append(c.strays, strayBlob{n, o.id})
		}
		return nil
	})
}

// journal: the records that were written since the last fold are as they were
// written.
func (c *check) journal() error {
	return c.a.exec(func(f *files) error {
		j := f.journal
		if j.file == nil || j.end <= j.start {
			return nil
		}
		all := make([]byte, j.end)
		if _, err := j.file.ReadAt(all, 0); err != nil {
			return err
		}
		crc := uint32(0)
		for at := j.start; at < j.end; {
			_, size, sum, ok := parseRecord(all[at:], j.epoch, crc)
			if !ok {
				c.find("flags.journal: damaged at %d of %d octets", at, j.end)
				return nil
			}
			at, crc = at+int64(size), sum
		}
		return nil
	})
}

// search: search.db, which can be made anew at will.
func (c *check) search() error {
	f, err := c.a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	x := &c.a.index
	if _, err := os.Stat(x.path()); err != nil {
		return nil // none was made yet
	}
	err = x.use(f, func(db *boltFile) error {
		before := c.n
		if err := c.auditDB("search.db", db); err != nil || c.n > before {
			return err
		}
		return db.View(func(tx *bolt.Tx) error {
			all := tx.Bucket(bucketSignatures)
			return paced(all, func(k, v []byte) error {
				block := all.Bucket(k)
				if v != nil || len(k) != 8 || block == nil || len(block.Get(keyCovered)) != sliceBytes {
					c.find("search.db: block %x is damaged", k)
					return nil
				}
				number := binary.BigEndian.Uint64(k)
				if blobSet(block.Get(keyCovered)) == (blobSet{}) {
					return c.failed // without live blobs: compaction took its rows
				}
				for n := range signatureSlices / rowSlices {
					at := place{placeSignatures, number, uint32(n)}
					if v := block.Get([]byte{byte(n)}); len(v) < chunkHeader || at.sum(v) != binary.LittleEndian.Uint32(v[2:]) {
						c.find("search.db: block %d, row %d fails its checksum", number, n)
					}
				}
				return c.failed
			})
		})
	})
	if errors.Is(err, ErrDiskFull) {
		return nil // one that doesn't fit is made anew, when there is room
	}
	return err
}
