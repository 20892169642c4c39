package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// volumeLimit is the largest size of a body volume on this machine
// (STORAGE.md §7): bbolt maps files in powers of two, and each commit writes
// down what is free in the file.
func volumeLimit(o *Options) int64 {
	if o.hooks != nil && o.hooks.volume > 0 {
		return o.hooks.volume
	}
	return o.maps().limits.volume
}

// A volume is one body-NNNN.db. It is opened when needed, for writing only
// when it is written to: a sealed one costs 0.3 ms and no freelist then.
type volume struct {
	vs   *volumes
	n    uint16
	path string
	used atomic.Int64 // when, in nanoseconds

	// mu is held for reading while db is used, so that who closes it, or
	// opens it for writing, waits for the readers.
	mu sync.RWMutex
	// wanted counts who wants mu for writing, to open the file otherwise.
	wanted atomic.Int32
	db     *boltFile
	write  bool
	volumeState

	// Of the writer's goroutine.
	settled []BlobID // listed as open, and have their rows since
	unfit   bool     // writing failed; what can be read is read
	// Of a volume that is ahead: how far its blobs were compared with the
	// index, and that this is over for now (accept.go).
	accepted BlobID
	stays    bool
}

// A volumeState is what the opening of a volume shows.
type volumeState struct {
	refused error // not ours, or of a later format
	// behind: the index saw a later state of the file. What is missing in it
	// can come back with the right file.
	behind bool
	// ahead: the file saw a later state of the index, or another history of the
	// account (runs.go). Blobs that the index doesn't know may have been
	// acknowledged, so nothing is swept.
	ahead   bool
	marked  bool // blobs are listed as open
	highest BlobID
}

// hold returns with the volume open, and mu held for reading.
func (v *volume) hold(write bool) error {
	v.used.Store(time.Now().UnixNano())
	for {
		v.mu.RLock()
		if v.db != nil && (v.write || !write) && !v.db.broken.Load() {
			return nil
		}
		v.mu.RUnlock()
		if err := v.open(write); err != nil {
			return err
		}
	}
}

// beginPin begins a transaction that a pin holds.
func (v *volume) beginPin() (*pinned, error) {
	if err := v.hold(false); err != nil {
		return nil, err
	}
	return v.pinHeld()
}

// pinHeld is that for who holds the volume.
func (v *volume) pinHeld() (*pinned, error) {
	db := v.db
	p, err := db.beginPin(v.mu.RUnlock)
	if err == nil {
		p.waited = func() bool { return db.remaps.Load() || v.wanted.Load() > 0 }
	}
	return p, err
}

// view runs fn with a read transaction on the volume.
func (v *volume) view(fn func(tx *bolt.Tx) error) error {
	if err := v.hold(false); err != nil {
		return err
	}
	defer v.mu.RUnlock()
	return v.db.View(fn)
}

// state opens the volume and says what it is like.
func (v *volume) state() (volumeState, error) {
	if err := v.hold(false); err != nil {
		return volumeState{}, err
	}
	defer v.mu.RUnlock()
	return v.volumeState, nil
}

// commit runs fn in a transaction on the volume, which counts it.
func (v *volume) commit(fn func(tx *bolt.Tx) error) error {
	if err := v.hold(true); err != nil {
		return err
	}
	defer v.mu.RUnlock()
	if v.ahead || v.behind || v.unfit {
		return fmt.Errorf("%w: %s is not as the index knows it and is not written to", ErrUnavailable, v.path)
	}
	if err := v.vs.b.begin(); err != nil {
		return err
	}
	err := v.db.Update(v.counted(fn))
	switch {
	case errors.Is(err, berrors.ErrMaxSizeReached):
		// The next upload gets another volume; room is kept so that this one
		// should not have met it.
		v.unfit = true
		err = fmt.Errorf("%w: %s: %v", ErrUnavailable, v.path, err)
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrUnavailable):
		v.unfit = true
		err = fmt.Errorf("%s: %w", v.path, err)
		v.vs.b.f.a.st.log.Error("volume_damaged", "account", string(v.vs.b.f.a.id), "error", err)
	}
	return err
}

// counted is fn as a transaction of the volume.
func (v *volume) counted(fn func(tx *bolt.Tx) error) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		settled, open := len(v.settled), tx.Bucket(bucketOpen)
		for _, id := range v.settled {
			if err := open.Delete(keyBlob(id)); err != nil {
				return err
			}
		}
		if err := fn(tx); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		counter := getUint64(meta, "counter") + 1
		tx.OnCommit(func() {
			v.settled = v.settled[settled:]
			v.vs.saw(v.n, counter)
		})
		return v.stamp(meta, counter)
	}
}

// stamp is part of each commit of a volume. Its highest blob only rises: the
// file may know one of a crash that mail.db doesn't, and that nobody has looked
// for yet as nothing was uploaded (lookAtLast).
func (v *volume) stamp(meta *bolt.Bucket, counter uint64) error {
	b := v.vs.b
	return errors.Join(putUint64(meta, "counter", counter), putUint64(meta, "blob", max(getUint64(meta, "blob"), uint64(b.next))),
		putUint64(meta, "index", b.counter.Load()), meta.Put([]byte("run"), le32(b.run)))
}

