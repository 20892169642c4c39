package storage

import (
	"fmt"
	"io"
	"sync"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// A Blob reads the bytes of a message. It is for one goroutine.
type Blob struct {
	a   *Account
	f   *files
	id  BlobID
	row blobRow
	buf *[]byte // the last chunk that ReadAt decoded
	at  int64   // its number, -1 for none
}

var decodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkBytes); return &b }}
var storedBuffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkBytes+chunkHeader); return &b }}

// OpenBlob opens a message's bytes for reading. They stay readable until
// Close.
func (a *Account) OpenBlob(id BlobID) (*Blob, error) {
	b := &Blob{a: a, id: id, at: -1}
	err := a.read(func(_ *files, tx *bolt.Tx) (err error) {
		b.row, err = readBlobRow(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if b.f, err = a.acquire(); err != nil {
		return nil, err
	}
	return b, nil
}

func readBlobRow(tx *bolt.Tx, id BlobID) (blobRow, error) {
	v := tx.Bucket(bucketBlobs).Get(keyBlob(id))
	if v == nil {
		return blobRow{}, fmt.Errorf("%w: blob %d", ErrNoMessage, id)
	}
	return decodeBlobRow(v)
}

// Size is the message's octets.
func (b *Blob) Size() int64 { return b.row.size }

// Close ends the reading.
func (b *Blob) Close() error {
	if b.f != nil {
		b.f.release()
		b.f = nil
	}
	if b.buf != nil {
		decodeBuffers.Put(b.buf)
		b.buf = nil
	}
	return nil
}

// chunkOf is the chunk that holds the octet at off, and where it begins.
func (r *blobRow) chunkOf(off int64) (n, start int64) {
	if off < int64(r.head) {
		return 0, 0
	}
	n = 1 + (off-int64(r.head))/chunkBytes
	return n, int64(r.head) + (n-1)*chunkBytes
}

// chunk makes chunk n the present one. It is copied out of its transaction
// before it is decoded.
func (b *Blob) chunk(n int64) error {
	if b.at == n {
		return nil
	}
	if b.f == nil {
		return ErrClosed
	}
	stored := storedBuffers.Get().(*[]byte)
	defer storedBuffers.Put(stored)
	err := b.f.viewVolume(b.row.volume, func(tx *bolt.Tx) error {
		v := storedChunk(tx, b.id, uint32(n))
		if v == nil {
			return fmt.Errorf("%w: chunk %d of blob %d", ErrUnavailable, n, b.id)
		}
		willNeed(v)
		*stored = append((*stored)[:0], v...)
		return nil
	})
	if err != nil {
		return err
	}
	if b.buf == nil {
		b.buf = decodeBuffers.Get().(*[]byte)
	}
	b.at = -1
	if *b.buf, err = decodeChunk((*b.buf)[:0], *stored); err != nil {
		return fmt.Errorf("blob %d: %w", b.id, err)
	}
	b.at = n
	return nil
}

func storedChunk(tx *bolt.Tx, id BlobID, n uint32) []byte {
	chunks := tx.Bucket(bucketChunks).Bucket(keyBlob(id))
	if chunks == nil {
		return nil
	}
	return chunks.Get(keyChunk(n))
}

// viewVolume reads a volume, or mail.db as volume 0.
func (f *files) viewVolume(n uint16, fn func(tx *bolt.Tx) error) error {
	return mapError(guard(func() error {
		if n == 0 {
			return f.mail.View(fn)
		}
		return f.blobs.volumes.view(n, fn)
	}))
}

// piece is what there is of the message at off, up to the end of its chunk.
func (b *Blob) piece(off int64) ([]byte, error) {
	n, start := b.row.chunkOf(off)
	if err := b.chunk(n); err != nil {
		return nil, err
	}
	if off-start >= int64(len(*b.buf)) {
		return nil, fmt.Errorf("%w: blob %d is shorter than its size", ErrCorrupt, b.id)
	}
	return (*b.buf)[off-start:], nil
}

// ReadAt implements io.ReaderAt.
func (b *Blob) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= b.row.size {
			return n, io.EOF
		}
		piece, err := b.piece(off)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], piece)
		n += k
		off += int64(k)
	}
	return n, nil
}

