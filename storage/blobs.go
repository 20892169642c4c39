package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// A blob row, 31 bytes and more: volume u16, references u32, size u40,
// EmailID, octets in chunk 0 u32.
//
// Chunk 0 holds the header, if it is not longer than chunkBytes, and the
// chunks from 1 on the rest in pieces of chunkBytes: a header is read without
// touching the body, and the chunk of any octet is known without a table.
type blobRow struct {
	volume uint16
	refs   uint32
	size   int64
	email  EmailID
	head   uint32
}

const blobRowBytes = 2 + 4 + 5 + 16 + 4

func (b *blobRow) encode() []byte {
	v := binary.LittleEndian.AppendUint16(make([]byte, 0, blobRowBytes), b.volume)
	v = binary.LittleEndian.AppendUint32(v, b.refs)
	v = appendUint40(v, b.size)
	v = append(v, b.email[:]...)
	return binary.LittleEndian.AppendUint32(v, b.head)
}

func decodeBlobRow(v []byte) (b blobRow, err error) {
	if len(v) < blobRowBytes {
		return b, fmt.Errorf("%w: blob row", ErrCorrupt)
	}
	b.volume = binary.LittleEndian.Uint16(v)
	b.refs = binary.LittleEndian.Uint32(v[2:])
	b.size = uint40(v[6:])
	copy(b.email[:], v[11:27])
	b.head = binary.LittleEndian.Uint32(v[27:])
	return b, nil
}

func keyBlob(id BlobID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

func keyChunk(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// A blobStore keeps the bytes of an account's messages: small ones and the
// first in mail.db, others in body volumes.
type blobStore struct {
	f       *files
	next    BlobID // the last one given out
	bodies  int64  // octets of chunks in mail.db
	volumes volumes
}

// firstBodies is how many octets of bodies mail.db takes.
func firstBodies(o *Options) int64 {
	if o.hooks != nil && o.hooks.firstBodies > 0 {
		return o.hooks.firstBodies
	}
	if strconv.IntSize == 32 {
		return 16 << 20
	}
	return 64 << 20
}

func openBlobs(f *files) (*blobStore, error) {
	b := &blobStore{f: f}
	b.volumes.b = b
	if err := b.volumes.find(); err != nil {
		return nil, err
	}
	err := f.mail.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		b.next = BlobID(max(getUint64(meta, "blob"), uint64(b.next)))
		b.bodies = int64(getUint64(meta, "bodies"))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, b.freeOrphans()
}

func (b *blobStore) close() error { return b.volumes.close() }

// stamp is part of each commit of mail.db.
func (b *blobStore) stamp(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	return putNumbers(meta, map[string]uint64{
		"counter": getUint64(meta, "counter") + 1,
		"blob":    uint64(b.next),
		"bodies":  uint64(b.bodies),
	})
}

func putNumbers(meta *bolt.Bucket, numbers map[string]uint64) error {
	for k, n := range numbers {
		if err := meta.Put([]byte(k), binary.LittleEndian.AppendUint64(nil, n)); err != nil {
			return err
		}
	}
	return nil
}

// writeBodies gives the uploads that have no blob yet an id and a volume, and
// writes what waits of those in a body volume. The chunks for mail.db wait for
// its own transaction.
func (b *blobStore) writeBodies(ups []*Upload) error {
	var out []*Upload
	for _, u := range ups {
		if u.blob == 0 {
			known, err := b.known(u)
			if err != nil {
				return err
			}
			if known {
				continue
			}
			if err := b.place(u); err != nil {
				return err
			}
		}
		if u.volume != 0 && len(u.chunks) > 0 {
			out = append(out, u)
		}
	}
	return b.volumes.write(out)
}

func (b *blobStore) known(u *Upload) (known bool, err error) {
	err = b.f.mail.View(func(tx *bolt.Tx) error {
		_, _, known = b.find(tx, u.email)
		return nil
	})
	return known, err
}

// committed ends uploads whose messages are in mail.db. What one has on disk
// of bytes that were known by then is dropped.
func (b *blobStore) committed(ups []*Upload) error {
	var errs []error
	for _, u := range ups {
		switch {
		case u.blob != 0 && !u.put:
			errs = append(errs, b.drop(u))
		case u.volume != 0 && !u.done:
			errs = append(errs, b.volumes.done(u.volume, u.promised))
		}
		u.done, u.chunks = true, nil
	}
	return errors.Join(errs...)
}

// place gives an upload its blob and its volume.
func (b *blobStore) place(u *Upload) error {
	b.next++
	u.blob = b.next
	if first := firstBodies(&b.f.a.st.opts); b.bodies < first && u.announced() <= first/2 {
		u.volume = 0
		return nil
	}
	n, err := b.volumes.room(u.announced())
	u.volume, u.promised = n, u.announced()
	return err
}

// putBody writes what mail.db holds of a new blob: its row, its record, its
// place among the known bytes, and its chunks if no volume has them.
func (b *blobStore) putBody(tx *bolt.Tx, u *Upload) error {
	if u.volume == 0 {
		n, err := putChunks(tx, u)
		if err != nil {
			return err
		}
		b.bodies += n
		if err := tx.Bucket(bucketOpen).Delete(keyBlob(u.blob)); err != nil {
			return err
		}
	}
	row := blobRow{volume: u.volume, size: u.size, email: u.email, head: u.head}
	blobs := tx.Bucket(bucketBlobs)
	blobs.FillPercent = fillAppend
	if err := blobs.Put(keyBlob(u.blob), row.encode()); err != nil {
		return err
	}
	if err := tx.Bucket(bucketEmails).Put(append([]byte(nil), u.email[:]...), keyBlob(u.blob)); err != nil {
		return err
	}
	u.put = true
	return putRecord(tx, u.blob, u.record)
}

// putChunks writes the staged chunks of an upload into its volume.
func putChunks(tx *bolt.Tx, u *Upload) (octets int64, err error) {
	chunks, err := tx.Bucket(bucketChunks).CreateBucketIfNotExists(keyBlob(u.blob))
	if err != nil {
		return 0, err
	}
	chunks.FillPercent = fillAppend
	for i, v := range u.chunks {
		octets += int64(len(v))
		if err := chunks.Put(keyChunk(u.flushed+uint32(i)), v); err != nil {
			return 0, err
		}
	}
	return octets, nil
}

// find looks for a blob by its bytes.
func (b *blobStore) find(tx *bolt.Tx, e EmailID) (id BlobID, size int64, ok bool) {
	v := tx.Bucket(bucketEmails).Get(e[:])
	if len(v) != 8 {
		return 0, 0, false
	}
	id = BlobID(binary.BigEndian.Uint64(v))
	row, err := decodeBlobRow(tx.Bucket(bucketBlobs).Get(keyBlob(id)))
	return id, row.size, err == nil
}

// link counts references to a blob. One without any is garbage for a later
// sweep.
func (b *blobStore) link(tx *bolt.Tx, id BlobID, delta int) error {
	blobs := tx.Bucket(bucketBlobs)
	key := keyBlob(id)
	row, err := decodeBlobRow(blobs.Get(key))
	if err != nil {
		return fmt.Errorf("blob %d: %w", id, err)
	}
	if delta < 0 && row.refs < uint32(-delta) {
		return fmt.Errorf("%w: blob %d has %d references", ErrCorrupt, id, row.refs)
	}
	row.refs = uint32(int64(row.refs) + int64(delta))
	return blobs.Put(key, row.encode())
}

// freeOrphans removes the chunks of uploads that a crash ended: only blobs
// that a volume lists as open can be such.
func (b *blobStore) freeOrphans() error {
	orphans, settled, err := b.openBlobs(b.f.mail)
	if err != nil || len(orphans)+len(settled) == 0 {
		return err
	}
	return b.f.mail.Update(func(tx *bolt.Tx) error { return closeBlobs(tx, orphans, settled) })
}

// openBlobs sorts the open blobs of a volume into those without a row, and
// those that have one.
func (b *blobStore) openBlobs(db *bolt.DB) (orphans, settled []BlobID, err error) {
	var open []BlobID
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketOpen).ForEach(func(k, _ []byte) error {
			open = append(open, BlobID(binary.BigEndian.Uint64(k)))
			return nil
		})
	})
	if err != nil || len(open) == 0 {
		return nil, nil, err
	}
	err = b.f.mail.View(func(tx *bolt.Tx) error {
		for _, id := range open {
			if tx.Bucket(bucketBlobs).Get(keyBlob(id)) == nil {
				orphans = append(orphans, id)
			} else {
				settled = append(settled, id)
			}
		}
		return nil
	})
	return orphans, settled, err
}

