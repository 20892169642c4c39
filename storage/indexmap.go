package storage

import (
	"errors"
	"os"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// mapSlack is by how much mail.db, or a volume, may grow in one transaction.
// Its share of the address space is enough for that; on 64-bit machines it is
// mapped with mapLimit, and isn't mapped anew.
const mapSlack = 4 << 20

func (f *files) maps() *mapBudget { return f.a.st.opts.maps() }

// indexOptions are those for a mail.db of so many octets, and how much of the
// address space it takes.
func indexOptions(o *Options, size int64) (bo *bolt.Options, octets int64) {
	bo = boltOptions(o)
	m := o.maps()
	switch {
	case o.readOnly:
		bo.ReadOnly, bo.InitialMmapSize = true, 0
		return bo, mapSize(size)
	case m.hard == 0:
		return bo, max(mapLimit, mapSize(size))
	}
	// A map must not double beyond the limit. A file that is larger already,
	// since it comes from another machine, can be read and emptied.
	octets = mapSize(max(size, min(size+mapSlack, m.limits.index)))
	bo.InitialMmapSize, bo.MaxSize = int(octets), int(m.limits.index)
	return bo, octets
}

// openIndex opens mail.db.
func (f *files) openIndex(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err // bolt would make an empty one
	}
	bo, octets := indexOptions(&f.a.st.opts, info.Size())
	if err := f.maps().take(f, octets, true, mapPatience); err != nil {
		return err
	}
	f.mapped = octets
	f.mail, err = f.maps().openMap(path, bo)
	if err != nil {
		return err
	}
	f.mail.growing = f.growIndex
	return nil
}

// openMap is openMap that closes others, and waits for them, when the kernel
// finds no address space in one piece.
func (m *mapBudget) openMap(path string, bo *bolt.Options) (*boltFile, error) {
	wait := 2 * mapTick
	for end := time.Now().Add(mapPatience); ; time.Sleep(wait) {
		options := *bo
		db, err := openMap(path, &options)
		if !errors.Is(err, syscall.ENOMEM) || time.Now().After(end) {
			return db, err
		}
		m.closeAll()
		wait = min(2*wait, mapTurn/4) // others open again what they need
	}
}

// growIndex is called before each transaction that writes to mail.db, with its
// size. It has the map that bbolt would make if the file grows counted, so
// that there is room for it: without it the account would stand still.
func (f *files) growIndex(size int64) error {
	m := f.maps()
	if m.hard == 0 {
		return nil
	}
	octets := mapSize(max(size, min(size+mapSlack, m.limits.index)))
	if octets <= f.mapped {
		return nil
	}
	if err := m.take(f, octets, true, mapPatience); err != nil {
		return err
	}
	f.mapped = octets
	if !addressFree(octets) {
		m.closeAll()
	}
	return nil
}

// addressFree reports whether so much could be mapped in one piece.
func addressFree(octets int64) bool {
	p, err := syscall.Mmap(-1, 0, int(octets), syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		_ = syscall.Munmap(p) // it was mapped a moment ago
	}
	return err == nil
}

// closeIdle closes the account's files unless they are in use.
func (f *files) closeIdle() bool {
	a := f.a
	if !a.mu.TryLock() {
		return false
	}
	defer a.mu.Unlock()
	return a.f == f && !a.unfit() && a.closeNow()
}

func (f *files) lastUsed() int64 { return f.a.used.Load() }

// indexRoom refuses new mail while there is still room in mail.db for all
// else: a sixteenth of it, where its size has a limit.
func (a *Account) indexRoom(octets int64) error {
	limit := a.st.opts.maps().limits.index
	if limit == 0 {
		return nil
	}
	return a.exec(func(f *files) error {
		return f.mail.View(func(tx *bolt.Tx) error {
			used := tx.Size() - freePages(f.mail)
			if f.blobs.bodies+f.blobs.promised(0)+octets > f.blobs.first {
				octets = 0 // they go to a volume
			}
			if used+octets > limit-limit/16 {
				return &LimitError{What: "bytes in an account's index on this machine", Max: limit}
			}
			return nil
		})
	})
}
