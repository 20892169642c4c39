package storage

import (
	"os"

	bolt "go.etcd.io/bbolt"
)

// searchSlack is by how much search.db grows with a block, at most.
const searchSlack = 2 << 20

// searchGrow is by how much it grows at a time.
const searchGrow = 256 << 10

func (x *searchIndex) maps() *mapBudget { return x.a.st.opts.maps() }

// options are those for search.db. Where mail.db has a limit it has one too:
// what has no signatures is read.
func (x *searchIndex) options() *bolt.Options {
	bo := boltOptions(&x.a.st.opts)
	bo.InitialMmapSize, bo.MaxSize = 0, int(x.maps().limits.index/2)
	return bo
}

// takeMap has the file's map counted, and what it may grow by. The lock is
// held.
func (x *searchIndex) takeMap() error {
	size := int64(0)
	if info, err := os.Stat(x.path()); err == nil {
		size = info.Size()
	}
	octets := mapSize(size + searchSlack)
	if err := x.maps().take(x, octets, false, mapPatience); err != nil {
		return err
	}
	x.mapped = octets
	return nil
}

// grow closes the file if it may grow out of what was counted: it is opened
// again with more.
func (x *searchIndex) grow() {
	x.mu.Lock()
	defer x.mu.Unlock()
	info, err := os.Stat(x.path())
	if x.db == nil || x.maps().hard == 0 || err != nil || info.Size()+searchSlack/2 <= x.mapped {
		return
	}
	_ = x.closeFile() // a damaged one shows when it is opened again
}

// full reports whether the file is as large as it may be.
func (x *searchIndex) full() bool {
	limit := x.maps().limits.index / 2
	info, err := os.Stat(x.path())
	return limit > 0 && err == nil && info.Size() > limit-2*searchSlack
}

// closeFile closes the file until it is wanted again. The lock is held.
func (x *searchIndex) closeFile() error {
	err := x.db.Close()
	x.db = nil
	x.maps().give(x)
	return err
}

// closeIdle closes the file unless it is in use.
func (x *searchIndex) closeIdle() bool {
	if !x.mu.TryLock() {
		return false
	}
	defer x.mu.Unlock()
	if x.db == nil || x.damaged {
		return false
	}
	if err := x.closeFile(); err != nil {
		x.a.st.log.Warn("search_index_damaged", "account", string(x.a.id), "error", err)
	}
	return true
}

func (x *searchIndex) lastUsed() int64 { return x.used.Load() }
