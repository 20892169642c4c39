package storage

import bolt "go.etcd.io/bbolt"

// What a process has mapped counts as its memory although the kernel can take
// it back at any time, and a router's kernel has to. So the pages that a big
// message, or the work of the last minutes, touched are let go: they stay in
// the page cache, and the next access finds them there.
const (
	// trimAbove is the size of a message that doesn't leave its pages behind.
	trimAbove = 1 << 20
	// trimChunks is how many of its chunks are read in between.
	trimChunks = 8
)

// trim lets the pages of a volume go.
func (f *files) trim(volume uint16) error {
	return f.viewVolume(volume, func(tx *bolt.Tx) error {
		dropPages(tx)
		return nil
	})
}

// trimAll lets the pages of all open files go, in a quiet moment.
func (a *Account) trimAll() {
	f, err := a.acquire()
	if err != nil {
		return
	}
	defer f.release()
	for _, n := range append(f.blobs.volumes.inUse(), 0) {
		if err := f.trim(n); err != nil {
			a.st.log.Warn("trim_failed", "account", string(a.id), "error", err)
		}
	}
	a.index.trim()
}

func (x *searchIndex) trim() {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db != nil {
		_ = x.db.View(func(tx *bolt.Tx) error { // a damaged file shows when it is used
			dropPages(tx)
			return nil
		})
	}
}

// inUse lists the volumes that are open.
func (vs *volumes) inUse() (open []uint16) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for n, v := range vs.all {
		if v.mu.TryRLock() {
			if v.db != nil {
				open = append(open, n)
			}
			v.mu.RUnlock()
		}
	}
	return open
}
