package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// openVolumes is how many sealed volumes stay open for reading.
const openVolumes = 4

// volumeLimit is the largest size of a body volume on this machine
// (STORAGE.md §7).
func volumeLimit(o *Options) int64 {
	switch {
	case o.hooks != nil && o.hooks.volume > 0:
		return o.hooks.volume
	case strconv.IntSize == 64:
		return 512 << 20
	case runtime.GOARCH == "mips" || runtime.GOARCH == "mipsle":
		return 64 << 20
	}
	return 128 << 20
}

// volumes are the body-NNNN.db of an account. The last one is written to, by
// the writer's goroutine; the others are sealed, opened for reading on demand.
type volumes struct {
	b    *blobStore
	mu   sync.Mutex
	last uint16 // number of the last one; 0 for none
	open []*volume
}

type volume struct {
	n      uint16
	db     *bolt.DB
	writer bool
	full   bool // takes no more uploads; sealed when those it has are done
	// Uploads that were placed here and are not done, and their octets.
	pending  int
	promised int64
	users    int
	used     time.Time
}

func (vs *volumes) path(n uint16) string {
	return filepath.Join(vs.b.f.dir, fmt.Sprintf("body-%04d.db", n))
}

// find looks for the volumes and cleans the last one up.
func (vs *volumes) find() error {
	for {
		_, err := os.Stat(vs.path(vs.last + 1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		vs.last++
	}
	if vs.last == 0 {
		return nil
	}
	v, err := vs.load(vs.last, true)
	if err != nil {
		return err
	}
	vs.open = append(vs.open, v)
	if err := v.db.View(func(tx *bolt.Tx) error {
		vs.b.next = BlobID(getUint64(tx.Bucket(bucketMeta), "blob"))
		return nil
	}); err != nil {
		return err
	}
	orphans, settled, err := vs.b.openBlobs(v.db)
	if err != nil || len(orphans)+len(settled) == 0 {
		return err
	}
	return v.db.Update(func(tx *bolt.Tx) error { return closeBlobs(tx, orphans, settled) })
}

// load opens a volume and checks that it is this account's.
func (vs *volumes) load(n uint16, write bool) (*volume, error) {
	o := &vs.b.f.a.st.opts
	bo := boltOptions(o)
	bo.ReadOnly = !write
	if strconv.IntSize == 64 {
		bo.InitialMmapSize = int(volumeLimit(o))
	} else {
		bo.MaxSize = int(volumeLimit(o))
	}
	path := vs.path(n)
	db, err := bolt.Open(path, 0o600, bo)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	db.AllocSize = allocStep
	o.opened(path, db)
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		switch {
		case meta == nil:
			return fmt.Errorf("%s: not a nestbox file", path)
		case getUint16(meta, "min_reader") > formatVersion:
			return &FormatError{File: path, MinReader: int(getUint16(meta, "min_reader")), Known: formatVersion}
		case string(meta.Get([]byte("account"))) != string(vs.b.f.a.id), getUint16(meta, "volume") != n:
			return fmt.Errorf("%s is volume %d of account %s: it was put here by hand", path, getUint16(meta, "volume"), meta.Get([]byte("account")))
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &volume{n: n, db: db, writer: write}, nil
}

// make creates the next volume and seals the last.
func (vs *volumes) make() (*volume, error) {
	n := vs.last + 1
	tmp := vs.path(n) + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	bo := boltOptions(&vs.b.f.a.st.opts)
	bo.InitialMmapSize = 0
	db, err := bolt.Open(tmp, 0o600, bo)
	if err != nil {
		return nil, err
	}
	db.AllocSize = allocStep
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketChunks, bucketOpen} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		for k, v := range map[string][]byte{
			"format":     binary.LittleEndian.AppendUint16(nil, formatVersion),
			"min_reader": binary.LittleEndian.AppendUint16(nil, formatVersion),
			"account":    []byte(vs.b.f.a.id),
			"volume":     binary.LittleEndian.AppendUint16(nil, n),
		} {
			if err := meta.Put([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, vs.path(n)); err != nil {
		return nil, err
	}
	if err := syncDir(vs.b.f.dir); err != nil {
		return nil, err
	}
	v, err := vs.load(n, true)
	if err != nil {
		return nil, err
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	vs.last = n
	vs.open = append(vs.open, v)
	return v, nil
}

// room is the volume for a body of so many octets: the last, or a new one.
// done must follow.
func (vs *volumes) room(octets int64) (uint16, error) {
	v := vs.writable(vs.last)
	if v != nil && !v.full {
		var used int64
		if err := v.db.View(func(tx *bolt.Tx) error {
			used = tx.Size() - int64(v.db.Stats().FreePageN)*4096
			return nil
		}); err != nil {
			return 0, err
		}
		v.full = used+v.promised+octets+octets/8+2*allocStep > volumeLimit(&vs.b.f.a.st.opts)
	}
	if v == nil || v.full {
		if v != nil && v.pending == 0 {
			if err := vs.seal(v); err != nil {
				return 0, err
			}
		}
		var err error
		if v, err = vs.make(); err != nil {
			return 0, err
		}
	}
	v.pending++
	v.promised += octets
	return v.n, nil
}

// done ends what room began, for an upload that is stored or dropped.
func (vs *volumes) done(n uint16, octets int64) error {
	v := vs.writable(n)
	if v == nil {
		return nil
	}
	v.pending--
	v.promised -= octets
	if v.full && v.pending == 0 && v.n != vs.last {
		return vs.seal(v)
	}
	return nil
}

func (vs *volumes) writable(n uint16) *volume {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for _, v := range vs.open {
		if v.writer && v.n == n {
			return v
		}
	}
	return nil
}

// seal ends the writing to a volume; its list of open blobs is emptied.
func (vs *volumes) seal(v *volume) error {
	_, settled, err := vs.b.openBlobs(v.db)
	if err == nil {
		err = v.db.Update(func(tx *bolt.Tx) error { return closeBlobs(tx, nil, settled) })
	}
	vs.mu.Lock()
	v.writer = false
	vs.mu.Unlock()
	return err
}

// write puts the uploads' chunks into their volume, in transactions of about
// batchBodies. They are listed as open until their rows are in mail.db.
func (vs *volumes) write(ups []*Upload) error {
	for len(ups) > 0 {
		n, octets := 0, int64(0)
		for n < len(ups) && ups[n].volume == ups[0].volume && (n == 0 || octets+ups[n].staged() <= batchBodies) {
			octets += ups[n].staged()
			n++
		}
		part := ups[:n]
		ups = ups[n:]
		v := vs.writable(part[0].volume)
		if v == nil {
			return fmt.Errorf("%w: volume %d", ErrUnavailable, part[0].volume)
		}
		_, settled, err := vs.b.openBlobs(v.db)
		if err != nil {
			return err
		}
		err = v.db.Update(func(tx *bolt.Tx) error {
			if err := closeBlobs(tx, nil, settled); err != nil {
				return err
			}
			for _, u := range part {
				if _, err := putChunks(tx, u); err != nil {
					return err
				}
				if err := tx.Bucket(bucketOpen).Put(keyBlob(u.blob), nil); err != nil {
					return err
				}
			}
			meta := tx.Bucket(bucketMeta)
			return putNumbers(meta, map[string]uint64{"counter": getUint64(meta, "counter") + 1, "blob": uint64(vs.b.next)})
		})
		if err != nil {
			return err
		}
		for _, u := range part {
			u.flushed += uint32(len(u.chunks))
			u.chunks, u.held = nil, 0
		}
	}
	return nil
}

// view runs fn with a read transaction on the volume.
func (vs *volumes) view(n uint16, fn func(tx *bolt.Tx) error) error {
	v, err := vs.use(n)
	if err != nil {
		return err
	}
	err = v.db.View(fn)
	vs.mu.Lock()
	v.users--
	v.used = time.Now()
	vs.mu.Unlock()
	return err
}

func (vs *volumes) use(n uint16) (*volume, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for _, v := range vs.open {
		if v.n == n {
			v.users++
			return v, nil
		}
	}
	if n == 0 || n > vs.last {
		return nil, fmt.Errorf("%w: volume %d is missing", ErrUnavailable, n)
	}
	vs.trim()
	v, err := vs.load(n, false)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	v.users++
	vs.open = append(vs.open, v)
	return v, nil
}

// trim closes the sealed volume that was used longest ago, when too many are
// open. The lock is held.
func (vs *volumes) trim() {
	if len(vs.open) < openVolumes {
		return
	}
	oldest := -1
	for i, v := range vs.open {
		if !v.writer && v.users == 0 && (oldest < 0 || v.used.Before(vs.open[oldest].used)) {
			oldest = i
		}
	}
	if oldest >= 0 {
		_ = vs.open[oldest].db.Close() // only read
		vs.open = slices.Delete(vs.open, oldest, oldest+1)
	}
}

func (vs *volumes) close() error {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	var errs []error
	for _, v := range vs.open {
		errs = append(errs, v.db.Close())
	}
	vs.open = nil
	return errors.Join(errs...)
}
