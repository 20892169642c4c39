package storage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// openVolumes is how many body volumes stay open.
	openVolumes = 4
	// volumeRest is how long one that nobody reads stays open.
	volumeRest = time.Minute
	// unseenBlobs are the ids that are left out when a volume can't be looked
	// at: it may have blobs that mail.db doesn't know, as many as there were
	// uploads under way when a crash came.
	unseenBlobs = 1 << 16
)

// volumes are the body volumes of an account. The last one is written to, by
// the writer's goroutine; the others are sealed.
type volumes struct {
	b *blobStore

	mu     sync.Mutex
	all    map[uint16]*volume
	last   uint16            // the highest number, 0 for none; set by the writer's goroutine
	seen   map[uint16]uint64 // counters, as the index has or will have them
	closed bool
	rest   *time.Timer

	// Of the writer's goroutine.
	looked   bool // the last volume's highest blob was taken into account
	searched bool // the newest were opened once
}

// maps is the budget of open files.
func (vs *volumes) maps() *mapBudget { return vs.b.f.a.st.opts.maps() }

func (vs *volumes) path(n uint16) string {
	return filepath.Join(vs.b.f.dir, fmt.Sprintf("body-%04d.db", n))
}

// start looks which volumes there are. It opens none.
func (vs *volumes) start(b *blobStore, seen []byte) error {
	vs.b, vs.all, vs.seen = b, map[uint16]*volume{}, map[uint16]uint64{}
	for ; len(seen) >= 10; seen = seen[10:] {
		n := binary.LittleEndian.Uint16(seen)
		vs.seen[n] = binary.LittleEndian.Uint64(seen[2:])
		vs.last = max(vs.last, n) // a number is not used again, even if the file is gone
	}
	entries, err := os.ReadDir(b.f.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), compactSuffix) { // a crash left it
			if err := os.Remove(filepath.Join(b.f.dir, e.Name())); err != nil {
				return err
			}
		}
		var n uint16
		if _, err := fmt.Sscanf(e.Name(), "body-%d.db", &n); err != nil || n == 0 || vs.path(n) != filepath.Join(b.f.dir, e.Name()) {
			continue
		}
		vs.all[n] = &volume{vs: vs, n: n, path: vs.path(n)}
		vs.last = max(vs.last, n)
	}
	return nil
}

// encodeSeen is what the index keeps of the volumes: numbers and counters.
func (vs *volumes) encodeSeen() (v []byte) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for n := uint16(1); n != 0 && n <= vs.last; n++ {
		if counter, ok := vs.seen[n]; ok {
			v = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(v, n), counter)
		}
	}
	return v
}

func (vs *volumes) saw(n uint16, counter uint64) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.seen[n] = counter
}

func (vs *volumes) lastSeen(n uint16) uint64 {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.seen[n]
}

// get finds a volume. One that was missing may have been put back.
func (vs *volumes) get(n uint16) (*volume, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.closed {
		return nil, ErrClosed
	}
	if v := vs.all[n]; v != nil {
		return v, nil
	}
	path := vs.path(n)
	if _, err := os.Stat(path); n == 0 || err != nil {
		return nil, fmt.Errorf("%w: %s is missing", ErrUnavailable, path)
	}
	v := &volume{vs: vs, n: n, path: path}
	vs.all[n] = v
	return v, nil
}

// view runs fn with a read transaction on volume n.
func (vs *volumes) view(n uint16, fn func(tx *bolt.Tx) error) error {
	v, err := vs.get(n)
	if err != nil {
		return err
	}
	return v.view(fn)
}

// commit runs fn in a transaction on volume n.
func (vs *volumes) commit(n uint16, fn func(tx *bolt.Tx) error) error {
	v, err := vs.get(n)
	if err != nil {
		return err
	}
	return v.commit(fn)
}

// settled notes that a blob has its row: its entry among the open ones goes
// with the volume's next commit.
func (vs *volumes) settled(n uint16, id BlobID) {
	if n == 0 {
		return
	}
	if v, err := vs.get(n); err == nil {
		v.settled = append(v.settled, id)
	}
}

// lookAtLast makes sure that no id is given out that a body volume has: the
// last one knows them all, unless files were put here by hand.
func (vs *volumes) lookAtLast() error {
	if vs.looked || vs.last == 0 {
		return nil
	}
	if !vs.b.begun { // the files may have been changed by hand
		vs.lookAtAll()
		return nil
	}
	var state volumeState
	v, err := vs.get(vs.last)
	if err == nil {
		state, err = v.state()
	}
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return err
	}
	vs.b.next = max(vs.b.next, state.highest)
	if err != nil {
		vs.b.next += unseenBlobs
	}
	vs.looked = true
	return nil
}

