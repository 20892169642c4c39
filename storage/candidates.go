package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Candidates says for each of blobs whether its normal text may hold needle,
// which is normal text itself: where it is false, it certainly does not.
func (a *Account) Candidates(blobs []BlobID, needle string) (maybe []bool, err error) {
	maybe = make([]bool, len(blobs))
	for i := range maybe {
		maybe[i] = true
	}
	slices := needleSlices(needle)
	if len(slices) == 0 || a.st.opts.readOnly { // a copy has no index, and none is made
		return maybe, nil
	}
	f, err := a.acquire()
	if err != nil {
		return nil, err
	}
	defer f.release()
	for i := 0; i < len(blobs); {
		block, end := uint64(blobs[i])/signatureBlobs, i
		for end < len(blobs) && uint64(blobs[end])/signatureBlobs == block {
			end++
		}
		candidates, err := a.index.candidates(f, block, slices)
		if errors.Is(err, ErrClosed) {
			return nil, err
		}
		for ; i < end && err == nil; i++ { // without the index, all are candidates
			maybe[i] = candidates.has(int(blobs[i] % signatureBlobs))
		}
		i = end
	}
	return maybe, nil
}

// candidates are the blobs of a block whose signatures have all the slices,
// and those without a signature.
func (x *searchIndex) candidates(f *files, block uint64, slices []uint32) (set blobSet, err error) {
	for i := range set {
		set[i] = 0xff
	}
	buf := decodeBuffers.Get().(*[]byte)
	defer decodeBuffers.Put(buf)
	err = x.use(f, func(db *boltFile) error {
		return db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketSignatures).Bucket(binary.BigEndian.AppendUint64(nil, block))
			if b == nil {
				return nil
			}
			if err := guardBucket(tx, b); err != nil {
				return err
			}
			covered := b.Get(keyCovered)
			if len(covered) != len(set) {
				return fmt.Errorf("%w: signatures of block %d", ErrCorrupt, block)
			}
			if blobSet(covered) == (blobSet{}) {
				return nil // all of them were removed since
			}
			for _, n := range slices {
				v := b.Get([]byte{byte(n / rowSlices)})
				if *buf, err = decodeChunk((*buf)[:0], v, place{placeSignatures, block, n / rowSlices}); err == nil && len(*buf) != sliceRowBytes {
					err = ErrCorrupt
				}
				if err != nil {
					return fmt.Errorf("signatures of block %d: %w", block, err)
				}
				slice := (*buf)[n%rowSlices*sliceBytes:]
				for i := range set {
					set[i] &= slice[i] | ^covered[i]
				}
			}
			return nil
		})
	})
	return set, err
}
