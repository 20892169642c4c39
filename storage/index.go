package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"nestbox/mail"
)

// search.db, derived from the blobs: a damaged or foreign one is made anew.
//
//	meta        "format", "min_reader" u16 (signatureFormat), "account", "normal" u16:
//	            mail.NormalVersion, "token" u64 (indextoken.go)
//	signatures  block u64 (BlobID/256) -> bucket of
//	              row u8   -> chunk (chunk.go) of slices 64*row to 64*row+63
//	              "blobs"  -> 32 octets: which of the blobs have a signature
//
// A block is built when all its blobs have been given out, in steps in quiet
// moments (docs/decisions/0003-signatures-in-background.md). Blobs without a
// signature are candidates of every search.
var (
	bucketSignatures = []byte("signatures")
	keyCovered       = []byte("blobs")
)

const signatureFormat = 1

// A searchIndex is an account's search.db.
type searchIndex struct {
	a *Account

	mu      sync.RWMutex // held for reading while db is used
	db      *boltFile    // nil until needed
	files   *files       // with which it is open, or was
	closed  bool         // together with them
	damaged bool         // to be made anew
	token   uint64       // of the file
	mapped  int64        // what of the address space it has
	used    atomic.Int64 // when, in nanoseconds

	busy  sync.Mutex // of who builds
	built *files     // what is known below was learned with
	next  uint64     // the first block that is not there
	block *signatureBlock
	uses  uint64 // of the account, when it was last looked at
}

func (x *searchIndex) path() string { return filepath.Join(x.a.dir, "search.db") }

// use runs fn on search.db, for a caller that keeps the account's files f
// open. A file that turns out to be damaged is given up, and made anew by the
// next step.
func (x *searchIndex) use(f *files, fn func(db *boltFile) error) error {
	x.used.Store(time.Now().UnixNano())
	for {
		x.mu.RLock()
		if x.db != nil && x.files == f {
			break
		}
		x.mu.RUnlock()
		if err := x.open(f); err != nil {
			return err
		}
	}
	damaged := x.damaged
	var err error
	if damaged {
		err = fmt.Errorf("%w: %s", ErrCorrupt, x.path())
	} else {
		err = fn(x.db)
	}
	x.mu.RUnlock()
	if errors.Is(err, errNoMap) {
		x.closeIdle()
		return err
	}
	if !damaged && (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnavailable)) {
		x.a.st.log.Warn("search_index_damaged", "account", string(x.a.id), "error", err)
		x.mu.Lock()
		x.damaged = true
		x.mu.Unlock()
		x.plan()
	}
	return mapError(err)
}

// open opens search.db, and makes it if there is none that fits.
func (x *searchIndex) open(f *files) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.files != f {
		x.files, x.closed = f, false
	}
	if x.closed {
		return ErrClosed
	}
	if x.db != nil {
		return nil
	}
	x.damaged = false
	known, err := x.known(f)
	if err != nil {
		return err
	}
	if err := x.takeMap(); err != nil {
		return err
	}
	db, err := x.load(known)
	if err == nil && db != nil {
		x.db = db
		return nil
	}
	if err != nil && !errors.Is(err, ErrCorrupt) && !damagedFile(err) {
		x.maps().give(x)
		return mapError(err)
	}
	if err = x.create(known.now); err != nil {
		x.maps().give(x)
	}
	return mapError(err)
}

// load opens the file that is there; nil if it is not ours, or of another time
// than mail.db.
func (x *searchIndex) load(known indexTokens) (*boltFile, error) {
	db, err := x.maps().openMap(x.path(), x.options())
	if err != nil {
		return nil, err
	}
	fits := false
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		fits = meta != nil && tx.Bucket(bucketSignatures) != nil && getUint16(meta, "format") == signatureFormat &&
			getUint16(meta, "normal") == mail.NormalVersion && string(meta.Get([]byte("account"))) == string(x.a.id)
		if fits {
			x.token = getUint64(meta, "token")
			fits = x.token == known.now || x.token == known.before
		}
		return nil
	})
	if err != nil || !fits {
		return nil, errors.Join(err, db.Close())
	}
	db.AllocSize = searchGrow
	return db, nil
}

// damagedFile tells what bbolt says of a file that is none of its from what
// the system says.
func damagedFile(err error) bool {
	var errno syscall.Errno
	return !errors.As(err, &errno) && !errors.Is(err, berrors.ErrTimeout)
}

// create makes an empty search.db. It needs no care: a half made one is made
// again. The lock is held.
func (x *searchIndex) create(token uint64) error {
	if err := os.RemoveAll(x.path()); err != nil {
		return err
	}
	db, err := openMap(x.path(), x.options())
	if err != nil {
		return err
	}
	db.AllocSize = searchGrow
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketSignatures); err != nil {
			return err
		}
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		return errors.Join(
			meta.Put([]byte("format"), binary.LittleEndian.AppendUint16(nil, signatureFormat)),
			meta.Put([]byte("min_reader"), binary.LittleEndian.AppendUint16(nil, signatureFormat)),
			meta.Put([]byte("account"), []byte(x.a.id)),
			putUint64(meta, "token", token),
			meta.Put([]byte("normal"), binary.LittleEndian.AppendUint16(nil, mail.NormalVersion)))
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	x.db, x.token = db, token
	return nil
}