// open opens the volume, or does nothing if it is open as asked.
func (v *volume) open(write bool) error {
	v.vs.makeRoom(v)
	v.wanted.Add(1)
	defer v.wanted.Add(-1)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.vs.isClosed():
		return ErrClosed
	case v.db != nil && (v.write || !write) && !v.db.broken.Load():
		return nil
	case v.refused != nil:
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, v.path, v.refused)
	case v.db != nil:
		err := v.db.Close()
		v.db = nil
		v.vs.maps().give(v)
		if err != nil {
			return err
		}
	}
	o := &v.vs.b.f.a.st.opts
	info, err := os.Stat(v.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // bolt would make an empty one
	}
	bo, octets := volumeOptions(o, info.Size(), write)
	if err := v.vs.maps().take(v, octets, false, mapPatience); err != nil {
		return fmt.Errorf("%s: %w", v.path, err)
	}
	db, err := v.vs.maps().openMap(v.path, bo)
	if err != nil {
		v.vs.maps().give(v)
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, v.path, err)
	}
	db.AllocSize = int(min(allocStep, volumeLimit(o)/16))
	if err := db.View(v.inspect); err != nil {
		v.vs.maps().give(v)
		return errors.Join(fmt.Errorf("%w: %s: %w", ErrUnavailable, v.path, err), db.Close())
	}
	o.opened(v.path, db.DB)
	v.db, v.write = db, write
	return nil
}

// volumeOptions are those for a volume of so many octets, and how much of the
// address space is mapped with them: all of one that is written to, so that
// it isn't mapped anew under its readers, nor can fail to be.
func volumeOptions(o *Options, size int64, write bool) (bo *bolt.Options, octets int64) {
	bo = boltOptions(o)
	bo.ReadOnly, bo.InitialMmapSize = !write, 0
	if !write {
		return bo, mapSize(size)
	}
	octets = mapSize(max(size, volumeLimit(o)))
	bo.InitialMmapSize = int(octets)
	if o.maps().hard > 0 {
		bo.MaxSize = int(volumeLimit(o))
	}
	return bo, octets
}

// inspect checks that the file is this account's and that we can read it, and
// compares it with what the index saw of it.
func (v *volume) inspect(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	b := v.vs.b
	switch {
	case meta == nil || tx.Bucket(bucketHeads) == nil || tx.Bucket(bucketChunks) == nil || tx.Bucket(bucketOpen) == nil:
		v.refused = errors.New("not a nestbox volume")
	case getUint16(meta, "min_reader") > b.f.a.st.opts.format():
		v.refused = &FormatError{File: v.path, MinReader: int(getUint16(meta, "min_reader")), Known: int(b.f.a.st.opts.format())}
	case string(meta.Get([]byte("account"))) != string(b.f.a.id) || getUint16(meta, "volume") != v.n:
		v.refused = fmt.Errorf("it is volume %d of account %s and was put here by hand", getUint16(meta, "volume"), meta.Get([]byte("account")))
	}
	if v.refused != nil {
		b.f.a.st.log.Error("volume_refused", "account", string(b.f.a.id), "file", v.path, "error", v.refused)
		return v.refused
	}
	v.highest = BlobID(getUint64(meta, "blob"))
	k, _ := tx.Bucket(bucketOpen).Cursor().First()
	v.marked = v.marked || k != nil
	behind, ahead := getUint64(meta, "counter") < v.vs.lastSeen(v.n), !b.knows(getUint32(meta, "run"), getUint64(meta, "index"))
	if behind && !v.behind || ahead && !v.ahead {
		b.f.a.st.log.Warn("volume_mismatch", "account", string(b.f.a.id), "file", v.path, "behind", behind, "ahead", ahead)
	}
	v.behind, v.ahead = behind, ahead
	return nil
}

// size is how much of the file was ever in use. What is free in it may be in
// pieces that no chunk finds room in, so nobody counts on it.
func (v *volume) size() (octets int64, err error) {
	if err := v.hold(true); err != nil {
		return 0, err
	}
	defer v.mu.RUnlock()
	err = v.db.View(func(tx *bolt.Tx) error {
		octets = tx.Size()
		return nil
	})
	return octets, err
}

func (v *volume) lastUsed() int64 { return v.used.Load() }

// closeIdle closes the file if nobody uses it at the moment, and reports
// whether it did.
func (v *volume) closeIdle() bool {
	if !v.mu.TryLock() {
		return false
	}
	defer v.mu.Unlock()
	if v.db == nil {
		return false
	}
	if err := v.db.Close(); err != nil {
		v.vs.b.f.a.st.log.Warn("volume_close_failed", "file", v.path, "error", err)
	}
	v.db, v.write = nil, false
	v.vs.maps().give(v)
	return true
}

// createVolume makes an empty volume under a temporary name, so that a power
// cut leaves all of it or nothing.
func createVolume(b *blobStore, n uint16, path string) error {
	if err := b.begin(); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bo := boltOptions(&b.f.a.st.opts)
	bo.InitialMmapSize = 0 // the file would be made that large at once
	db, err := openMap(tmp, bo)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketHeads, bucketChunks, bucketOpen} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put([]byte("format"), binary.LittleEndian.AppendUint16(nil, b.f.a.st.opts.format())),
			meta.Put([]byte("min_reader"), binary.LittleEndian.AppendUint16(nil, b.f.a.st.opts.format())),
			meta.Put([]byte("account"), []byte(b.f.a.id)),
			meta.Put([]byte("volume"), binary.LittleEndian.AppendUint16(nil, n)),
			putUint64(meta, "counter", 1),
			putUint64(meta, "blob", uint64(b.next)),
			putUint64(meta, "index", b.counter.Load()), meta.Put([]byte("run"), le32(b.run)))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
