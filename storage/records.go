package storage

import (
	"encoding/binary"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// Records are stored in blocks of those of 16 neighbouring blobs: a record is
// too short to compress alone, and decoding 20,000 blocks' worth costs a tenth
// of decoding 20,000 records (DESIGN §5).
//
//	BlobID/16 u64                -> chunk (chunk.go) of, for each record:
//	                                slot u8 (BlobID%16), length uvarint, record
//	BlobID/16 u64, BlobID%16 u8  -> chunk of a record that is larger than
//	                                ownRecord, so that it burdens no others
const (
	recordsEach = 16
	ownRecord   = 16 << 10
)

func keyRecords(id BlobID) []byte { return keyBlob(id / recordsEach) }

func keyOwnRecord(id BlobID) []byte { return append(keyRecords(id), byte(id%recordsEach)) }

func placeOfRecords(id BlobID) place { return place{kind: placeRecords, id: uint64(id / recordsEach)} }

func placeOfOwnRecord(id BlobID) place {
	return place{placeRecords, uint64(id / recordsEach), 1 + uint32(id%recordsEach)}
}

// putRecord puts a record into its block in place of the one before; an empty
// one is only taken out.
func (b *blobStore) putRecord(tx *bolt.Tx, id BlobID, rec mail.Record) error {
	blocks := tx.Bucket(bucketRecords)
	blocks.FillPercent = fillAppend
	key, slot := keyRecords(id), byte(id%recordsEach)
	oldBuffer, newBuffer := decodeBuffers.Get().(*[]byte), decodeBuffers.Get().(*[]byte)
	defer decodeBuffers.Put(oldBuffer)
	defer decodeBuffers.Put(newBuffer)
	data := (*newBuffer)[:0]
	if v := blocks.Get(key); v != nil {
		old, err := decodeChunk((*oldBuffer)[:0], v, placeOfRecords(id))
		if err != nil {
			// The records can be made again from the blobs, as they are when
			// they are read; new mail must not fail for it.
			b.f.a.st.log.Error("records_unreadable", "account", string(b.f.a.id), "blob", uint64(id), "error", err)
		}
		eachRecord(old, func(s byte, r mail.Record) bool {
			if s != slot {
				data = appendRecord(data, s, r)
			}
			return true
		})
	}
	switch {
	case len(rec) > ownRecord:
		if err := blocks.Put(keyOwnRecord(id), placeOfOwnRecord(id).seal(encodeS2(nil, rec))); err != nil {
			return err
		}
	default:
		if err := blocks.Delete(keyOwnRecord(id)); err != nil {
			return err
		}
		if len(rec) > 0 {
			data = appendRecord(data, slot, rec)
		}
	}
	*newBuffer = data[:0]
	if len(data) == 0 {
		return blocks.Delete(key)
	}
	return blocks.Put(key, placeOfRecords(id).seal(encodeS2(nil, data)))
}

func appendRecord(data []byte, slot byte, rec mail.Record) []byte {
	data = binary.AppendUvarint(append(data, slot), uint64(len(rec)))
	return append(data, rec...)
}

// eachRecord calls f with the records of a block until it returns false.
func eachRecord(data []byte, f func(slot byte, rec mail.Record) bool) {
	for len(data) > 0 {
		n, k := binary.Uvarint(data[1:])
		if k <= 0 || n > uint64(len(data)-1-k) {
			return
		}
		end := 1 + k + int(n)
		if !f(data[0], mail.Record(data[1+k:end:end])) {
			return
		}
		data = data[end:]
	}
}

// recordBatch is how many stored blocks are copied out of one transaction.
const recordBatch = 64

// A recordCopy is a block on its way out of a batch.
type recordCopy struct {
	block BlobID
	end   int // of it in the batch's buffer
}

// Records calls f with the records of blobs, at most ReadRows, in their order,
// until it returns false. rec is only valid in f, and empty where there is
// none: OpenBlob says why. No transaction is open while f runs.
func (a *Account) Records(blobs []BlobID, f func(i int, rec mail.Record) bool) error {
	fl, err := a.acquire()
	if err != nil {
		return err
	}
	defer fl.release()
	return fl.records(blobs, f)
}

func (f *files) records(blobs []BlobID, fn func(i int, rec mail.Record) bool) (err error) {
	stored, data := storedBuffers.Get().(*[]byte), decodeBuffers.Get().(*[]byte)
	defer storedBuffers.Put(stored)
	defer decodeBuffers.Put(data)
	var copies [recordBatch]recordCopy
	for i := 0; i < len(blobs); {
		var n int
		if n, *stored, err = f.copyRecords(blobs[i:], (*stored)[:0], copies[:]); err != nil {
			return err
		}
		start := 0
		for _, c := range copies[:n] {
			*data = (*data)[:0]
			if c.end > start {
				if *data, err = decodeChunk(*data, (*stored)[start:c.end], place{kind: placeRecords, id: uint64(c.block)}); err != nil {
					f.a.st.log.Error("records_unreadable", "account", string(f.a.id), "block", uint64(c.block), "error", err)
				}
			}
			start = c.end
			for ; i < len(blobs) && blobs[i]/recordsEach == c.block; i++ {
				if !fn(i, f.recordOf(blobs[i], *data)) {
					return nil
				}
			}
		}
	}
	return nil
}

// copyRecords copies blocks until copies is full, and says how many there are.
func (f *files) copyRecords(blobs []BlobID, stored []byte, copies []recordCopy) (n int, _ []byte, err error) {
	err = f.viewVolume(0, func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketRecords).Cursor()
		var want [8]byte
		for _, id := range blobs {
			block := id / recordsEach
			if n > 0 && copies[n-1].block == block {
				continue
			}
			if n == len(copies) {
				break
			}
			binary.BigEndian.PutUint64(want[:], uint64(block))
			if k, v := c.Seek(want[:]); string(k) == string(want[:]) {
				willNeed(v)
				stored = append(stored, v...)
			}
			copies[n] = recordCopy{block: block, end: len(stored)}
			n++
		}
		return nil
	})
	return n, stored, err
}

