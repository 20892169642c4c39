package storage

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// A blob row, 31 octets and more: volume u16, references u32, size u40,
// EmailID, octets in chunk 0 u32; of a blob in a body volume the run in which
// it was written u32 (runs.go), else 0; a checksum u32 (rowsum.go).
//
// Chunk 0 holds the header with the empty line, or its first chunkBytes; the
// chunks from 1 on hold the rest, chunkBytes each, so that the chunk of any
// octet is known without a table. The first chunks of all blobs lie side by
// side in "heads": a listing of a mailbox reads nothing else. The others of a
// blob have a bucket of their own, so that adding or removing it rewrites none
// of its neighbours (STORAGE.md §2).
type blobRow struct {
	volume uint16
	refs   uint32
	size   int64
	email  EmailID
	head   uint32
	run    uint32
}

const blobRowBytes = 2 + 4 + 5 + 16 + 4

func (r *blobRow) encode() []byte {
	v := binary.LittleEndian.AppendUint16(make([]byte, 0, blobRowBytes+4+sumBytes), r.volume)
	v = binary.LittleEndian.AppendUint32(v, r.refs)
	v = appendUint40(v, r.size)
	v = append(v, r.email[:]...)
	v = binary.LittleEndian.AppendUint32(v, r.head)
	v = binary.LittleEndian.AppendUint32(v, r.run)
	return appendSum(v, 0)
}

// blobRowSound reports whether a blob row is as it was written.
func blobRowSound(v []byte) bool {
	switch len(v) {
	case blobRowBytes, blobRowBytes + 4: // made before there were sums
		return true
	case blobRowBytes + 4 + sumBytes:
		return checkSum(v, 0)
	}
	return false
}

func decodeBlobRow(v []byte) (r blobRow, err error) {
	if !blobRowSound(v) {
		return r, fmt.Errorf("%w: blob row", ErrCorrupt)
	}
	r.volume = binary.LittleEndian.Uint16(v)
	r.refs = binary.LittleEndian.Uint32(v[2:])
	r.size = uint40(v[6:])
	copy(r.email[:], v[11:27])
	r.head = binary.LittleEndian.Uint32(v[27:])
	if len(v) >= blobRowBytes+4 {
		r.run = binary.LittleEndian.Uint32(v[blobRowBytes:])
	}
	if r.head > chunkBytes || int64(r.head) > r.size {
		return r, fmt.Errorf("%w: blob row", ErrCorrupt)
	}
	return r, nil
}

func readBlobRow(tx *bolt.Tx, id BlobID) (blobRow, error) {
	v := tx.Bucket(bucketBlobs).Get(keyBlob(id))
	if v == nil {
		return blobRow{}, fmt.Errorf("%w: blob %d", ErrNoMessage, id)
	}
	r, err := decodeBlobRow(v)
	if err != nil {
		err = fmt.Errorf("blob %d: %w", id, err)
	}
	return r, err
}

// chunkOf is the chunk that holds the octet at off, and which octets it holds.
func (r *blobRow) chunkOf(off int64) (n uint32, start, end int64) {
	if off < int64(r.head) {
		return 0, 0, int64(r.head)
	}
	i := (off - int64(r.head)) / chunkBytes
	start = int64(r.head) + i*chunkBytes
	return uint32(1 + i), start, min(start+chunkBytes, r.size)
}

// chunks is how many there are. Chunk 0 is always there.
func (r *blobRow) chunks() uint32 {
	return 1 + uint32((r.size-int64(r.head)+chunkBytes-1)/chunkBytes)
}

func keyBlob(id BlobID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

func keyChunk(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
