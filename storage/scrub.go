package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What is deleted from a bbolt file stays in its free pages until they are used
// again. Scrubbing writes zeros over them. It needs no room, unlike a compaction,
// which puts a file with less in it in the old one's place and leaves the old
// one's bytes to the file system.
//
// A page may be overwritten when nothing that is still needed leads to it: no
// open transaction, and not the last commit, which a crash comes back to.
// bbolt counts as free what neither the last commit nor, when the writing
// transaction began, an older reader can see; and what older readers can see
// as well. So the scrubber begins a writing transaction, in which it writes
// nothing, and waits in it for a moment without readers: later ones see the
// last commit.

const (
	// scrubPages are looked at in one such transaction: 16 MB.
	scrubPages = 4096
	// scrubReaders is how long one waits for a moment without readers, and
	// scrubPatience how long all that is tried again.
	scrubReaders  = 20 * time.Millisecond
	scrubPatience = 30 * time.Second
)

// errReaders: there was no moment without readers.
var errReaders = errors.New("the file was read all the time")

// scrub overwrites the free pages of a volume, mail.db as volume 0, between
// other work of the account's writer.
func (a *Account) scrub(ctx context.Context, volume uint16) error {
	deadline := time.Now().Add(scrubPatience)
	for next, last := 0, false; !last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := a.exec(func(f *files) (err error) {
			next, last, err = f.scrubSlice(volume, next)
			return err
		})
		if errors.Is(err, errReaders) && time.Now().Before(deadline) {
			time.Sleep(scrubReaders)
			continue
		}
		if err != nil {
			return fmt.Errorf("overwriting what was deleted from volume %d: %w", volume, err)
		}
	}
	return nil
}

// scrubSlice overwrites the free ones of scrubPages pages from first on.
func (f *files) scrubSlice(volume uint16, first int) (next int, last bool, err error) {
	if volume == 0 {
		return f.mail.scrub(first)
	}
	v, err := f.blobs.volumes.get(volume)
	if err != nil {
		return 0, false, err
	}
	if err := v.hold(true); err != nil {
		return 0, false, err
	}
	defer v.mu.RUnlock()
	if v.ahead || v.behind || v.unfit {
		return 0, false, fmt.Errorf("%w: %s is not as the index knows it and is not written to", ErrUnavailable, v.path)
	}
	return v.db.scrub(first)
}

// errScrubbed ends the transaction: nothing is to be committed.
var errScrubbed = errors.New("nothing to commit")

func (b *boltFile) scrub(first int) (next int, last bool, err error) {
	err = b.Update(func(tx *bolt.Tx) error {
		if err := b.noReaders(); err != nil {
			return err
		}
		pages := int(tx.Size()) / tx.DB().Info().PageSize
		next = max(first, 2) // the meta pages
		var free []int
		for end := min(next+scrubPages, pages); next < end; {
			p, err := tx.Page(next)
			if err != nil {
				return err
			}
			if p == nil {
				break
			}
			if p.Type == "free" { // what stands in it is no header of anything
				free = append(free, next)
				next++
				continue
			}
			next += p.OverflowCount + 1
		}
		if last = next >= pages; last { // and what failed commits left behind the last page
			info, err := b.now.file.Stat()
			if err != nil {
				return err
			}
			for p := pages; int64(p+1)*int64(tx.DB().Info().PageSize) <= info.Size(); p++ {
				free = append(free, p)
			}
		}
		if err := b.overwrite(free, tx.DB().Info().PageSize); err != nil {
			return err
		}
		return errScrubbed
	})
	if errors.Is(err, errScrubbed) {
		err = nil
	}
	return next, last, err
}

// noReaders waits for a moment in which no reading transaction is open. bbolt's
// own count comes too late: when a reader has its state already.
func (b *boltFile) noReaders() error {
	for end := time.Now().Add(scrubReaders); ; time.Sleep(100 * time.Microsecond) {
		if b.reading.Load() == 0 {
			return nil
		}
		if time.Now().After(end) {
			return errReaders
		}
	}
}

// overwrite writes zeros over pages, ascending, that have anything in them,
// and syncs. The map of the file shows them at once.
func (b *boltFile) overwrite(pages []int, size int) error {
	if len(pages) == 0 {
		return nil
	}
	wrote := false
	zero, had := make([]byte, size), make([]byte, size)
	for _, p := range pages {
		at := int64(p) * int64(size)
		if _, err := b.now.file.ReadAt(had, at); err != nil {
			return err
		}
		if slices.Equal(had, zero) {
			continue // spares the flash
		}
		if _, err := b.now.file.WriteAt(zero, at); err != nil {
			return err
		}
		wrote = true
	}
	if !wrote {
		return nil
	}
	return b.now.file.Sync()
}
