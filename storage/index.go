package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"sync"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// search.db holds the signatures of 256 neighbouring blobs turned on their
// side: for each bit of a signature 256 bits, one a blob, so that a search
// reads 32 octets a trigram and block. It is derived: a missing, damaged or
// outdated file is made anew from the messages.
//
//	meta    "account", "format" u16 (signatureFormat), "normal" u16 (mail.NormalVersion)
//	slices  block u64, row u16 -> chunk of 64 slices of 32 octets
//	        block u64, 0xffff  -> 32 octets: the blobs that the block holds
//
// Blocks are built in the background, when their last blob id is given out:
// docs/decisions/0003. What is in no block is read by the search.
const (
	signatureFormat = 1
	blockBlobs      = 256
	sliceBytes      = blockBlobs / 8
	rowSlices       = 64
	membersRow      = 0xffff
)

var (
	bucketSlices = []byte("slices")
	errOldIndex  = errors.New("made by another version")
)

// A searchIndex is an account's search.db, opened when first needed.
type searchIndex struct {
	a    *Account
	mu   sync.RWMutex // held for writing to open, close and replace the file
	db   *bolt.DB
	busy sync.Mutex // of the one that builds
	next BlobID     // the first block that may not be there
}

func (x *searchIndex) path() string { return filepath.Join(x.a.dir, "search.db") }

// open opens the file, and makes it anew if it is not usable.
func (x *searchIndex) open() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.db != nil {
		return nil
	}
	err := x.load()
	if err == nil {
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errOldIndex) {
		x.a.st.log.Warn("search_index_remade", "account", string(x.a.id), "error", err)
	}
	x.next = 0
	if err := os.Remove(x.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := x.make(); err != nil {
		return mapError(err)
	}
	return x.load()
}

func (x *searchIndex) load() error {
	if _, err := os.Stat(x.path()); err != nil {
		return err
	}
	bo := boltOptions(&x.a.st.opts)
	bo.InitialMmapSize = 0
	db, err := bolt.Open(x.path(), 0o600, bo)
	if err != nil {
		return err
	}
	db.AllocSize = allocStep
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			if meta == nil || string(meta.Get([]byte("account"))) != string(x.a.id) ||
				getUint16(meta, "format") != signatureFormat || getUint16(meta, "normal") != mail.NormalVersion {
				return errOldIndex
			}
			return nil
		})
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	x.db = db
	return nil
}

func (x *searchIndex) make() error {
	tmp := x.path() + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	bo := boltOptions(&x.a.st.opts)
	bo.InitialMmapSize = 0
	db, err := bolt.Open(tmp, 0o600, bo)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		for k, v := range map[string][]byte{
			"account": []byte(x.a.id),
			"format":  binary.LittleEndian.AppendUint16(nil, signatureFormat),
			"normal":  binary.LittleEndian.AppendUint16(nil, mail.NormalVersion),
		} {
			if err := meta.Put([]byte(k), v); err != nil {
				return err
			}
		}
		_, err = tx.CreateBucket(bucketSlices)
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, x.path()); err != nil {
		return err
	}
	return syncDir(x.a.dir)
}

func (x *searchIndex) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.db == nil {
		return nil
	}
	err := x.db.Close()
	x.db = nil
	return err
}

func keySlices(block uint64, row uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, block), row)
}

