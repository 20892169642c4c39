package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// compactSuffix is of the new file until it takes the place of the old one.
const compactSuffix = ".compact"

const (
	// compactSlice is how much is copied in one transaction.
	compactSlice = 1 << 20
	// compactKeys and compactSlice bound what the last step copies, while the
	// account's writer waits.
	compactKeys = 400
	// compactSync is how much is copied between two syncs of the new file.
	compactSync = 4 << 20
	// compactGrow is by how much the new file grows at a time.
	compactGrow = 128 << 10
	// compactRounds is how often is tried to come so near to the writer.
	compactRounds = 60
	// compactStall is how long the writer waits at a time for one that is far
	// behind.
	compactStall = 10 * time.Millisecond
	// compactTries is how often a compaction begins again whose state was lost.
	compactTries = 6
)

var (
	errCompactBusy = fmt.Errorf("%w: the file is written to faster than its compaction can follow", ErrUnavailable)
	errTooMuch     = errors.New("too much for the last step")
)

// A compaction copies what a bbolt file in use holds into a new one, in
// slices, and puts that into its place. bolt.Compact can't: it wants a source
// that nobody writes to (STORAGE.md §4).
//
// The state of the source is held by a pin, which moves on every few
// milliseconds. What the writers changed from one state to the next, in the
// part that is copied, is copied again; so the copy stays a copy of the state
// that is held. In the last step the writer waits: the last changes, a sync,
// the new name. Until then the old file is whole, from then on the new one is.
type compaction struct {
	ctx   context.Context
	a     *Account
	path  string
	bo    *bolt.Options
	grow  int  // by how much the file will grow at a time
	pause bool // give way; else only the writer goes first
	heldMap
	mapped int64  // what of the address space the two files take, besides what is counted
	source mapped // a volume whose map is part of that

	// begin holds the present state of the source.
	begin func() (*pinned, error)
	// exclusive runs fn while nobody writes to the source.
	exclusive func(fn func() error) error
	// stamp is called in the last transaction of the copy.
	stamp func(tx *bolt.Tx) error
	// swap puts the copy, which has the source's name now, in its place.
	swap func(copy *boltFile) error

	pin    pin
	copy   *boltFile
	at     treeKey // the last entry that is copied
	whole  bool    // everything is
	keys   touchedKeys
	left   int // octets until the slice is full
	synced int // octets since the last sync
	pacer  pacer
	// longest is how long the writer waited.
	longest time.Duration
}

func (c *compaction) run() error {
	var err error
	for range compactTries {
		if err = c.once(); !errors.Is(err, errPinLost) {
			return err
		}
	}
	return errCompactBusy
}

func (c *compaction) once() (err error) {
	c.pin = pin{name: filepath.Base(c.path), begin: c.begin, lost: c.pin.lost}
	c.at, c.whole, c.keys = "", false, touchedKeys{}
	defer c.pin.close()
	if err := c.create(); err != nil {
		return mapError(err)
	}
	defer func() {
		if c.copy != nil { // it found no place
			err = errors.Join(err, c.copy.Close(), os.Remove(c.path+compactSuffix))
		}
	}()
	for !c.whole {
		if err := c.step(c.slice); err != nil {
			return err
		}
	}
	for range compactRounds {
		if err := c.step(c.catchUp); err != nil {
			return err
		}
		if err := c.sync(); err != nil {
			return err
		}
		if err = c.last(); !errors.Is(err, errTooMuch) {
			return err
		}
	}
	return errCompactBusy
}

// create makes the new file, under its temporary name.
func (c *compaction) create() error {
	if err := c.a.st.here(); err != nil {
		return err
	}
	tmp := c.path + compactSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bo := *c.bo
	size := bo.InitialMmapSize
	bo.InitialMmapSize, bo.NoSync = 0, true // a new file would be made that large at once
	first, err := openMap(tmp, &bo)
	if err == nil {
		err = first.Close()
	}
	if err == nil {
		bo.InitialMmapSize = size
		c.copy, err = c.a.st.opts.maps().openMap(tmp, &bo)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	c.copy.AllocSize, c.copy.NoGrowSync = compactGrow, true // synced as a whole
	return nil
}

// step does a part of the work on the state that is held, and rests.
func (c *compaction) step(part func() error) error {
	c.pacer.begin()
	if err := c.roll(false); err != nil {
		return err
	}
	if err := mapError(part()); err != nil {
		return err
	}
	if c.synced >= compactSync {
		if err := c.sync(); err != nil {
			return err
		}
	}
	return c.rest()
}

// roll moves on to the present state, at once or when it is time to.
func (c *compaction) roll(now bool) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.a.st.available(); err != nil {
		return err
	}
	if now && c.pin.now != nil {
		c.pin.now.since = time.Time{}
	}
	return c.pin.roll(func(from, to *pinned) error {
		if from.file.r != to.file.r {
			return errPinLost // it was closed, and opened again
		}
		return survive(func() error { return c.keys.between(from, to) })
	})
}