// closeBlobs takes blobs off the list of open ones, and removes the orphans.
func closeBlobs(tx *bolt.Tx, orphans, settled []BlobID) error {
	for _, id := range append(orphans[:len(orphans):len(orphans)], settled...) {
		if err := tx.Bucket(bucketOpen).Delete(keyBlob(id)); err != nil {
			return err
		}
	}
	chunks := tx.Bucket(bucketChunks)
	for _, id := range orphans {
		if chunks.Bucket(keyBlob(id)) != nil {
			if err := chunks.DeleteBucket(keyBlob(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkVolumes looks for blobs whose first chunk is missing or damaged.
func (a *Account) checkVolumes(findings []string) ([]string, error) {
	f, err := a.acquire()
	if err != nil {
		return findings, err
	}
	defer f.release()
	var ids []BlobID
	err = f.viewVolume(0, func(tx *bolt.Tx) error {
		return tx.Bucket(bucketBlobs).ForEach(func(k, _ []byte) error {
			ids = append(ids, BlobID(binary.BigEndian.Uint64(k)))
			return nil
		})
	})
	for _, id := range ids {
		if err := a.Headers([]BlobID{id}, func(int, []byte) bool { return true }); err != nil {
			findings = append(findings, err.Error())
		}
		if err := a.Records([]BlobID{id}, func(_ int, rec mail.Record) bool {
			if !rec.Valid() {
				findings = append(findings, fmt.Sprintf("blob %d has no record", id))
			}
			return true
		}); err != nil {
			findings = append(findings, fmt.Sprintf("record of blob %d: %v", id, err))
		}
	}
	return findings, err
}
