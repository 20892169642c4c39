package storage

import (
	"fmt"
	"io"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// A Blob reads the bytes of a message. It is for one goroutine. The bytes
// stay readable until Close, even when the message is expunged and forgotten
// meanwhile.
type Blob struct {
	f    *files
	id   BlobID
	row  blobRow
	hold bool    // files are to be released
	buf  *[]byte // the last chunk that was decoded
	at   int64   // its number, -1 for none
}

// Buffers for stored and for decoded chunks. The decoder wants a little room
// behind the data.
var (
	decodeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkBytes+1024); return &b }}
	storedBuffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkBytes+chunkHeader); return &b }}
)

// OpenBlob opens a message's bytes for reading. ErrUnavailable says that they
// are in a volume that is missing, or not as it should be.
func (a *Account) OpenBlob(id BlobID) (*Blob, error) {
	f, err := a.acquire()
	if err != nil {
		return nil, err
	}
	b, err := f.blob(id)
	if err != nil {
		f.release()
		return nil, err
	}
	b.hold = true
	return b, nil
}

// blob opens a message's bytes, for a caller that keeps the files open.
func (f *files) blob(id BlobID) (*Blob, error) {
	if !f.blobs.pin(id) {
		return nil, fmt.Errorf("%w: blob %d", ErrNoMessage, id)
	}
	b := &Blob{f: f, id: id, at: -1}
	// Whether the bytes are there is better known now than in the middle of
	// a literal.
	err := f.viewVolume(0, func(tx *bolt.Tx) (err error) {
		if b.row, err = readBlobRow(tx, id); err == nil && b.row.volume == 0 {
			err = b.row.stored(tx, id)
		}
		return err
	})
	if err == nil && b.row.volume != 0 {
		err = f.viewVolume(b.row.volume, func(tx *bolt.Tx) error { return b.row.stored(tx, id) })
	}
	if err != nil {
		_ = b.Close() // only unpins
		return nil, err
	}
	return b, nil
}

// Size is the message's octets.
func (b *Blob) Size() int64 { return b.row.size }

// Close ends the reading.
func (b *Blob) Close() error {
	if b.f == nil {
		return nil
	}
	b.f.blobs.unpin(b.id)
	if b.hold {
		b.f.release()
	}
	if b.buf != nil {
		decodeBuffers.Put(b.buf)
	}
	b.f, b.buf = nil, nil
	return nil
}

// stored looks whether a blob's first and last chunk are in its volume.
func (r *blobRow) stored(tx *bolt.Tx, id BlobID) error {
	if err := r.owns(tx, id); err != nil {
		return err
	}
	key := keyBlob(id)
	found := tx.Bucket(bucketHeads).Get(key) != nil
	if last := r.chunks() - 1; found && last > 0 {
		chunks := tx.Bucket(bucketChunks).Bucket(key)
		found = chunks != nil && chunks.Get(keyChunk(last)) != nil
	}
	if !found {
		return fmt.Errorf("%w: blob %d is missing in volume %d", ErrUnavailable, id, r.volume)
	}
	return nil
}

// viewVolume reads a body volume, or mail.db as volume 0.
func (f *files) viewVolume(n uint16, fn func(tx *bolt.Tx) error) error {
	if n == 0 {
		return mapError(f.mail.View(fn))
	}
	return mapError(f.blobs.volumes.view(n, fn))
}

// load makes chunk n, of size octets, the present one. It is copied out of
// the map before it is checked and decoded, so that the transaction is short
// and what was checked is what is given out.
func (b *Blob) load(n uint32, size int64) error {
	if b.at == int64(n) {
		return nil
	}
	if b.f == nil {
		return ErrClosed
	}
	stored := storedBuffers.Get().(*[]byte)
	defer storedBuffers.Put(stored)
	err := b.f.viewVolume(b.row.volume, func(tx *bolt.Tx) (err error) {
		*stored, err = copyChunk((*stored)[:0], tx, b.id, n)
		return err
	})
	if err != nil {
		return err
	}
	if b.buf == nil {
		b.buf = decodeBuffers.Get().(*[]byte)
	}
	b.at = -1
	if *b.buf, err = decodeChunk((*b.buf)[:0], *stored, place{placeBlob, uint64(b.id), n}); err != nil {
		return fmt.Errorf("blob %d: chunk %d: %w", b.id, n, err)
	}
	if int64(len(*b.buf)) != size {
		return fmt.Errorf("%w: blob %d: chunk %d has %d octets, not %d", ErrCorrupt, b.id, n, len(*b.buf), size)
	}
	b.at = int64(n)
	return nil
}

// copyChunk appends the stored form of a chunk to dst.
func copyChunk(dst []byte, tx *bolt.Tx, id BlobID, n uint32) ([]byte, error) {
	key := keyBlob(id)
	if n == 0 {
		if v := tx.Bucket(bucketHeads).Get(key); v != nil {
			willNeed(v)
			return append(dst, v...), nil
		}
	} else if chunks := tx.Bucket(bucketChunks).Bucket(key); chunks != nil {
		if err := guardBucket(tx, chunks); err != nil {
			return dst, err
		}
		want := keyChunk(n)
		c := chunks.Cursor()
		if k, v := c.Seek(want); string(k) == string(want) {
			willNeed(v)
			dst = append(dst, v...)
			if _, v := c.Next(); v != nil {
				willNeed(v) // most readers go on
			}
			return dst, nil
		}
	}
	return dst, fmt.Errorf("%w: blob %d has no chunk %d", ErrUnavailable, id, n)
}

// piece is what there is of the message at off, up to the end of its chunk.
func (b *Blob) piece(off int64) ([]byte, error) {
	n, start, end := b.row.chunkOf(off)
	if err := b.load(n, end-start); err != nil {
		return nil, err
	}
	return (*b.buf)[off-start:], nil
}

// ReadAt implements io.ReaderAt.
func (b *Blob) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("blob %d: negative offset", b.id)
	}
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
// transaction while it writes. A message that ends before is
// io.ErrUnexpectedEOF.
func (b *Blob) WriteRange(w io.Writer, off, n int64) (written int64, err error) {
	for pieces := 1; written < n; pieces++ {
		if b.row.size > trimAbove && pieces%trimChunks == 0 {
			if err := b.f.trim(b.row.volume); err != nil {
				return written, err
			}
		}
		if off >= b.row.size || off < 0 {
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
