package storage

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// A boltFile is a bbolt file that may be damaged, or go away under its map.
// bbolt expects neither: it panics, and if it does so while it begins or ends a
// transaction it keeps its locks, so that the next one, and Close, would wait
// for ever. Here such a file is given up: it answers ErrUnavailable until it
// is opened again. A panic in the middle is ErrCorrupt, or ErrUnavailable if
// the disk didn't answer, and the file stays in use.
//
// A compaction puts another file in its place (replace). Who reads the former
// one goes on with that; it is closed when the last of them ends.
type boltFile struct {
	*bolt.DB // of the present file; of who knows that it isn't replaced just now
	path     string
	broken   atomic.Bool
	faulty   atomic.Bool // reading it failed at least once
	// growing, if set, is asked before each Update, with the file's size.
	growing func(size int64) error
	// remaps: the transaction that writes, or is about to, may map the file
	// anew, which waits for all that read.
	remaps atomic.Bool
	// reading counts the reading transactions that are open, or about to be.
	reading atomic.Int32

	mu  sync.Mutex
	now *boltHandle
}

// A boltHandle is an open file of a boltFile.
type boltHandle struct {
	db     *bolt.DB
	file   *os.File
	mapped int // octets of the map at least; it isn't made anew below that
	users  int
	former bool // to be closed when users is 0
	broken bool // one of its transactions may hold its locks for ever
}

// openMap opens a bbolt file. A damaged one is ErrCorrupt: bbolt panics over
// a bad list of free pages, with the file open and locked.
func openMap(path string, bo *bolt.Options) (*boltFile, error) {
	h := &boltHandle{mapped: bo.InitialMmapSize}
	bo.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		h.file, err = os.OpenFile(name, flag, mode)
		return h.file, err
	}
	_, err := survived(func() (err error) {
		h.db, err = bolt.Open(path, 0o600, bo)
		return err
	})
	if err != nil {
		if h.file != nil {
			_ = h.leave() // bbolt has done so, unless it panicked
		}
		if damagedFile(err) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, berrors.ErrMaxSizeReached) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return nil, err
	}
	b := &boltFile{DB: h.db, path: path, now: h}
	if err := b.View(guardFile); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), b.Close())
	}
	return b, nil
}

// View is bolt.DB's.
func (b *boltFile) View(fn func(tx *bolt.Tx) error) error {
	b.reading.Add(1)
	defer b.reading.Add(-1)
	return b.run(false, fn)
}

// Update is bolt.DB's.
func (b *boltFile) Update(fn func(tx *bolt.Tx) error) error { return b.run(true, fn) }

func (b *boltFile) run(write bool, fn func(tx *bolt.Tx) error) error {
	h, err := b.use()
	if err != nil {
		return err
	}
	defer b.done(h)
	do := h.db.View
	if write {
		do = h.db.Update
		if err := b.mayGrow(h); err != nil {
			return err
		}
		defer b.remaps.Store(false)
	}
	var began *bolt.Tx
	var result error
	done := false
	panicked, err := survived(func() error {
		return do(func(tx *bolt.Tx) error {
			began = tx
			result = fn(tx)
			done = true
			return result
		})
	})
	if done && result == nil && errors.Is(err, syscall.EIO) {
		// What a failed sync left in the page cache need not be on the disk: it
		// is read again before more is built on it.
		b.failed(h, true)
	}
	if write && err != nil && strings.HasPrefix(err.Error(), noMap) {
		// The commit is undone, but the file has no map any more: it is opened
		// again, as large as it was.
		b.broken.Store(true)
		err = fmt.Errorf("%w: %s: %w", errNoMap, b.path, err)
	}
	if panicked {
		// A transaction that has ended belongs to no file any more. One that
		// failed in its commit may hold the lock of the map, whatever it says.
		b.failed(h, began == nil || began.DB() != nil || done)
	}
	return err
}

// noMap is how bbolt begins to say that it couldn't map a file that grows.
const noMap = "mmap allocate error"

var errNoMap = fmt.Errorf("%w: no address space for a file that grows", ErrUnavailable)

func (b *boltFile) mayGrow(h *boltHandle) error {
	info, err := h.file.Stat()
	if err != nil {
		return err
	}
	mapped := max(int64(h.mapped), mapSize(info.Size()-allocStep)) // it may have been mapped anew since
	b.remaps.Store(info.Size()+mapSlack > mapped)
	if b.growing == nil {
		return nil
	}
	return b.growing(info.Size())
}

// use counts a user of the present file.
func (b *boltFile) use() (*boltHandle, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.broken {
		return nil, fmt.Errorf("%w: %s is damaged and was given up", ErrUnavailable, b.path)
	}
	b.now.users++
	return b.now, nil
}

// done ends a use.
func (b *boltFile) done(h *boltHandle) {
	b.mu.Lock()
	h.users--
	last := h.former && h.users == 0
	b.mu.Unlock()
	if last {
		h.closeFormer()
	}
}

// failed notes that reading or writing a file failed.
func (b *boltFile) failed(h *boltHandle, broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h.broken = h.broken || broken
	if h == b.now {
		b.faulty.Store(true)
		b.broken.Store(h.broken)
	}
}

// replace puts the file that was opened as other in place of the present one.
// Only who writes may call it; other is no file any more.
func (b *boltFile) replace(other *boltFile) {
	b.mu.Lock()
	h := b.now
	b.now, b.DB = other.now, other.DB
	b.faulty.Store(false)
	h.former = true
	unused := h.users == 0
	b.mu.Unlock()
	if unused {
		h.closeFormer()
	}
}

// closeFormer closes a file that has no name any more. Nobody waits for that,
// since the file system gives its room back then.
func (h *boltHandle) closeFormer() { go func() { _ = h.close() }() }

// Close closes the file. Of a broken one only the lock is given back; the map
// stays, for who may still read in it.
func (b *boltFile) Close() error {
	b.mu.Lock()
	h := b.now
	b.mu.Unlock()
	return h.close()
}

func (h *boltHandle) close() error {
	if h.broken {
		return h.leave()
	}
	panicked, err := survived(h.db.Close)
	if panicked {
		return errors.Join(err, h.leave())
	}
	return err
}

// leave gives the lock back by name: a map holds it beyond the file's end.
func (h *boltHandle) leave() error {
	return errors.Join(syscall.Flock(int(h.file.Fd()), syscall.LOCK_UN), h.file.Close())
}

// survive is for reading a file whose pages may be damaged, or that was cut
// short, or whose disk is gone (STORAGE.md §8): such a file must not end the
// server.
func survive(fn func() error) error {
	_, err := survived(fn)
	return err
}

// survived is survive that says whether fn panicked.
func survived(fn func() error) (panicked bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		panicked = true
		if fault, ok := r.(interface{ Addr() uintptr }); ok {
			err = fmt.Errorf("%w: unreadable at %#x", ErrUnavailable, fault.Addr())
			return
		}
		err = fmt.Errorf("%w: bbolt: %v", ErrCorrupt, r)
	}()
	return false, fn()
}