// WriteRange writes n octets from off on to w, a chunk at a time, and holds no
// transaction while it writes.
func (b *Blob) WriteRange(w io.Writer, off, n int64) (written int64, err error) {
	for written < n {
		if off >= b.row.size {
			return written, io.ErrUnexpectedEOF
		}
		piece, err := b.piece(off)
		if err != nil {
			return written, err
		}
		piece = piece[:min(int64(len(piece)), n-written)]
		k, err := w.Write(piece)
		written += int64(k)
		off += int64(k)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// headerBatch is how many stored headers are copied out of one transaction.
const headerBatch = 64

// Headers calls f with the headers of blobs, at most ReadRows, in their order
// and with the empty line, until it returns false. header is only valid in f.
// No transaction is open while f runs.
func (a *Account) Headers(blobs []BlobID, f func(i int, header []byte) bool) error {
	fl, err := a.acquire()
	if err != nil {
		return err
	}
	defer fl.release()
	var stored, header []byte
	var rows [headerBatch]blobRow
	for i := 0; i < len(blobs); i += headerBatch {
		part := blobs[i:min(i+headerBatch, len(blobs))]
		var ends [headerBatch]int
		stored, err = fl.copyHeaders(part, stored[:0], &rows, &ends)
		if err != nil {
			return err
		}
		start := 0
		for j := range part {
			header = header[:0]
			if ends[j] > start {
				if header, err = decodeChunk(header, stored[start:ends[j]]); err != nil {
					return fmt.Errorf("blob %d: %w", part[j], err)
				}
			}
			start = ends[j]
			if rows[j].head == chunkBytes { // it goes on in the body's chunks
				if header, err = a.longHeader(part[j]); err != nil {
					return err
				}
			}
			if !f(i+j, header) {
				return nil
			}
		}
	}
	return nil
}

// copyHeaders copies the stored first chunks of blobs, those in mail.db in
// one transaction.
func (f *files) copyHeaders(blobs []BlobID, stored []byte, rows *[headerBatch]blobRow, ends *[headerBatch]int) ([]byte, error) {
	err := f.viewVolume(0, func(tx *bolt.Tx) error {
		for j, id := range blobs {
			row, err := readBlobRow(tx, id)
			if err != nil {
				return err
			}
			rows[j] = row
			if row.volume == 0 {
				stored = append(stored, storedChunk(tx, id, 0)...)
			}
			ends[j] = len(stored)
		}
		return nil
	})
	if err != nil {
		return stored, err
	}
	for j := 0; j < len(blobs); {
		k := j
		for k < len(blobs) && rows[k].volume == rows[j].volume {
			k++
		}
		if rows[j].volume != 0 {
			if stored, err = f.copyFrom(rows[j].volume, blobs, j, k, stored, ends); err != nil {
				return stored, err
			}
		}
		j = k
	}
	return stored, nil
}

// copyFrom copies the first chunks of blobs[j:k], which are in one volume,
// and moves the ends of those after them.
func (f *files) copyFrom(volume uint16, blobs []BlobID, j, k int, stored []byte, ends *[headerBatch]int) ([]byte, error) {
	start := 0
	if j > 0 {
		start = ends[j-1]
	}
	tail := append([]byte(nil), stored[start:]...)
	stored = stored[:start]
	err := f.viewVolume(volume, func(tx *bolt.Tx) error {
		for ; j < k; j++ {
			stored = append(stored, storedChunk(tx, blobs[j], 0)...)
			ends[j] = len(stored)
		}
		return nil
	})
	moved := len(stored) - start
	for ; k < len(blobs); k++ {
		ends[k] += moved
	}
	return append(stored, tail...), err
}

// longHeader reads a header that has more than one chunk, up to 1 MB.
func (a *Account) longHeader(id BlobID) (header []byte, err error) {
	size := int64(0)
	err = a.Records([]BlobID{id}, func(_ int, rec mail.Record) bool {
		size = rec.HeaderSize()
		return true
	})
	if err != nil {
		return nil, err
	}
	b, err := a.OpenBlob(id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	header = make([]byte, min(size, b.Size(), 1<<20))
	_, err = b.ReadAt(header, 0)
	return header, err
}