// meanwhile does what takes long, and lets the pin move on.
func (c *compaction) meanwhile(do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(pinTime)
	defer tick.Stop()
	var lost error
	for {
		select {
		case err := <-done:
			return errors.Join(lost, err)
		case <-tick.C:
			lost = c.keepUp(lost)
		}
	}
}

// keepUp moves on to the present state while something else is waited for.
func (c *compaction) keepUp(lost error) error {
	if lost == nil {
		if lost = c.roll(false); lost != nil {
			c.pin.close() // nobody shall wait for a state that is of no use
		}
	}
	return lost
}

// last runs the last step when it is the writer's turn to wait. Until then the
// writer must not wait for the pin.
func (c *compaction) last() error {
	turn, lost := make(chan struct{}), make(chan error)
	done := make(chan error, 1)
	go func() {
		done <- c.exclusive(func() error {
			close(turn)
			if err := <-lost; err != nil {
				return err
			}
			return c.finish()
		})
	}()
	tick := time.NewTicker(pinTime)
	defer tick.Stop()
	var err error
	for {
		select {
		case <-turn:
			lost <- err
			turn = nil
		case err := <-done:
			return err
		case <-tick.C:
			if turn != nil {
				err = c.keepUp(err)
			}
		}
	}
}

func (c *compaction) sync() error {
	c.synced = 0
	if c.a.st.opts.NoSync {
		return nil
	}
	return mapError(c.meanwhile(c.copy.Sync))
}

// rest gives way to others.
func (c *compaction) rest() error {
	if c.pause {
		return c.meanwhile(func() error { return c.pacer.pause(c.ctx, c.a) })
	}
	for range 20 {
		if c.a.writer.quiet() {
			break
		}
		if err := c.meanwhile(func() error { time.Sleep(time.Millisecond); return nil }); err != nil {
			return err
		}
	}
	return c.ctx.Err()
}

// finish is the last step. Nobody writes to the source.
func (c *compaction) finish() error {
	start := time.Now()
	defer func() { c.longest = max(c.longest, time.Since(start)) }()
	if err := c.roll(true); err != nil {
		return err
	}
	if len(c.keys) > compactKeys {
		return errors.Join(c.catchUpUntil(start.Add(compactStall)), errTooMuch)
	}
	err := c.copy.Update(func(tx *bolt.Tx) error {
		rest, err := c.apply(tx, c.keys.sorted())
		switch {
		case err != nil:
			return err
		case len(rest) > 0:
			return errTooMuch
		}
		if err := c.sameBuckets(tx); err != nil {
			return err
		}
		return c.stamp(tx)
	})
	if err == nil && !c.a.st.opts.NoSync {
		err = c.copy.Sync()
	}
	if err == nil {
		err = c.a.st.here()
	}
	if err != nil {
		return mapError(err)
	}
	clear(c.keys)
	c.pin.close()
	return c.place()
}

// sameBuckets makes sure that the copy has every bucket at the top.
func (c *compaction) sameBuckets(tx *bolt.Tx) error {
	var want, have []byte
	src := c.pin.now.tx
	_ = src.ForEach(func(name []byte, _ *bolt.Bucket) error { want = append(append(want, name...), 0); return nil })
	_ = tx.ForEach(func(name []byte, _ *bolt.Bucket) error { have = append(append(have, name...), 0); return nil })
	if !bytes.Equal(want, have) {
		return fmt.Errorf("%w: the copy of %s has the buckets %q, not %q", ErrCorrupt, c.path, have, want)
	}
	return nil
}

// place gives the copy the name of the source.
func (c *compaction) place() error {
	if err := os.Rename(c.path+compactSuffix, c.path); err != nil {
		return mapError(err)
	}
	copied := c.copy
	c.copy = nil
	copied.NoSync, copied.NoGrowSync, copied.AllocSize = c.a.st.opts.NoSync, false, c.grow
	var err error
	if !c.a.st.opts.NoSync {
		// Nothing may be acknowledged that the old file, back after a power
		// cut, wouldn't have.
		if err = syncDir(filepath.Dir(c.path)); err != nil {
			copied.failed(copied.now, true)
		}
	}
	c.a.st.opts.opened(c.path, copied.DB)
	return errors.Join(err, c.swap(copied))
}
