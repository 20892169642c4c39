package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// compactPart of a file is to be free, and compactLeast octets, before it
	// is compacted in the background: what is free and what is around the
	// messages, search.db included, stay below 1.3 times their octets. That
	// holds for the volume that takes new mail too: it uses its free pages, but
	// in a mailbox of some hundred MB it is the only one, and they scatter.
	compactPart  = 0.15
	compactLeast = 4 << 20
	// compactPeriod is how often is looked.
	compactPeriod = 10 * time.Minute
	// compactPatience is how long one waits for address space for its copy.
	compactPatience = 20 * time.Second
	// collectPeriod is how long the bytes of a few removed blobs stay in a
	// sealed volume.
	collectPeriod = 24 * time.Hour
)

// keyFreed is in the bucket meta of a file from which chunks were removed since
// it was made, or compacted.
var keyFreed = []byte("freed")

// compactState is what the upkeep knows of an account's files. Only the
// upkeep's.
type compactState struct {
	looked    map[uint16]lookedAt
	collected time.Duration // when all bytes of removed blobs went, in steady time
}

// lookedAt is how a volume was when it wasn't worth a compaction.
type lookedAt struct {
	counter uint64
	garbage int64
}

// Compact gives back the room that is free in the account's files, by copying
// what is left. With all it does so for every file that may hold bytes of
// removed messages, however small; else for those where it is worth while.
func (a *Account) Compact(ctx context.Context, all bool) error {
	f, err := a.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	w := compactWork{ctx: ctx, a: a, f: f, all: all}
	if err := w.run(); err != nil {
		return err
	}
	return a.index.compact(ctx, f, func() error { return nil })
}

// compactWhenDue is the account's share of the upkeep: bytes of removed blobs
// go, and files with much room are compacted.
func (a *Account) compactWhenDue(ctx context.Context) (next time.Time, err error) {
	f, err := a.acquire()
	if err != nil {
		return next, err
	}
	defer f.release()
	if err := a.sweepNow(ctx); err != nil {
		return next, err
	}
	s := &a.compacted
	if now := a.st.clock.source.Steady(); s.looked == nil || now-s.collected >= collectPeriod {
		if err := a.collectRest(ctx); err != nil {
			return next, err
		}
		s.collected = now
	}
	if s.looked == nil {
		s.looked = map[uint16]lookedAt{}
	}
	w := compactWork{ctx: ctx, a: a, f: f, pause: true, looked: s.looked}
	if err = w.run(); err == nil {
		var p pacer
		err = a.index.compact(ctx, f, func() error { return p.pause(ctx, a) })
	}
	if errors.Is(err, ErrDiskFull) {
		return a.now().Add(6 * time.Hour), nil // said in the log, and perhaps there is room then
	}
	if noSpace := new(mapSpaceError); errors.As(err, &noSpace) {
		return a.now().Add(time.Hour), nil // the files of others are in use
	}
	return next, err
}

// compactWork goes through the files of an account.
type compactWork struct {
	ctx        context.Context
	a          *Account
	f          *files
	all, pause bool
	looked     map[uint16]lookedAt
	garbage    map[uint16]int64 // octets of removed blobs that are still in a volume
}

