package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

const (
	// headerBatch is how many stored headers are copied out of one transaction.
	headerBatch = 128
	// headerBuffer is about how many octets of them.
	headerBuffer = 256 << 10
	// longHeader is how much of a header Headers gives at most.
	longHeader = 1 << 20
)

// A headerCopy is a header on its way out of a batch: where its chunk is in
// the batch's buffer.
type headerCopy struct {
	row        blobRow
	found      bool
	start, end int
}

// Headers calls f with the headers of blobs, at most ReadRows, in their order
// and with the empty line, until it returns false. header is only valid in f,
// and empty where it can't be read: OpenBlob says why. No transaction is open
// while f runs.
func (a *Account) Headers(blobs []BlobID, f func(i int, header []byte) bool) error {
	fl, err := a.acquire()
	if err != nil {
		return err
	}
	defer fl.release()
	stored, header := storedBuffers.Get().(*[]byte), decodeBuffers.Get().(*[]byte)
	defer storedBuffers.Put(stored)
	defer decodeBuffers.Put(header)
	var copies [headerBatch]headerCopy
	for i := 0; i < len(blobs); i += headerBatch {
		part := blobs[i:min(i+headerBatch, len(blobs))]
		if *stored, err = fl.copyHeaders(part, (*stored)[:0], copies[:len(part)]); err != nil {
			return err
		}
		for j := range part {
			if *header, err = fl.header((*header)[:0], part[j], &copies[j], *stored); err != nil {
				fl.a.st.log.Error("blob_unreadable", "account", string(fl.a.id), "error", err)
				*header = (*header)[:0]
			}
			if !f(i+j, *header) {
				return nil
			}
		}
	}
	return nil
}

// header decodes a copied header, or reads one that was not copied.
func (f *files) header(dst []byte, id BlobID, c *headerCopy, stored []byte) ([]byte, error) {
	switch {
	case !c.found:
		return dst, nil
	case c.start == c.end:
		return f.readHeader(dst, id, int64(c.row.head))
	case c.row.head == chunkBytes && c.row.size > chunkBytes: // it may go on in the body's chunks
		size := int64(0)
		err := f.records([]BlobID{id}, func(_ int, rec mail.Record) bool {
			size = min(rec.HeaderSize(), longHeader)
			return true
		})
		if err != nil {
			return dst, err
		}
		return f.readHeader(dst, id, size)
	}
	dst, err := decodeChunk(dst, stored[c.start:c.end], place{kind: placeBlob, id: uint64(id)})
	if err != nil {
		return dst, fmt.Errorf("blob %d: header: %w", id, err)
	}
	if len(dst) != int(c.row.head) {
		return dst, fmt.Errorf("%w: blob %d: header has %d octets, not %d", ErrCorrupt, id, len(dst), c.row.head)
	}
	return dst, nil
}

// readHeader reads the first octets of a message.
func (f *files) readHeader(dst []byte, id BlobID, size int64) ([]byte, error) {
	b, err := f.blob(id)
	if err != nil {
		return dst, err
	}
	defer b.Close()
	dst = slices.Grow(dst, int(size))[:size]
	n, err := b.ReadAt(dst, 0)
	if err == io.EOF {
		err = nil
	}
	return dst[:n], err
}

// copyHeaders copies the first chunks of blobs, all those of a volume in one
// transaction, as far as the buffer goes. Of the others the copy is empty.
func (f *files) copyHeaders(blobs []BlobID, stored []byte, copies []headerCopy) ([]byte, error) {
	var others []uint16
	err := f.viewVolume(0, func(tx *bolt.Tx) error {
		rows, heads := newFinder(tx, bucketBlobs), newFinder(tx, bucketHeads)
		for j, id := range blobs {
			c := &copies[j]
			*c = headerCopy{start: len(stored), end: len(stored)}
			row, err := decodeBlobRow(rows.find(id))
			if err != nil {
				continue
			}
			c.row, c.found = row, true
			switch {
			case row.volume == 0:
				stored = c.copy(stored, heads, id)
			case !slices.Contains(others, row.volume):
				others = append(others, row.volume)
			}
		}
		return nil
	})
	if err != nil {
		return stored, err
	}
	for _, volume := range others {
		err := f.viewVolume(volume, func(tx *bolt.Tx) error {
			heads := newFinder(tx, bucketHeads)
			for j, id := range blobs {
				if c := &copies[j]; c.found && c.row.volume == volume && c.row.owns(tx, id) == nil {
					stored = c.copy(stored, heads, id)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrCorrupt) {
			return stored, err
		}
	}
	return stored, nil
}

func (c *headerCopy) copy(stored []byte, heads *finder, id BlobID) []byte {
	start := len(stored)
	if start < headerBuffer {
		v := heads.find(id)
		willNeed(v)
		stored = append(stored, v...)
	}
	c.start, c.end = start, len(stored) // only now: reading a damaged page does not return
	return stored
}

// A finder looks up blobs by their ids. Neighbours in ascending order cost
// next to nothing, and none costs an allocation.
type finder struct {
	c    *bolt.Cursor
	k, v []byte
	want [8]byte
}

func newFinder(tx *bolt.Tx, bucket []byte) *finder { return &finder{c: tx.Bucket(bucket).Cursor()} }

// find is the value of id, nil if there is none.
func (f *finder) find(id BlobID) []byte {
	binary.BigEndian.PutUint64(f.want[:], uint64(id))
	if f.k != nil && bytes.Compare(f.k, f.want[:]) < 0 {
		f.k, f.v = f.c.Next()
	}
	if !bytes.Equal(f.k, f.want[:]) {
		f.k, f.v = f.c.Seek(f.want[:])
	}
	if !bytes.Equal(f.k, f.want[:]) {
		return nil
	}
	return f.v
}
