package storage

import (
	"encoding/binary"
	"math"

	bolt "go.etcd.io/bbolt"
)

// findNext goes on to the first block that is missing. Those of which no blob
// is left are passed over: in an index that came from elsewhere the ids may
// go on after a gap that no life is long enough for.
func (x *searchIndex) findNext(f *files) (found bool, err error) {
	err = x.use(f, func(db *boltFile) error {
		return db.View(func(built *bolt.Tx) error {
			return f.mail.View(func(tx *bolt.Tx) error {
				have, blobs := built.Bucket(bucketSignatures), tx.Bucket(bucketBlobs).Cursor()
				for x.next <= math.MaxUint64/signatureBlobs {
					k, _ := blobs.Seek(keyBlob(BlobID(x.next * signatureBlobs)))
					if found = len(k) == 8; !found {
						return nil
					}
					x.next = binary.BigEndian.Uint64(k) / signatureBlobs
					if have.Bucket(binary.BigEndian.AppendUint64(nil, x.next)) == nil {
						return nil
					}
					x.next++
				}
				found = false
				return nil
			})
		})
	})
	return found, err
}
