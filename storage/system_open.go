package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// openSys opens system.db, or its copy if it is damaged: what changed last may
// be lost then. sysMu is held, or nobody else is there yet.
func (st *Store) openSys() (lost bool, err error) {
	path := filepath.Join(st.dir, systemFile)
	bo := &bolt.Options{NoSync: st.opts.NoSync}
	sys, err := openSystem(path, st.id, bo)
	if err != nil {
		if err := st.recoverSystem(err); err != nil {
			return true, err
		}
		if sys, err = openSystem(path, st.id, bo); err != nil {
			return true, err
		}
		lost = true
	}
	st.opts.opened(path, sys.DB)
	st.sys = sys
	return lost, nil
}

// closeSys closes system.db and gives the folder back, unless it is away.
func (st *Store) closeSys() (err error) {
	st.stopPresence()
	st.sysMu.Lock()
	defer st.sysMu.Unlock()
	if st.sys != nil {
		err = st.sys.Close()
	}
	if st.lock != nil {
		err = errors.Join(err, unlockFolder(st.lock))
	}
	st.sys, st.lock = nil, nil
	return err
}

// view reads system.db.
func (st *Store) view(f func(tx *bolt.Tx) error) error {
	return st.useSys(func(sys *boltFile) error { return sys.View(f) })
}

// useSys runs do with system.db. A file that turned out to be damaged is
// opened again for who comes next, or its copy.
func (st *Store) useSys(do func(sys *boltFile) error) error {
	if err := st.available(); err != nil {
		return err
	}
	st.sysMu.RLock()
	if st.sys == nil || st.sys.faulty.Load() {
		st.sysMu.RUnlock()
		st.renewSys()
		st.sysMu.RLock()
	}
	defer st.sysMu.RUnlock()
	switch {
	case st.sys != nil:
		return mapError(do(st.sys))
	case st.presence.closed.Load():
		return ErrClosed
	}
	return fmt.Errorf("%w: %s can't be opened", ErrUnavailable, systemFile)
}

// renewSys opens system.db again after reading it failed: the disk may have
// been away for a moment. One that is damaged is replaced by its copy.
func (st *Store) renewSys() {
	st.sysMu.Lock()
	defer st.sysMu.Unlock()
	switch {
	case st.sys != nil && !st.sys.faulty.Load(), st.presence.closed.Load(), time.Since(st.sysTried) < presenceLook, st.here() != nil:
		return
	}
	st.sysTried = time.Now()
	if st.sys != nil {
		st.quietly(systemFile, st.sys.Close())
		st.sys = nil
	}
	if cause := st.verifySystem(filepath.Join(st.dir, systemFile)); cause != nil {
		if err := st.recoverSystem(cause); err != nil {
			st.log.Error("system_damaged", "file", systemFile, "error", err)
		}
	}
	if _, err := st.openSys(); err != nil {
		st.log.Error("system_damaged", "file", systemFile, "error", err)
	}
}