// lookAtAll opens all volumes once, so that those which aren't as the index
// knows them are known, and no id is given out that one of them has.
func (vs *volumes) lookAtAll() {
	unseen := false
	for n := vs.last; n > 0; n-- {
		v, err := vs.get(n)
		if err == nil {
			var state volumeState
			state, err = v.state()
			vs.b.next = max(vs.b.next, state.highest)
		}
		unseen = unseen || err != nil && vs.used(n) // Check says which
	}
	if unseen && !vs.looked {
		vs.b.next += unseenBlobs
	}
	vs.looked = true
}

// lookAtNewest opens the volumes that uploads were under way in when the
// account was last open, so that what a crash left in them is found. What is
// left in an older one, which is rare, is found when somebody reads there.
func (vs *volumes) lookAtNewest() {
	for n := vs.last; n > 0 && n+2 > vs.last && !vs.searched; n-- {
		if v, err := vs.get(n); err == nil {
			_, _ = v.state() // a bad one is logged, and reported to its readers
		}
	}
	vs.searched = true
}

// room is the volume for a body of so many octets: the last, or a new one.
func (vs *volumes) room(octets int64) (uint16, error) {
	if err := vs.lookAtLast(); err != nil {
		return 0, err
	}
	if vs.last > 0 && vs.fits(vs.last, octets) {
		return vs.last, nil
	}
	if vs.last == math.MaxUint16 {
		return 0, &LimitError{What: "body volumes in an account", Max: math.MaxUint16}
	}
	n := vs.last + 1
	if err := createVolume(vs.b, n, vs.path(n)); err != nil {
		return 0, err
	}
	vs.mu.Lock()
	vs.last, vs.seen[n] = n, 1
	vs.mu.Unlock()
	return n, nil
}

// fits reports whether volume n can be written to and has room for so many
// octets more, with what is promised to others and the tree around them.
func (vs *volumes) fits(n uint16, octets int64) bool {
	v, err := vs.get(n)
	if err != nil {
		return false
	}
	state, err := v.state()
	if err != nil || state.ahead || state.behind || v.unfit {
		return false
	}
	size, err := v.size()
	if err != nil {
		return false
	}
	octets += vs.b.promised(n) + uploadPages
	limit := volumeLimit(&vs.b.f.a.st.opts)
	return size+octets+octets/16+min(2*allocStep, limit/4) <= limit
}

// makeRoom closes volumes that were used longest ago while too many are open
// besides v. Those in use are passed over.
func (vs *volumes) makeRoom(v *volume) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.rest == nil {
		vs.rest = time.AfterFunc(volumeRest, vs.closeResting)
	}
	var open []*volume
	for _, o := range vs.all {
		if o != v && o.isOpen() {
			open = append(open, o)
		}
	}
	slices.SortFunc(open, func(x, y *volume) int { return cmp.Compare(x.used.Load(), y.used.Load()) })
	for n := len(open); n >= openVolumes; n-- {
		open[len(open)-n].closeIdle()
	}
}

// isOpen reports whether the volume is open, and could be closed now.
func (v *volume) isOpen() bool {
	if !v.mu.TryRLock() {
		return false
	}
	defer v.mu.RUnlock()
	return v.db != nil
}

// closeResting closes the volumes that nobody used for a while.
func (vs *volumes) closeResting() {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.rest = nil
	if vs.closed {
		return
	}
	before := time.Now().Add(-volumeRest).UnixNano()
	open := false
	for _, v := range vs.all {
		if v.isOpen() && (v.used.Load() > before || !v.closeIdle()) {
			open = true
		}
	}
	if open {
		vs.rest = time.AfterFunc(volumeRest, vs.closeResting)
	}
}

func (vs *volumes) isClosed() bool {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.closed
}

// close waits for the readers and closes all volumes.
func (vs *volumes) close() error {
	vs.mu.Lock()
	vs.closed = true
	if vs.rest != nil {
		vs.rest.Stop()
	}
	all := vs.all
	vs.mu.Unlock()
	var errs []error
	for _, v := range all {
		v.mu.Lock()
		if v.db != nil {
			errs = append(errs, v.db.Close())
			v.db = nil
			vs.maps().give(v)
		}
		v.mu.Unlock()
	}
	return errors.Join(errs...)
}

// markedNow lists the volumes that were found with open blobs.
func (vs *volumes) markedNow() (marked []*volume) {
	vs.mu.Lock()
	all := slices.Collect(maps.Values(vs.all))
	vs.mu.Unlock()
	for _, v := range all {
		v.mu.RLock()
		if v.marked {
			marked = append(marked, v)
		}
		v.mu.RUnlock()
	}
	return marked
}
