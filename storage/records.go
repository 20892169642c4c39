package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// Records are stored in blocks of those of 16 neighbouring blobs: a record is
// too short to compress alone, and 20,000 blocks' decodes cost a tenth of
// 20,000 records' (DESIGN §5).
//
//	block  codec u8, key id u8, CRC-32C u32, data
//	data   of each record: slot u8, length uvarint, bytes
const (
	recordsEach      = 16
	codecS2     byte = 3
)

func keyRecords(id BlobID) []byte { return keyBlob(id / recordsEach) }

// putRecord adds a record to its block.
func putRecord(tx *bolt.Tx, id BlobID, rec mail.Record) error {
	b := tx.Bucket(bucketRecords)
	b.FillPercent = fillAppend
	key := keyRecords(id)
	var data []byte
	if v := b.Get(key); v != nil {
		var err error
		if data, err = decodeRecords(nil, v); err != nil {
			return err
		}
	}
	data = append(data, byte(id%recordsEach))
	data = binary.AppendUvarint(data, uint64(len(rec)))
	data = append(data, rec...)
	return b.Put(key, encodeRecords(data))
}

func encodeRecords(data []byte) []byte {
	v := make([]byte, chunkHeader+s2.MaxEncodedLen(len(data)))
	v[0] = codecS2
	v = v[:chunkHeader+len(s2.Encode(v[chunkHeader:], data))]
	binary.LittleEndian.PutUint32(v[2:], crc32.Checksum(v[chunkHeader:], castagnoli))
	return v
}

func decodeRecords(dst, v []byte) ([]byte, error) {
	id, data, err := checkChunk(v)
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	if id != codecS2 {
		return nil, fmt.Errorf("%w: records of codec %d", ErrUnavailable, id)
	}
	n, err := s2.DecodedLen(data)
	if err != nil || n > 64<<20 {
		return nil, fmt.Errorf("%w: records", ErrCorrupt)
	}
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	out, err := s2.Decode(dst[:cap(dst)], data)
	if err != nil {
		return nil, fmt.Errorf("%w: records: %w", ErrCorrupt, err)
	}
	return out, nil
}

// recordIn finds a slot's record in a block's data.
func recordIn(data []byte, slot byte) mail.Record {
	for len(data) > 0 {
		n, k := binary.Uvarint(data[1:])
		if k <= 0 || n > uint64(len(data)-1-k) {
			return nil
		}
		rec := data[1+k : 1+k+int(n)]
		if data[0] == slot {
			return rec
		}
		data = data[1+k+int(n):]
	}
	return nil
}

// recordBatch is how many stored blocks are copied out of one transaction.
const recordBatch = 64

// Records calls f with the records of blobs, at most ReadRows, in their order,
// until it returns false. rec is only valid in f, and empty where there is
// none. No transaction is open while f runs.
func (a *Account) Records(blobs []BlobID, f func(i int, rec mail.Record) bool) error {
	var stored, block []byte
	for i := 0; i < len(blobs); {
		var ends [recordBatch]int
		var keys [recordBatch]uint64
		n := 0
		stored = stored[:0]
		err := a.read(func(_ *files, tx *bolt.Tx) error {
			c := tx.Bucket(bucketRecords).Cursor()
			for j := i; j < len(blobs) && n < recordBatch; j++ {
				key := uint64(blobs[j]) / recordsEach
				if n > 0 && keys[n-1] == key {
					continue
				}
				want := keyRecords(blobs[j])
				if k, v := c.Seek(want); string(k) == string(want) {
					stored = append(stored, v...)
				}
				keys[n], ends[n] = key, len(stored)
				n++
			}
			return nil
		})
		if err != nil {
			return err
		}
		start := 0
		for b := range n {
			block = block[:0]
			if ends[b] > start {
				if block, err = decodeRecords(block[:0:cap(block)], stored[start:ends[b]]); err != nil {
					return err
				}
			}
			start = ends[b]
			for ; i < len(blobs) && uint64(blobs[i])/recordsEach == keys[b]; i++ {
				if !f(i, recordIn(block, byte(blobs[i]%recordsEach))) {
					return nil
				}
			}
		}
	}
	return nil
}