// step builds the next block that is complete and missing. quiet is asked
// between two messages; when it says no the block is left for later.
func (x *searchIndex) step(quiet func() bool) (more bool, err error) {
	x.busy.Lock()
	defer x.busy.Unlock()
	f, err := x.a.acquire()
	if err != nil {
		return false, err
	}
	defer f.release()
	if err := x.open(); err != nil {
		return false, err
	}
	block, ids, err := x.missing(f)
	if err != nil || ids == nil {
		return false, err
	}
	b := &sliceBlock{block: block, slices: make([]byte, signatureBits*sliceBytes)}
	for _, id := range ids {
		if !quiet() {
			return false, nil
		}
		if err := b.add(x.a, id); err != nil {
			// It is left out: a search reads the message itself and says why
			// it can't.
			x.a.st.log.Warn("search_index_skipped", "account", string(x.a.id), "blob", uint64(id), "error", err)
		}
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db == nil {
		return false, nil
	}
	if err := x.db.Update(b.put); err != nil {
		return false, mapError(err)
	}
	x.next = BlobID(block + 1)
	return true, nil
}

// missing finds the next complete block to build, and its blobs.
func (x *searchIndex) missing(f *files) (block uint64, ids []BlobID, err error) {
	var last uint64
	err = guard(func() error {
		return f.mail.View(func(tx *bolt.Tx) error {
			last = getUint64(tx.Bucket(bucketMeta), "blob")
			for block = uint64(x.next); (block+1)*blockBlobs <= last; block++ {
				has := false
				if err := x.view(func(tx *bolt.Tx) error {
					has = tx.Bucket(bucketSlices).Get(keySlices(block, membersRow)) != nil
					return nil
				}); err != nil {
					return err
				}
				if has {
					x.next = BlobID(block + 1)
					continue
				}
				ids = make([]BlobID, 0, blockBlobs)
				c := tx.Bucket(bucketBlobs).Cursor()
				for k, _ := c.Seek(keyBlob(BlobID(block * blockBlobs))); k != nil; k, _ = c.Next() {
					id := BlobID(binary.BigEndian.Uint64(k))
					if uint64(id) >= (block+1)*blockBlobs {
						break
					}
					ids = append(ids, id)
				}
				return nil
			}
			return nil
		})
	})
	return block, ids, err
}

func (x *searchIndex) view(fn func(tx *bolt.Tx) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db == nil {
		return ErrClosed
	}
	return guard(func() error { return x.db.View(fn) })
}

// A sliceBlock is a block that is being built.
type sliceBlock struct {
	block   uint64
	slices  []byte
	members [sliceBytes]byte
}

func (b *sliceBlock) add(a *Account, id BlobID) error {
	var sig signature
	t := trigramer{sig: &sig}
	if err := a.normalText(id, mail.ScopeText, func(piece []byte) bool {
		t.add(piece)
		return true
	}); err != nil {
		return err
	}
	d := uint64(id) % blockBlobs
	for i, w := range sig {
		for ; w != 0; w &= w - 1 {
			bit := i*64 + bits.TrailingZeros64(w)
			b.slices[bit*sliceBytes+int(d/8)] |= 1 << (d % 8)
		}
	}
	b.members[d/8] |= 1 << (d % 8)
	return nil
}

func (b *sliceBlock) put(tx *bolt.Tx) error {
	bucket := tx.Bucket(bucketSlices)
	bucket.FillPercent = fillAppend
	const rowBytes = rowSlices * sliceBytes
	for row := range signatureBits / rowSlices {
		if err := bucket.Put(keySlices(b.block, uint16(row)), bodyCodec.encode(nil, b.slices[row*rowBytes:(row+1)*rowBytes])); err != nil {
			return err
		}
	}
	return bucket.Put(keySlices(b.block, membersRow), b.members[:])
}

// normalText gives the normal text of a stored message.
func (a *Account) normalText(id BlobID, s mail.Scope, emit func(piece []byte) bool) error {
	var rec mail.Record
	if err := a.Records([]BlobID{id}, func(_ int, r mail.Record) bool {
		rec = append(rec, r...)
		return true
	}); err != nil {
		return err
	}
	if !rec.Valid() {
		return fmt.Errorf("%w: record of blob %d", ErrCorrupt, id)
	}
	b, err := a.OpenBlob(id)
	if err != nil {
		return err
	}
	defer b.Close()
	return mail.NormalText(rec, b, s, emit)
}

// Candidates says for each blob whether its normal text may hold needle, which
// is in normal form. No is certain; yes is to be verified. Blobs in ascending
// order cost least.
func (a *Account) Candidates(blobs []BlobID, needle string) (maybe []bool, err error) {
	maybe = make([]bool, len(blobs))
	for i := range maybe {
		maybe[i] = true
	}
	want := needleBits(needle)
	if len(want) == 0 || len(blobs) == 0 {
		return maybe, nil
	}
	f, err := a.acquire() // keeps the index open too
	if err != nil {
		return nil, err
	}
	defer f.release()
	if err := a.index.open(); err != nil {
		a.st.log.Warn("search_index_failed", "account", string(a.id), "error", err)
		return maybe, nil
	}
	err = a.index.view(func(tx *bolt.Tx) error {
		q := sliceQuery{bits: want, bucket: tx.Bucket(bucketSlices)}
		for i, id := range blobs {
			if err := q.load(uint64(id) / blockBlobs); err != nil {
				return err
			}
			d := uint64(id) % blockBlobs
			maybe[i] = q.answer[d/8]&(1<<(d%8)) != 0
		}
		return nil
	})
	if errors.Is(err, ErrCorrupt) {
		a.index.discard(err)
		for i := range maybe {
			maybe[i] = true
		}
		return maybe, nil
	}
	return maybe, err
}

// discard removes a damaged file; the next use makes it anew.
func (x *searchIndex) discard(why error) {
	x.a.st.log.Warn("search_index_damaged", "account", string(x.a.id), "error", why)
	_ = x.close()
	_ = os.Remove(x.path())
	x.busy.Lock()
	x.next = 0
	x.busy.Unlock()
}

// A sliceQuery answers for one block after the other.
type sliceQuery struct {
	bits   []uint32
	bucket *bolt.Bucket
	block  uint64
	loaded bool
	answer [sliceBytes]byte
	row    []byte
	rowNum int
}

func (q *sliceQuery) load(block uint64) error {
	if q.loaded && q.block == block {
		return nil
	}
	q.block, q.loaded = block, true
	for i := range q.answer {
		q.answer[i] = 0xff
	}
	members := q.bucket.Get(keySlices(block, membersRow))
	if len(members) != sliceBytes {
		return nil // not built: all may
	}
	q.rowNum = -1
	for _, bit := range q.bits {
		row := int(bit / rowSlices)
		if row != q.rowNum {
			v := q.bucket.Get(keySlices(block, uint16(row)))
			var err error
			if q.row, err = decodeChunk(q.row[:0], v); err != nil {
				return err
			}
			if len(q.row) != rowSlices*sliceBytes {
				return fmt.Errorf("%w: row %d of block %d", ErrCorrupt, row, block)
			}
			q.rowNum = row
		}
		slice := q.row[int(bit%rowSlices)*sliceBytes:]
		for i := range q.answer {
			q.answer[i] &= slice[i]
		}
	}
	for i := range q.answer {
		q.answer[i] |= ^members[i] // what the block doesn't know may hold it
	}
	return nil
}