// recordOf finds a blob's record in its block. One that is missing or damaged
// is made again from the bytes.
func (f *files) recordOf(id BlobID, data []byte) (rec mail.Record) {
	eachRecord(data, func(slot byte, r mail.Record) bool {
		if slot == byte(id%recordsEach) {
			rec = r
		}
		return rec == nil
	})
	if rec.Valid() {
		return rec
	}
	rec, err := f.ownRecord(id)
	if err == nil && rec.Valid() {
		return rec
	}
	if rec, err = f.parse(id); err != nil {
		f.a.st.log.Error("record_missing", "account", string(f.a.id), "error", err)
		return nil
	}
	return rec
}

// ownRecord reads a record that is stored alone.
func (f *files) ownRecord(id BlobID) (rec mail.Record, err error) {
	var stored []byte
	err = f.viewVolume(0, func(tx *bolt.Tx) error {
		stored = append(stored, tx.Bucket(bucketRecords).Get(keyOwnRecord(id))...)
		return nil
	})
	if err != nil || len(stored) == 0 {
		return nil, err
	}
	return decodeChunk(nil, stored, placeOfOwnRecord(id))
}

// parse makes a blob's record from its bytes.
func (f *files) parse(id BlobID) (mail.Record, error) {
	b, err := f.blob(id)
	if err != nil {
		return nil, fmt.Errorf("record of blob %d: %w", id, err)
	}
	defer b.Close()
	p := parsers.Get().(*mail.Parser)
	defer parsers.Put(p)
	p.Reset()
	if _, err := b.WriteRange(io.Writer(p), 0, b.Size()); err != nil {
		return nil, err
	}
	return p.Finish(), nil
}
