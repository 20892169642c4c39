package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// purgePatience is how long a purge waits for readers of what it erases.
const purgePatience = 5 * time.Second

var scrubKey = []byte("scrub")

// markScrub notes that a volume is to be scrubbed, so that a purge that is
// interrupted is finished later.
func (a *Account) markScrub(volume uint16) error {
	return a.exec(func(f *files) error { return f.changeScrub(volume, true) })
}

// changeScrub adds a volume to the note or takes it out. The writer's
// goroutine only.
func (f *files) changeScrub(volume uint16, add bool) error {
	w, err := f.update(func(w *txn) error {
		marked := scrubMarks(w.tx)
		i := slices.Index(marked, volume)
		switch {
		case add == (i >= 0):
			return errNothing
		case add:
			marked = append(marked, volume)
		default:
			marked = slices.Delete(marked, i, i+1)
		}
		var b []byte
		for _, n := range marked {
			b = binary.LittleEndian.AppendUint16(b, n)
		}
		w.dirty = true
		return w.bucket(bucketMeta).Put(scrubKey, b)
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err == nil {
		w.publish() // it may have taken flags from the journal along
	}
	return err
}

func scrubMarks(tx *bolt.Tx) (marked []uint16) {
	for b := tx.Bucket(bucketMeta).Get(scrubKey); len(b) >= 2; b = b[2:] {
		marked = append(marked, binary.LittleEndian.Uint16(b))
	}
	return marked
}

// toScrub lists the volumes that are marked.
func (a *Account) toScrub() (marked []uint16, err error) {
	err = a.read(func(_ *files, tx *bolt.Tx) error {
		marked = scrubMarks(tx)
		return nil
	})
	return marked, err
}

// finishPurge is the account's share of the upkeep: it finishes what a purge
// could not.
func (a *Account) finishPurge(ctx context.Context) (next time.Time, err error) {
	marked, err := a.toScrub()
	if err != nil || len(marked) == 0 {
		return time.Time{}, err
	}
	reading, err := a.eraseBytes(ctx)
	if reading > 0 || errors.Is(err, errReaders) {
		return a.now().Add(time.Hour), nil
	}
	return time.Time{}, err
}

// eraseBytes gives up the bytes of blobs without references, in all volumes,
// and what the files still hold of them. reading is how many blobs are left
// because they are being read.
func (a *Account) eraseBytes(ctx context.Context) (reading int64, err error) {
	for deadline := time.Now().Add(purgePatience); ; {
		if reading, err = a.collectAll(ctx); err != nil {
			return reading, err
		}
		if reading == 0 || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return reading, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	errs := []error{a.index.drop(), a.dropOldFormat()}
	marked, err := a.toScrub()
	if err != nil {
		return reading, err
	}
	for _, n := range marked {
		err := a.scrub(ctx, n)
		if err == nil && reading == 0 {
			err = a.exec(func(f *files) error { return f.changeScrub(n, false) })
		}
		errs = append(errs, err)
	}
	return reading, errors.Join(errs...)
}

// dropOldFormat removes the mail.db from before a migration, which has all
// messages of that time.
func (a *Account) dropOldFormat() error {
	found, err := filepath.Glob(filepath.Join(a.dir, "mail.db.format*"))
	for _, path := range found {
		a.st.log.Info("old_format_dropped", "file", path)
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// collectAll removes the blobs without references, and their bytes from the
// body volumes, however few they are. left counts the blobs that stay because
// they are being read.
func (a *Account) collectAll(ctx context.Context) (left int64, err error) {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		err := a.exec(func(f *files) (err error) {
			if more, err = f.blobs.sweepIndex(); more || err != nil {
				return err
			}
			more, left, err = f.blobs.collectSome()
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return left, nil
}

func (b *blobStore) collectSome() (more bool, left int64, err error) {
	all, err := b.openBlobsOf(b.f.mail.View)
	if err != nil {
		return false, 0, err
	}
	removed := map[uint16][]BlobID{}
	for _, o := range all {
		switch {
		case o.garbage && !o.hasRow:
			removed[o.volume] = append(removed[o.volume], o.id)
		case o.hasRow && o.refs == 0:
			left++
		}
	}
	for n, ids := range removed {
		if err := b.f.changeScrub(n, true); err != nil {
			return false, left, err
		}
		done, err := b.collect(n, ids[:min(len(ids), sweepBlobs)])
		if done || err != nil {
			return true, left, err
		}
	}
	return false, left, nil
}

// drop removes the signatures, which know something of the words of every
// message. They are made again in quiet moments.
func (x *searchIndex) drop() error {
	x.busy.Lock()
	defer x.busy.Unlock()
	x.block, x.built = nil, nil
	x.mu.Lock()
	if x.db != nil {
		_ = x.closeFile() // what it says doesn't matter any more
	}
	x.damaged = false
	err := os.Remove(x.path())
	x.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x.plan()
	return nil
}