// renew drops a damaged file.
func (x *searchIndex) renew() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.damaged && x.db != nil {
		_ = x.db.Close() // what it says doesn't matter any more
		x.db, x.built = nil, nil
		x.maps().give(x)
		_ = os.Remove(x.path())
	}
}

// close closes search.db with the account's files.
func (x *searchIndex) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.db == nil {
		return nil
	}
	return x.closeFile()
}

// plan has the next quiet moment build what is missing.
func (x *searchIndex) plan() {
	wr := &x.a.writer
	wr.mu.Lock()
	defer wr.mu.Unlock()
	if !wr.running {
		wr.later()
	}
}

// step builds the signatures of the next block that is complete and missing.
// quiet is asked before each message: if it says no, the next step goes on
// from there.
func (x *searchIndex) step(quiet func() bool) (more bool, err error) {
	x.busy.Lock()
	defer x.busy.Unlock()
	f, err := x.a.acquire()
	if err != nil {
		return false, err
	}
	defer f.release()
	x.renew()
	if x.block == nil || x.built != f {
		if err := x.begin(f); err != nil || x.block == nil {
			return false, err
		}
	}
	for x.block.next < signatureBlobs {
		if !quiet() {
			return false, nil
		}
		x.giveWay()
		if err := x.add(f, x.block); err != nil {
			return false, err
		}
	}
	if err := x.write(f, x.block); err != nil {
		return false, err
	}
	x.next, x.block = x.block.number+1, nil
	return true, nil
}

// giveWay lets those go first who read just now, for a while: a client that
// reads a mailbox must not share the processor with what can wait.
func (x *searchIndex) giveWay() {
	const pause, patience = 10 * time.Millisecond, 20
	for range patience {
		x.a.mu.Lock()
		uses, shut := x.a.uses, x.a.shut
		x.a.mu.Unlock()
		if uses == x.uses || shut {
			return
		}
		x.uses = uses
		time.Sleep(pause)
	}
}

// begin starts the first block that is missing, if all its blobs are there.
func (x *searchIndex) begin(f *files) error {
	x.block = nil
	if x.built != f {
		x.next, x.built = 0, f
	}
	if found, err := x.findNext(f); err != nil || !found {
		return err
	}
	if x.full() {
		return nil // the rest is read
	}
	return x.a.exec(func(f *files) error {
		if f.blobs.complete(x.next) {
			x.block = newSignatureBlock(x.next)
		}
		return nil
	})
}

// complete reports whether all blobs of a block are there: no id is left to
// give out, and none is under way. For the writer's goroutine.
func (b *blobStore) complete(block uint64) bool {
	if uint64(b.next) < (block+1)*signatureBlobs-1 {
		return false
	}
	for id := range b.live {
		if uint64(id)/signatureBlobs == block {
			return false
		}
	}
	return true
}

// add adds the next blob to a block. One that can't be read stays without a
// signature: a search reads it, and says why it can't.
func (x *searchIndex) add(f *files, s *signatureBlock) error {
	id := BlobID(s.number*signatureBlobs) + BlobID(s.next)
	blob, err := f.blob(id)
	if err != nil {
		if errors.Is(err, ErrClosed) {
			return err
		}
		s.end(false)
		return nil
	}
	defer blob.Close()
	s.begin()
	covered := false
	err = f.records([]BlobID{id}, func(_ int, rec mail.Record) bool {
		if covered = rec.Valid(); covered {
			err = mail.NormalText(rec, blob, mail.ScopeText, func(piece []byte) bool {
				covered = s.add(piece)
				return covered
			})
			covered = covered && err == nil
		}
		return true
	})
	if err != nil && errors.Is(err, ErrClosed) {
		return err
	}
	s.end(covered && err == nil)
	return nil
}

// write stores a complete block.
func (x *searchIndex) write(f *files, s *signatureBlock) error {
	x.grow()
	token, err := x.announce(f)
	if err != nil {
		return err
	}
	return x.use(f, func(db *boltFile) error {
		return db.Update(func(tx *bolt.Tx) error {
			if err := x.put(tx, token); err != nil {
				return err
			}
			all := tx.Bucket(bucketSignatures)
			all.FillPercent = fillAppend
			key := binary.BigEndian.AppendUint64(nil, s.number)
			if old := all.Bucket(key); old != nil {
				if err := guardBucket(tx, old); err != nil {
					return err
				}
				if err := all.DeleteBucket(key); err != nil {
					return err
				}
			}
			block, err := all.CreateBucket(key)
			if err != nil { // something else stands there
				return fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			block.FillPercent = fillAppend
			for n := range signatureSlices / rowSlices {
				v, err := bodyCodec.encode(nil, s.row(n))
				if err != nil {
					return err
				}
				if err := block.Put([]byte{byte(n)}, place{placeSignatures, s.number, uint32(n)}.seal(v)); err != nil {
					return err
				}
			}
			return block.Put(keyCovered, s.covered[:])
		})
	})
}
