package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// The blocks of search.db go by blob ids, and blobs go. A block with many dead
// ones is written again without their bits, which compress to nothing; one
// without live ones keeps its place, so that it isn't built again, and nothing
// else. A blob whose bit is gone is a candidate again, so that an older
// mail.db, in which it lives, misses nothing.

const (
	// thinDead is how many dead blobs of a block are worth writing it again.
	thinDead = signatureBlobs / 4
	// searchFree of search.db is to be free, and searchLeast octets, before it
	// is copied.
	searchFree  = 0.15
	searchLeast = 256 << 10
)

// compact gives back what search.db holds of blobs that are gone. rest is
// called between two steps.
func (x *searchIndex) compact(ctx context.Context, f *files, rest func() error) error {
	err := x.compactNow(ctx, f, rest)
	if errors.Is(err, ErrCorrupt) {
		return nil // said in the log; it is made anew
	}
	return err
}

func (x *searchIndex) compactNow(ctx context.Context, f *files, rest func() error) error {
	if x.a.st.opts.readOnly {
		return nil
	}
	if _, err := os.Stat(x.path()); err != nil {
		return nil // there is none
	}
	for at, more := uint64(0), true; more; at++ {
		if err := errors.Join(ctx.Err(), x.a.st.available()); err != nil {
			return err
		}
		number, thinned, err := x.thin(f, at)
		if err != nil {
			return err
		}
		if more = number != noBlock; more && thinned {
			err = rest()
		}
		if at = number; err != nil {
			return err
		}
	}
	return x.shrink(ctx, f)
}

// noBlock is beyond all blocks.
const noBlock = ^uint64(0)

// thin writes the next block from the number first on again if it has many
// dead blobs.
func (x *searchIndex) thin(f *files, first uint64) (number uint64, thinned bool, err error) {
	x.busy.Lock()
	defer x.busy.Unlock()
	number = noBlock
	var covered blobSet
	err = x.use(f, func(db *boltFile) error {
		return db.View(func(tx *bolt.Tx) error {
			k, _ := tx.Bucket(bucketSignatures).Cursor().Seek(binary.BigEndian.AppendUint64(nil, first))
			if len(k) != 8 {
				return nil
			}
			number = binary.BigEndian.Uint64(k)
			if b := tx.Bucket(bucketSignatures).Bucket(k); b != nil {
				copy(covered[:], b.Get(keyCovered))
			}
			return nil
		})
	})
	if err != nil || number == noBlock || covered == (blobSet{}) {
		return number, false, err
	}
	live, err := f.liveBlobs(number)
	if err != nil {
		return number, false, err
	}
	dead, left := 0, 0
	for i := range covered {
		dead += bits.OnesCount8(covered[i] &^ live[i])
		live[i] &= covered[i]
		left += bits.OnesCount8(live[i])
	}
	if dead == 0 || dead < thinDead && left > 0 {
		return number, false, nil
	}
	return number, true, x.rewrite(f, number, live)
}

// liveBlobs are the blobs of a block that have a row.
func (f *files) liveBlobs(block uint64) (live blobSet, err error) {
	err = f.mail.View(func(tx *bolt.Tx) error {
		first := block * signatureBlobs
		c := tx.Bucket(bucketBlobs).Cursor()
		for k, _ := c.Seek(keyBlob(BlobID(first))); len(k) == 8; k, _ = c.Next() {
			id := binary.BigEndian.Uint64(k)
			if id-first >= signatureBlobs {
				break
			}
			live.add(int(id - first))
		}
		return nil
	})
	return live, err
}

// rewrite writes a block with the bits of the blobs in keep alone.
func (x *searchIndex) rewrite(f *files, number uint64, keep blobSet) error {
	x.grow()
	return x.use(f, func(db *boltFile) error {
		var rows [signatureSlices / rowSlices][]byte
		key := binary.BigEndian.AppendUint64(nil, number)
		err := db.View(func(tx *bolt.Tx) (err error) {
			b := tx.Bucket(bucketSignatures).Bucket(key)
			if b == nil {
				return fmt.Errorf("%w: signatures of block %d", ErrCorrupt, number)
			}
			for n := 0; n < len(rows) && keep != (blobSet{}) && err == nil; n++ {
				rows[n], err = maskedRow(b, number, n, &keep)
			}
			return err
		})
		if err != nil {
			return err
		}
		return db.Update(func(tx *bolt.Tx) error {
			all := tx.Bucket(bucketSignatures)
			if err := all.DeleteBucket(key); err != nil {
				return err
			}
			block, err := all.CreateBucket(key)
			if err != nil {
				return err
			}
			block.FillPercent = fillAppend
			for n, v := range rows {
				if v == nil {
					continue
				}
				if err := block.Put([]byte{byte(n)}, v); err != nil {
					return err
				}
			}
			return block.Put(keyCovered, keep[:])
		})
	})
}

