package storage

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
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
type boltFile struct {
	*bolt.DB
	path   string
	file   *os.File
	broken atomic.Bool
	faulty atomic.Bool // reading it failed at least once
	// reading counts the reading transactions that are open, or about to be.
	reading atomic.Int32
}

// openMap opens a bbolt file. A damaged one is ErrCorrupt: bbolt panics over
// a bad list of free pages, with the file open and locked.
func openMap(path string, bo *bolt.Options) (*boltFile, error) {
	b := &boltFile{path: path}
	bo.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		b.file, err = os.OpenFile(name, flag, mode)
		return b.file, err
	}
	_, err := survived(func() (err error) {
		b.DB, err = bolt.Open(path, 0o600, bo)
		return err
	})
	if err != nil {
		if b.file != nil {
			_ = b.leave() // bbolt has done so, unless it panicked
		}
		if damagedFile(err) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, berrors.ErrMaxSizeReached) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return nil, err
	}
	return b, nil
}

// View is bolt.DB's.
func (b *boltFile) View(fn func(tx *bolt.Tx) error) error {
	b.reading.Add(1)
	defer b.reading.Add(-1)
	return b.run(b.DB.View, fn)
}

// Update is bolt.DB's.
func (b *boltFile) Update(fn func(tx *bolt.Tx) error) error { return b.run(b.DB.Update, fn) }

func (b *boltFile) run(do func(func(tx *bolt.Tx) error) error, fn func(tx *bolt.Tx) error) error {
	if b.broken.Load() {
		return fmt.Errorf("%w: %s is damaged and was given up", ErrUnavailable, b.path)
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
		b.faulty.Store(true)
		b.broken.Store(true)
	}
	if panicked {
		b.faulty.Store(true)
		// A transaction that has ended belongs to no file any more. One that
		// failed in its commit may hold the lock of the map, whatever it says.
		if began == nil || began.DB() != nil || done {
			b.broken.Store(true)
		}
	}
	return err
}

// Close closes the file. Of a broken one only the lock is given back; the map
// stays, for who may still read in it.
func (b *boltFile) Close() error {
	if b.broken.Load() {
		return b.leave()
	}
	panicked, err := survived(b.DB.Close)
	if panicked {
		return errors.Join(err, b.leave())
	}
	return err
}

// leave gives the lock back by name: a map holds it beyond the file's end.
func (b *boltFile) leave() error {
	return errors.Join(syscall.Flock(int(b.file.Fd()), syscall.LOCK_UN), b.file.Close())
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
