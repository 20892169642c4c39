package storage

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// reserveBytes is the size of DATA/reserve: room for what must go on when the
// disk is full. It is given up then, and made anew when there is room again.
const (
	reserveBytes = 4 << 20
	reserveRetry = time.Minute
)

func (st *Store) reservePath() string { return filepath.Join(st.dir, "reserve") }

// giveReserve frees the reserve's room. It reports false when there is none.
func (st *Store) giveReserve() bool {
	if os.Remove(st.reservePath()) != nil {
		return false
	}
	st.log.Warn("disk_full", "dir", st.dir, "note", "the reserve was given up for deletions and flags")
	time.AfterFunc(reserveRetry, st.makeReserve)
	// The next deletions find no reserve: kept mail makes room for them in the
	// files, and its own removal takes of the reserve's room.
	go st.freeKeptFor(reserveBytes / 4)
	return true
}

// makeReserve sets the room aside; without room it tries again later.
func (st *Store) makeReserve() {
	st.mu.Lock()
	closed := st.closed
	st.mu.Unlock()
	if closed || st.here() != nil {
		return
	}
	if fi, err := os.Stat(st.reservePath()); err == nil && fi.Size() == reserveBytes {
		return
	}
	tmp := st.reservePath() + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		block := make([]byte, 64<<10)
		for i := range block {
			block[i] = byte(i*i>>3 ^ i) // not a hole, and hard to compress away
		}
		for n := 0; n < reserveBytes && err == nil; n += len(block) {
			_, err = f.Write(block)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
			err = os.Rename(tmp, st.reservePath())
		}
	}
	if err != nil {
		_ = os.Remove(tmp)
		time.AfterFunc(reserveRetry, st.makeReserve)
	}
}
