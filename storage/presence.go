package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// A data folder can go away under a running server: a stick is pulled, a disk
// unmounted, the folder renamed. Then every request gets ErrUnavailable, all
// files are let go, and nothing is written to the place where the folder was.
// When the folder with the same id is back there, it is served again.
//
// Who asks is told by a look at the lock file, at most once a second; what
// makes files in the folder looks each time (here).
const (
	presenceLook  = time.Second
	presenceWatch = 10 * time.Second // looks while nobody asks
)

type presence struct {
	looked atomic.Int64 // when, in steady nanoseconds
	gone   atomic.Bool

	mu     sync.Mutex                  // of who lets go or takes back
	lock   atomic.Pointer[os.FileInfo] // the lock file that is held
	timer  *time.Timer
	closed atomic.Bool
	why    string // the last reason for not coming back, so that it is logged once
}

// errGone is what requests get while the data folder is away.
func (st *Store) errGone() error {
	return fmt.Errorf("%w: %s is gone: is the disk mounted?", ErrUnavailable, st.dir)
}

// available returns ErrUnavailable while the data folder is away.
func (st *Store) available() error {
	p := &st.presence
	now := int64(time.Since(started))
	if last := p.looked.Load(); now-last > int64(presenceLook) && p.looked.CompareAndSwap(last, now) {
		st.lookForFolder()
	}
	if p.gone.Load() {
		return st.errGone()
	}
	return nil
}

// suspect looks for the folder at once when something was not to be had.
func (st *Store) suspect(err error) {
	if err != nil && errors.Is(err, ErrUnavailable) {
		st.lookForFolder()
	}
}

// here is available for who is about to make a file in the data folder: below
// a mount point that lost its disk none must appear.
func (st *Store) here() error {
	if st.presence.gone.Load() || !st.samePlace() {
		return st.errGone()
	}
	return nil
}

// samePlace reports whether the lock file that is held is the one at its path.
func (st *Store) samePlace() bool {
	at, err := os.Stat(filepath.Join(st.dir, lockFile))
	return err == nil && os.SameFile(*st.presence.lock.Load(), at)
}

// lookForFolder notices that the folder went away. Letting go of it waits for
// others, so it is done beside.
func (st *Store) lookForFolder() {
	p := &st.presence
	if p.gone.Load() || st.samePlace() {
		return
	}
	if p.gone.CompareAndSwap(false, true) {
		go st.leaveFolder()
	}
}

// startPresence notes which folder is held, and looks for it now and then.
func (st *Store) startPresence() error {
	info, err := st.lock.Stat()
	if err != nil {
		return err
	}
	p := &st.presence
	p.lock.Store(&info)
	p.looked.Store(int64(time.Since(started)))
	p.timer = time.AfterFunc(presenceWatch, st.watchFolder)
	return nil
}

func (st *Store) watchFolder() {
	st.lookForFolder()
	p := &st.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return
	}
	again := presenceWatch
	if p.gone.Load() {
		again = presenceLook
		st.takeBack()
	}
	p.timer.Reset(again)
}

// stopPresence ends the looking.
func (st *Store) stopPresence() {
	p := &st.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed.Store(true)
	p.timer.Stop()
}

// leaveFolder lets go of all files, so that the disk can be unmounted, and
// used elsewhere. Those in use follow when their users have got their errors.
func (st *Store) leaveFolder() {
	p := &st.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed.Load() {
		return
	}
	st.log.Error("data_folder_gone", "data", st.dir)
	p.timer.Reset(presenceLook)
	for _, a := range st.openAccounts() {
		a.leaveFiles()
	}
	st.sysMu.Lock()
	defer st.sysMu.Unlock()
	if st.sys != nil {
		st.quietly("system.db", st.sys.Close())
		st.sys = nil
	}
	if st.lock != nil {
		st.quietly(lockFile, unlockFolder(st.lock))
		st.lock = nil
	}
}

// quietly logs what closing a file of a disk that is gone said.
func (st *Store) quietly(file string, err error) {
	if err != nil {
		st.log.Debug("close_failed", "file", file, "error", err)
	}
}

// openAccounts are those that sessions have, or had.
func (st *Store) openAccounts() []*Account {
	st.mu.Lock()
	defer st.mu.Unlock()
	all := make([]*Account, 0, len(st.accounts))
	for _, a := range st.accounts {
		all = append(all, a)
	}
	return all
}

// takeBack opens the data folder again if it is the one that went away. p.mu
// is held.
func (st *Store) takeBack() {
	p := &st.presence
	err := st.reopen()
	if err == nil {
		p.why = ""
		p.gone.Store(false)
		st.log.Info("data_folder_back", "data", st.dir)
		return
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoStore) || err.Error() == p.why {
		return // not there yet, or said before
	}
	p.why = err.Error()
	st.log.Error("data_folder_not_back", "data", st.dir, "error", err)
}

func (st *Store) reopen() error {
	id, err := readStoreID(st.dir)
	if err != nil {
		return err
	}
	if id != st.id {
		return &ForeignError{File: filepath.Join(st.dir, idFile), Has: id, Want: st.id}
	}
	lock, err := lockFolder(st.dir, st.opts.Version)
	if err != nil {
		return err
	}
	info, err := lock.Stat()
	if err != nil {
		return errors.Join(err, unlockFolder(lock))
	}
	st.sysMu.Lock()
	defer st.sysMu.Unlock()
	if _, err := st.openSys(); err != nil {
		return errors.Join(err, unlockFolder(lock))
	}
	st.lock = lock
	st.presence.lock.Store(&info)
	return nil
}