// maskedRow is a row of a block as it is stored, with the bits of keep alone.
func maskedRow(b *bolt.Bucket, number uint64, n int, keep *blobSet) ([]byte, error) {
	at := place{placeSignatures, number, uint32(n)}
	row, err := decodeChunk(nil, b.Get([]byte{byte(n)}), at)
	if err == nil && len(row) != sliceRowBytes {
		err = ErrCorrupt
	}
	if err != nil {
		return nil, fmt.Errorf("signatures of block %d: %w", number, err)
	}
	for i := range row {
		row[i] &= keep[i%sliceBytes]
	}
	v, err := bodyCodec.encode(nil, row)
	return at.seal(v), err
}

// shrink copies search.db when much of it is free, and puts the copy in its
// place. Nobody builds meanwhile, so nobody writes.
func (x *searchIndex) shrink(ctx context.Context, f *files) error {
	x.busy.Lock()
	defer x.busy.Unlock()
	var size, free int64
	err := x.use(f, func(db *boltFile) error {
		free = freePages(db)
		return db.View(func(tx *bolt.Tx) error {
			size = tx.Size()
			return nil
		})
	})
	if err != nil || free < searchLeast || float64(free) < searchFree*float64(size) {
		return err
	}
	var held heldMap
	if err := x.maps().take(&held, mapSize(size-free+searchSlack), true, compactPatience); err != nil {
		return err
	}
	defer x.maps().give(&held)
	tmp := x.path() + compactSuffix
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	err = x.copyTo(ctx, f, tmp)
	if err == nil {
		err = x.a.st.here()
	}
	if err != nil {
		return errors.Join(mapError(err), os.RemoveAll(tmp))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.files != f || x.closed || x.damaged {
		return os.RemoveAll(tmp) // it is another file by now
	}
	if x.db != nil {
		if err := x.closeFile(); err != nil {
			return errors.Join(mapError(err), os.RemoveAll(tmp))
		}
	}
	if err := os.Rename(tmp, x.path()); err != nil {
		return mapError(err)
	}
	return mapError(syncDir(filepath.Dir(tmp)))
}

// copyTo copies search.db, a block at a time.
func (x *searchIndex) copyTo(ctx context.Context, f *files, tmp string) error {
	bo := x.options()
	bo.NoSync = true
	to, err := x.maps().openMap(tmp, bo)
	if err != nil {
		return err
	}
	to.AllocSize, to.NoGrowSync = compactGrow, true
	err = to.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(bucketSignatures)
		return err
	})
	for at := []byte(nil); err == nil; {
		if err = ctx.Err(); err != nil {
			break
		}
		var next []byte
		err = x.use(f, func(db *boltFile) error {
			return db.View(func(from *bolt.Tx) error {
				return to.Update(func(tx *bolt.Tx) (err error) {
					next, err = copyBlock(from, tx, at)
					return err
				})
			})
		})
		if at = next; at == nil {
			break
		}
	}
	if err == nil && !x.a.st.opts.NoSync {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// copyBlock copies the block at a key; the bucket meta, if there is no key
// yet. It returns the next one's, nil at the end.
func copyBlock(from, to *bolt.Tx, at []byte) (next []byte, err error) {
	all := from.Bucket(bucketSignatures)
	if at == nil {
		meta, err := to.CreateBucket(bucketMeta)
		if err == nil {
			err = from.Bucket(bucketMeta).ForEach(meta.Put)
		}
		k, _ := all.Cursor().First()
		return append([]byte(nil), k...), err
	}
	c := all.Cursor()
	c.Seek(at)
	if k, _ := c.Next(); k != nil {
		next = append([]byte(nil), k...)
	}
	b := all.Bucket(at)
	if b == nil {
		return nil, fmt.Errorf("%w: signatures at %x", ErrCorrupt, at)
	}
	dst := to.Bucket(bucketSignatures)
	dst.FillPercent = fillAppend
	block, err := dst.CreateBucket(at)
	if err != nil {
		return nil, err
	}
	block.FillPercent = fillAppend
	return next, b.ForEach(block.Put)
}