func (w *compactWork) run() error {
	// One at a time: each makes its copy under the same name.
	w.a.compacting.Lock()
	defer w.a.compacting.Unlock()
	if err := w.mail(); err != nil {
		return err
	}
	if err := w.a.exec(func(f *files) (err error) {
		w.garbage, err = f.blobs.garbage()
		return err
	}); err != nil {
		return err
	}
	for n := uint16(1); n != 0 && n <= w.f.blobs.volumes.lastNow(); n++ {
		err := w.volume(n)
		if errors.Is(err, ErrUnavailable) && w.ctx.Err() == nil && !w.all {
			continue // missing, damaged or busy: that is said where it is read
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// due reports whether a file is worth it.
func (w *compactWork) due(size, free int64, freed bool) bool {
	if h := w.a.st.opts.hooks; h != nil && h.compact && free > 0 {
		return true
	}
	least := min(compactLeast, volumeLimit(&w.a.st.opts)/128)
	return w.all && freed || free >= least && float64(free) >= compactPart*float64(size)
}

// room makes sure that the disk has room for a copy.
func (w *compactWork) room(path string, size, free int64) error {
	need := size - free + (size-free)/16 + 2*allocStep
	space, minFree, err := w.a.st.Space()
	if err != nil || space.Free-minFree >= need { // what can't be known shows
		return nil
	}
	w.a.st.log.Warn("compaction_no_room", "account", string(w.a.id), "file", path, "octets", need)
	return &SpaceError{Free: space.Free, MinFree: minFree}
}

func (w *compactWork) mail() error {
	var size, free int64
	err := w.a.exec(func(f *files) error {
		free = freePages(f.mail)
		return f.mail.View(func(tx *bolt.Tx) error {
			size = tx.Size()
			return nil
		})
	})
	if err != nil || !w.due(size, free, true) {
		return err
	}
	return w.do(w.mailCompaction(size, free), size, free)
}

func (w *compactWork) mailCompaction(size, free int64) *compaction {
	f := w.f
	bo, octets := indexOptions(&w.a.st.opts, size-free+2*allocStep)
	c := w.compaction(f.mail.path, bo)
	c.mapped = octets
	c.begin = func() (*pinned, error) { return f.mail.beginPin(func() {}) }
	var counter uint64
	c.stamp = func(tx *bolt.Tx) error {
		counter = f.blobs.counter.Load() + 1
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Delete(keyFreed), putUint64(meta, "counter", counter))
	}
	c.swap = func(copy *boltFile) error {
		f.blobs.counter.Store(counter)
		f.mail.replace(copy)
		f.mapped = octets
		return nil
	}
	return c
}

func (w *compactWork) volume(n uint16) error {
	vs := &w.f.blobs.volumes
	at := lookedAt{vs.lastSeen(n), w.garbage[n]}
	if w.looked != nil && w.looked[n] == at {
		return nil
	}
	v, err := vs.get(n)
	if err != nil {
		if !vs.used(n) {
			err = nil // there never was one, or it is gone for good
		}
		return err
	}
	size, free, freed, err := v.space()
	if err != nil {
		return err
	}
	if w.due(size, free+at.garbage, freed) && at.garbage > 0 {
		if err := w.a.collectFrom(w.ctx, n); err != nil {
			return err
		}
		at = lookedAt{vs.lastSeen(n), 0}
		if size, free, freed, err = v.space(); err != nil {
			return err
		}
	}
	if w.due(size, free, freed) {
		if err := w.do(w.volumeCompaction(v), size, free); err != nil {
			return err
		}
		at.counter = vs.lastSeen(n)
	}
	if w.looked != nil {
		w.looked[n] = at
	}
	return nil
}

// garbage tells how much of each volume belongs to removed blobs.
func (b *blobStore) garbage() (map[uint16]int64, error) {
	all, err := b.openBlobsOf(b.f.mail.View)
	octets := map[uint16]int64{}
	for _, o := range all {
		if o.garbage && !o.hasRow {
			octets[o.volume] += o.octets
		}
	}
	return octets, err
}

// collectRest is collectFrom for all volumes.
func (a *Account) collectRest(ctx context.Context) error {
	var garbage map[uint16]int64
	err := a.exec(func(f *files) (err error) {
		garbage, err = f.blobs.garbage()
		return err
	})
	for n := range garbage {
		err = errors.Join(err, a.collectFrom(ctx, n))
	}
	return err
}

// collectFrom removes the bytes of removed blobs from one volume, however few
// they are.
func (a *Account) collectFrom(ctx context.Context, n uint16) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.exec(func(f *files) error {
			all, err := f.blobs.openBlobsOf(f.mail.View)
			var ids []BlobID
			for _, o := range all {
				if o.garbage && !o.hasRow && o.volume == n && len(ids) < sweepBlobs {
					ids = append(ids, o.id)
				}
			}
			if more = len(ids) > 0; err != nil || !more {
				return err
			}
			more, err = f.blobs.collect(n, ids)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (w *compactWork) volumeCompaction(v *volume) *compaction {
	o := &w.a.st.opts
	bo, octets := volumeOptions(o, 0, true)
	c := w.compaction(v.path, bo)
	c.mapped, c.source = 2*octets, v // of the copy and of the source, which is in use for as long
	c.grow = int(min(allocStep, volumeLimit(o)/16))
	c.begin = func() (*pinned, error) {
		if err := v.hold(true); err != nil {
			return nil, err
		}
		if v.ahead || v.behind {
			v.mu.RUnlock()
			return nil, fmt.Errorf("%w: %s is not as the index knows it", ErrUnavailable, v.path)
		}
		return v.pinHeld()
	}
	var counter uint64
	b := v.vs.b
	c.stamp = func(tx *bolt.Tx) error {
		if err := b.begin(); err != nil {
			return err
		}
		meta := tx.Bucket(bucketMeta)
		counter = getUint64(meta, "counter") + 1
		return errors.Join(meta.Delete(keyFreed), v.stamp(meta, counter))
	}
	c.swap = func(copy *boltFile) error {
		b.volumes.saw(v.n, counter)
		if err := v.hold(true); err != nil {
			return errors.Join(err, copy.Close())
		}
		defer v.mu.RUnlock()
		v.db.replace(copy)
		return nil
	}
	return c
}

// compaction is one in the writer's goroutine's last step.
func (w *compactWork) compaction(path string, bo *bolt.Options) *compaction {
	return &compaction{ctx: w.ctx, a: w.a, path: path, bo: bo, grow: allocStep, pause: w.pause,
		exclusive: func(fn func() error) error { return w.a.exec(func(*files) error { return fn() }) }}
}

// do runs a compaction.
func (w *compactWork) do(c *compaction, size, free int64) error {
	if err := w.room(c.path, size, free); err != nil {
		return err
	}
	// Two maps at a time: what nobody uses makes room.
	m := w.a.st.opts.maps()
	if err := m.take(c, c.mapped, true, compactPatience); err != nil {
		return fmt.Errorf("compact %s: %w", c.path, err)
	}
	defer m.give(c)
	if c.source != nil {
		m.within(c.source, c)
	}
	start := time.Now()
	if err := c.run(); err != nil {
		return fmt.Errorf("compact %s: %w", c.path, err)
	}
	after := int64(0)
	if info, err := os.Stat(c.path); err == nil {
		after = info.Size()
	}
	w.a.st.log.Info("compacted", "account", string(w.a.id), "file", c.path, "from", size, "to", after,
		"took", time.Since(start).Round(time.Millisecond).String(), "stalled", c.longest.Round(100*time.Microsecond).String())
	return nil
}

// space tells how large a volume is, how much of it is free, and whether it
// may hold bytes of removed blobs. It needn't be open for writing for that.
func (v *volume) space() (size, free int64, freed bool, err error) {
	p, err := v.beginPin()
	if err != nil {
		return 0, 0, false, err
	}
	defer p.close()
	err = survive(func() error {
		meta, err := p.metaPages()
		if err != nil {
			return err
		}
		list, err := p.freeList(nil, meta)
		if err != nil {
			return err
		}
		size = int64(binary.NativeEndian.Uint64(meta[metaPages:])) * pageBytes
		freed = p.tx.Bucket(bucketMeta).Get(keyFreed) != nil
		return p.file.freeOf(list, func(uint64) { free += pageBytes })
	})
	return size, free, freed, err
}

// lastNow is the highest volume, for who isn't the writer.
func (vs *volumes) lastNow() uint16 {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.last
}

// used reports whether the index knows a volume.
func (vs *volumes) used(n uint16) bool {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	_, ok := vs.seen[n]
	return ok
}
