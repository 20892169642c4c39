package storage

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// A recorder writes down, in order, everything that an account sends to its
// files and everything that tells it that the bytes are on the disk; from
// this every state can be made in which a power cut may leave the files.
type recorder struct {
	dir string // of the account

	mu     sync.Mutex
	events []event
}

type eventKind uint8

const (
	eventFile  eventKind = iota // the file stands as data, durably
	eventWrite                  // data at offset, in a file of at least size
	eventSync                   // everything written to the file is durable
	eventBegin                  // a worker began its next step
	eventDone                   // and was told that it is done
)

type event struct {
	kind   eventKind
	file   string // below dir
	data   []byte
	offset int64
	size   int64
	worker int
}

func (r *recorder) note(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// hooks are what the storage calls.
func (r *recorder) hooks() *hooks {
	return &hooks{
		journal: func(path string, f *os.File) journalFile {
			r.stands(path)
			return &recordedJournal{File: f, r: r, name: r.name(path)}
		},
		opened: func(path string, db *bolt.DB) {
			if filepath.Dir(path) == r.dir && !db.IsReadOnly() {
				r.stands(path)
				r.record(path, db)
			}
		},
		volume: 4 << 20,
	}
}

func (r *recorder) name(path string) string {
	name, err := filepath.Rel(r.dir, path)
	if err != nil {
		panic(err)
	}
	return name
}

// stands notes a file as it is: files are made under another name, synced and
// renamed, so that all of it is durable when it gets its name.
func (r *recorder) stands(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	r.note(event{kind: eventFile, file: r.name(path), data: b})
}

// record puts a recorder before a bbolt file's writes (STORAGE.md §8). bbolt
// syncs between the pages of a commit and its meta page, and after that page:
// the meta page is the sign that all before it is durable.
func (r *recorder) record(path string, db *bolt.DB) {
	field := reflect.ValueOf(db).Elem().FieldByName("ops").FieldByName("writeAt")
	writeAt := (*func([]byte, int64) (int, error))(unsafe.Pointer(field.UnsafeAddr()))
	write, name := *writeAt, r.name(path)
	*writeAt = func(b []byte, offset int64) (int, error) {
		size := int64(0)
		if info, err := os.Stat(path); err == nil {
			size = info.Size()
		}
		if offset < 2*int64(db.Info().PageSize) && !db.NoSync {
			r.note(event{kind: eventSync, file: name})
		}
		r.note(event{kind: eventWrite, file: name, data: slices.Clone(b), offset: offset, size: size})
		return write(b, offset)
	}
}

type recordedJournal struct {
	*os.File
	r    *recorder
	name string
}

func (j *recordedJournal) WriteAt(b []byte, offset int64) (int, error) {
	j.r.note(event{kind: eventWrite, file: j.name, data: slices.Clone(b), offset: offset})
	return j.File.WriteAt(b, offset)
}

func (j *recordedJournal) Sync() error {
	err := j.File.Sync()
	j.r.note(event{kind: eventSync, file: j.name})
	return err
}

var _ io.WriterAt = (*recordedJournal)(nil)

// A disk is what a power cut would find: what is durable in each file, and
// what was written since.
type disk struct {
	durable map[string][]byte
	pending map[string][]event
	// begun and done count each worker's steps.
	begun, done map[int]int
	last        string // the file of the last write
}

func newDisk() *disk {
	return &disk{map[string][]byte{}, map[string][]event{}, map[int]int{}, map[int]int{}, ""}
}

// happen brings the disk one event further.
func (d *disk) happen(e event) {
	switch e.kind {
	case eventFile:
		d.settle(e.file)
		d.durable[e.file] = slices.Clone(e.data)
	case eventSync:
		d.settle(e.file)
	case eventWrite:
		// One goroutine writes all files of an account: when it writes again, the
		// sync after the last meta page is over.
		d.settleMeta()
		d.last = e.file
		d.pending[e.file] = append(d.pending[e.file], e)
		if e.size > int64(len(d.durable[e.file])) { // bbolt syncs a file when it grows
			d.durable[e.file] = grown(d.durable[e.file], e.size)
		}
	case eventBegin:
		d.begun[e.worker]++
	case eventDone:
		d.settleMeta() // so is it when somebody was told that his commit is done
		d.done[e.worker]++
	}
}

// settleMeta: the last write is durable if it was a meta page.
func (d *disk) settleMeta() {
	pending := d.pending[d.last]
	if n := len(pending); n > 0 && d.last != journalName && pending[n-1].offset < 2*4096 {
		d.settle(d.last)
	}
}

const journalName = "flags.journal"

func (d *disk) settle(file string) {
	for _, e := range d.pending[file] {
		d.durable[file] = patched(d.durable[file], e.data, e.offset)
	}
	delete(d.pending, file)
}

func grown(b []byte, size int64) []byte { return append(b, make([]byte, size-int64(len(b)))...) }

func patched(b, data []byte, offset int64) []byte {
	if end := offset + int64(len(data)); end > int64(len(b)) {
		b = grown(b, end)
	}
	copy(b[offset:], data)
	return b
}

// cut writes into dir the files as a power cut might leave them now: all that
// is durable, and of the rest an arbitrary part, torn at any sector.
func (d *disk) cut(t *testing.T, dir string, random *rand.Rand) {
	t.Helper()
	sector := []int{64, 512, 4096}[random.IntN(3)]
	chance := []int{0, 30, 70, 100}[random.IntN(4)]
	for _, file := range slices.Sorted(maps.Keys(d.durable)) {
		b := slices.Clone(d.durable[file])
		for _, e := range d.pending[file] {
			for at := 0; at < len(e.data); at += sector {
				if random.IntN(100) < chance {
					b = patched(b, e.data[at:min(at+sector, len(e.data))], e.offset+int64(at))
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
