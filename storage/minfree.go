package storage

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Below MinFree of free space nothing is taken that needs room: other programs
// of the box live on the same disk, and deleting needs room itself. Before
// that, expunged mail that is only kept goes, oldest first, as its pages can
// take new mail.
const (
	spaceLook  = 3 * time.Second // statfs is asked at most that often
	spaceRetry = time.Minute     // until kept mail is looked for again when there was none
	// spaceMax is the most that a MinFree in percent means.
	spaceMax = 2 << 30
	// spaceSlack is what a request takes besides the octets of its messages.
	spaceSlack = 256 << 10
)

// MinFree is how much of the file system stays free: a number of bytes, or
// percents of its size, but of those at most 2 GB. Zero: nothing.
type MinFree struct {
	Bytes   int64
	Percent int
}

// Of is MinFree on a file system of a size.
func (m MinFree) Of(size int64) int64 {
	return max(m.Bytes, min(size/100*int64(m.Percent), spaceMax))
}

// A SpaceError says that the disk is too full for new mail. It is ErrDiskFull.
type SpaceError struct{ Free, MinFree int64 }

func (e *SpaceError) Error() string {
	return fmt.Sprintf("the disk is nearly full: %s free, %s are kept free (min_free); delete something", megabytes(e.Free), megabytes(e.MinFree))
}

// Is makes it an ErrDiskFull.
func (e *SpaceError) Is(target error) bool { return target == ErrDiskFull }

func megabytes(n int64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%d GB", n>>30)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// space is what is known of the room on the disk.
type space struct {
	mu     sync.Mutex
	min    MinFree
	looked time.Time
	now    FileSystem
	low    bool // and that was logged

	freeing sync.Mutex
	nothing time.Time // when there was nothing to free
}

// Space tells how much room there is, and how much is to stay.
func (st *Store) Space() (s FileSystem, minFree int64, err error) {
	sp := &st.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if !sp.looked.IsZero() && time.Since(sp.looked) < spaceLook {
		return sp.now, sp.min.Of(sp.now.Size), nil
	}
	now, err := st.opts.statFS(st.dir)
	if err != nil {
		return now, 0, err
	}
	sp.looked, sp.now = time.Now(), now
	minFree = sp.min.Of(now.Size)
	if now.Free < minFree != sp.low {
		if sp.low = !sp.low; sp.low {
			st.log.Warn("disk_low", "dir", st.dir, "free", now.Free, "min_free", minFree)
		} else {
			st.log.Info("disk_low_over", "dir", st.dir, "free", now.Free, "min_free", minFree)
		}
	}
	return now, minFree, nil
}

// SetMinFree changes how much stays free.
func (st *Store) SetMinFree(m MinFree) {
	st.space.mu.Lock()
	defer st.space.mu.Unlock()
	st.space.min, st.space.looked = m, time.Time{}
}

// shortage is how many octets are missing for so many more. What can't be
// known is no reason to refuse mail.
func (st *Store) shortage(octets int64) (missing int64, e *SpaceError) {
	s, minFree, err := st.Space()
	if err != nil {
		return 0, nil
	}
	return octets + minFree - s.Free, &SpaceError{Free: s.Free, MinFree: minFree}
}

// roomFor refuses what needs room for so many octets when the disk has none.
// Never in the writer's goroutine.
func (a *Account) roomFor(octets int64) error {
	octets = max(octets, 0) + spaceSlack
	if err := a.indexRoom(octets); err != nil {
		return err
	}
	missing, low := a.st.shortage(octets)
	if missing <= 0 || a.roomInside(octets) {
		return nil
	}
	a.st.freeKeptFor(octets)
	if low.MinFree == 0 || a.roomInside(octets) {
		return nil // with nothing to stay free the write itself finds out: what it takes is less than octets, compressed
	}
	return low
}

// roomInside reports whether the file that takes the account's next message
// has room for it without growing.
func (a *Account) roomInside(octets int64) (ok bool) {
	err := a.exec(func(f *files) error {
		free := freePages(f.mail)
		if f.blobs.bodies+f.blobs.promised(0)+octets <= f.blobs.first {
			ok = free >= 2*octets
			return nil
		}
		if ok = free >= spaceSlack && f.blobs.volumes.last > 0; !ok {
			return nil
		}
		v, err := f.blobs.volumes.get(f.blobs.volumes.last)
		if err == nil {
			ok, err = v.hasFree(2 * octets)
		}
		return err
	})
	return ok && err == nil
}

// hasFree reports whether the volume can take so many octets without growing.
func (v *volume) hasFree(octets int64) (bool, error) {
	if err := v.hold(true); err != nil {
		return false, err
	}
	defer v.mu.RUnlock()
	return freePages(v.db) >= octets, nil
}

// freePages is what a file has free in it. What the last commits freed is among
// it from the next one on.
func freePages(b *boltFile) int64 {
	s := b.Stats()
	return int64(s.FreePageN+s.PendingPageN) * int64(b.Info().PageSize)
}

// freeKeptFor has kept mail freed, unless there was none a moment ago.
func (st *Store) freeKeptFor(octets int64) {
	sp := &st.space
	sp.freeing.Lock()
	defer sp.freeing.Unlock()
	if !sp.nothing.IsZero() && time.Since(sp.nothing) < spaceRetry {
		return
	}
	// More than is needed now: the next message comes soon.
	freed, err := st.freeKept(context.Background(), max(4*octets, 1<<20))
	if err != nil {
		st.log.Warn("kept_not_freed", "error", err)
	}
	sp.nothing = time.Time{}
	if freed < octets {
		sp.nothing = time.Now()
	}
}
