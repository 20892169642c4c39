package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// purge expunges the messages of INBOX with the given UIDs, nil for all, and
// forgets their kept rows, as retention will.
func (s *blobScene) purge(uids []imap.UID) {
	s.t.Helper()
	box := inbox(s.t, s.a)
	if uids == nil {
		var err error
		if uids, err = s.a.UIDs(box.Space, 1, box.UIDNext, make([]imap.UID, 0, 10_000)); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := s.a.StoreFlags(box.ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.a.Expunge(box.ID, uids); err != nil {
		s.t.Fatal(err)
	}
	keys := make([][]byte, len(uids))
	for i, uid := range uids {
		keys[i] = keyUID(box.Space, uid)
	}
	r := &forgetRequest{keys: keys, until: func(*keptOwner, keptReason) (int64, bool) { return 1 << 40, true }}
	if err := s.a.do(r); err != nil || r.Messages != int64(len(uids)) {
		s.t.Fatalf("forgot %d of %d: %v", r.Messages, len(uids), err)
	}
}

// sweep does all the work that waits for a quiet moment.
func (s *blobScene) sweep() {
	s.t.Helper()
	for more := true; more; {
		if err := s.a.exec(func(f *files) (err error) { more, err = f.blobs.sweep(); return err }); err != nil {
			s.t.Fatal(err)
		}
	}
}

// stored counts the blobs whose bytes are in a volume.
func (s *blobScene) stored(n uint16) (blobs int) {
	s.t.Helper()
	f, err := s.a.acquire()
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.release()
	if err := f.viewVolume(n, func(tx *bolt.Tx) error {
		return tx.Bucket(bucketHeads).ForEach(func(_, _ []byte) error { blobs++; return nil })
	}); err != nil {
		s.t.Fatal(err)
	}
	return blobs
}

func TestUnusedBlobsAreFreed(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, hooks{}, sizesOf(50, 5000)...)
	s.add(noise(0, 5000)) // the first again: two references
	before := s.a.f.blobs.bodies
	s.purge([]imap.UID{1, 2, 3})
	s.sweep()
	sound(t, s.a)
	if n := s.stored(0); n != 48 || s.a.f.blobs.bodies >= before {
		t.Errorf("%d blobs, %d octets of %d", n, s.a.f.blobs.bodies, before)
	}
	for i, want := range map[int]error{0: nil, 1: ErrNoMessage, 2: ErrNoMessage, 3: nil} {
		if err := s.read(i); !errors.Is(err, want) {
			t.Errorf("blob %d: %v", s.ids[i], err)
		}
	}
	s.add(s.text[1]) // the same bytes again: a new blob
	if err := s.read(51); err != nil || s.ids[51] <= s.ids[50] {
		t.Error(s.ids[51], err)
	}
	s.purge(nil)
	s.sweep()
	emptyStore(t, s.a)
	sound(t, s.a)
}

// TestUsedAgain: bytes that come again between the last expunge and the sweep.
func TestUsedAgain(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	s.purge(nil)
	for i := range 4 {
		s.add(s.text[i])
		if s.ids[4+i] != s.ids[i] {
			t.Errorf("stored again as blob %d", s.ids[4+i])
		}
	}
	s.sweep()
	s.readAll(nothing)
	sound(t, s.a)
}

func TestPinnedBlobStaysReadable(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]hooks{"mail.db": {}, "volume": {volume: 64 << 20, firstBodies: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBlobScene(t, h, sizesOf(collectBlobs+20, 70_000)...)
			b, err := s.a.OpenBlob(s.ids[5])
			if err != nil {
				t.Fatal(err)
			}
			var w bytes.Buffer
			if _, err := b.WriteRange(&w, 0, 30_000); err != nil {
				t.Fatal(err)
			}
			s.purge(nil)
			s.sweep()
			s.add(noise(1000, 300_000)) // writes over what was freed
			if n := s.stored(s.volumeOf(len(s.ids) - 1)); n != 2 {
				t.Errorf("%d blobs are left", n)
			}
			if _, err := b.WriteRange(&w, 30_000, b.Size()-30_000); err != nil || !bytes.Equal(w.Bytes(), s.text[5]) {
				t.Error("a pinned blob came back otherwise:", err)
			}
			sound(t, s.a)
			b.Close()
			b.Close()
			s.sweep()
			if err := s.read(5); !errors.Is(err, ErrNoMessage) {
				t.Error(err)
			}
			sound(t, s.a)
		})
	}
}

// TestSealedVolumeIsCollected: removed blobs of a sealed volume go together,
// and at any crash in between nothing is lost and nothing stays for good.
func TestSealedVolumeIsCollected(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, hooks{volume: 2 << 20, firstBodies: 1}, sizesOf(3*collectBlobs, 9000)...)
	in1 := s.stored(1)
	if in1 < collectBlobs+20 || s.a.f.blobs.volumes.last < 2 {
		t.Fatalf("%d blobs in volume 1 of %d", in1, s.a.f.blobs.volumes.last)
	}
	uids := make([]imap.UID, collectBlobs-1)
	for i := range uids {
		uids[i] = imap.UID(i + 1)
	}
	s.purge(uids)
	s.sweep()
	if n := s.stored(1); n != in1 {
		t.Errorf("%d of %d blobs are left: the volume was written to for a few", n, in1)
	}
	sound(t, s.a)
	s.purge([]imap.UID{collectBlobs, collectBlobs + 1})
	dir := t.TempDir() // a crash before the sweep
	s.a.exec(func(f *files) error { return os.CopyFS(dir, os.DirFS(s.st.dir)) })
	s.sweep()
	if n := s.stored(1); n != in1-collectBlobs-1 {
		t.Errorf("%d of %d blobs are left", n, in1)
	}
	sound(t, s.a)
	crashed := s.opened(dir)
	crashed.sweep()
	if n := crashed.stored(1); n != in1-collectBlobs-1 {
		t.Errorf("after the crash %d of %d blobs are left", n, in1)
	}
	sound(t, crashed.a)
}

// opened is the scene as another data folder, a copy, has it.
func (s *blobScene) opened(dir string) *blobScene {
	s.t.Helper()
	os.Remove(filepath.Join(dir, "nestbox.lock"))
	st, err := Open(dir, Options{NoSync: true, hooks: s.st.opts.hooks})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { st.Close() })
	a, err := st.Account(s.a.id)
	if err != nil {
		s.t.Fatal(err)
	}
	return &blobScene{t: s.t, st: st, a: a, ids: s.ids, text: s.text}
}

// TestOrphansAreFreed: a crash in the middle of uploads leaves nothing behind,
// and what was appended is there.
func TestOrphansAreFreed(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]hooks{"mail.db": {}, "volumes": smallVolumes} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newBlobScene(t, h, sizesOf(3, 300_000)...)
			var ups []*Upload
			for i := range 3 {
				u, err := s.a.NewUpload(-1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := u.Write(noise(int64(100+i), 900_000)); err != nil {
					t.Fatal(err)
				}
				ups = append(ups, u)
			}
			dir := t.TempDir()
			s.a.exec(func(f *files) error { return os.CopyFS(dir, os.DirFS(s.st.dir)) })
			for _, u := range ups {
				u.Abort()
			}
			crashed := s.opened(dir)
			crashed.readAll(nothing)
			last := crashed.a.f.blobs.volumes.last
			crashed.sweep()
			total := 0
			for n := range last + 1 {
				crashed.stored(n) // older volumes are swept when somebody reads them
				crashed.sweep()
				total += crashed.stored(n)
				if last < 2 && total != 3 && n == last {
					t.Errorf("%d blobs were left by the first sweep", total)
				}
			}
			if total != 3 {
				t.Errorf("%d blobs are stored", total)
			}
			crashed.add(noise(200, 1000))
			if crashed.ids[3] <= ups[2].blob {
				t.Errorf("id %d was given out again", crashed.ids[3])
			}
			crashed.purge(nil)
			crashed.sweep()
			sound(t, crashed.a)
		})
	}
}

// failWrites makes the writes of a bbolt file fail while full is set.
func failWrites(db *bolt.DB, full *atomic.Bool) { failWritesWith(db, full, syscall.ENOSPC) }

func failWritesWith(db *bolt.DB, full *atomic.Bool, errno syscall.Errno) {
	field := reflect.ValueOf(db).Elem().FieldByName("ops").FieldByName("writeAt")
	writeAt := (*func([]byte, int64) (int, error))(unsafe.Pointer(field.UnsafeAddr()))
	write := *writeAt
	*writeAt = func(b []byte, off int64) (int, error) {
		if full.Load() {
			return 0, &fs.PathError{Op: "write", Path: db.Path(), Err: errno}
		}
		return write(b, off)
	}
}

func TestDiskFullUploads(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int64{"mail.db": 64 << 20, "volumes": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var full atomic.Bool
			h := hooks{volume: 8 << 20, firstBodies: limit, opened: func(path string, db *bolt.DB) {
				if !db.IsReadOnly() && !strings.HasSuffix(path, "system.db") {
					failWrites(db, &full)
				}
			}}
			s := newBlobScene(t, h, sizesOf(3, 200_000)...)
			r := rand.New(rand.NewSource(1))
			full.Store(true)
			if u, err := tryUpload(s.a, noise(100, 900_000), -1, r); !errors.Is(err, ErrDiskFull) {
				t.Errorf("big: %v", err)
			} else {
				if _, err := u.Write([]byte("x")); !errors.Is(err, ErrDiskFull) {
					t.Errorf("and on: %v", err)
				}
				u.Abort()
			}
			u, err := tryUpload(s.a, noise(101, 10_000), -1, r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.a.Append(inbox(t, s.a).ID, []NewMessage{{Upload: u}}); !errors.Is(err, ErrDiskFull) {
				t.Errorf("small: %v", err)
			}
			s.readAll(nothing)
			full.Store(false)
			s.add(noise(102, 900_000))
			s.sweep()
			s.readAll(nothing)
			sound(t, s.a)
			total := 0
			for n := range s.a.f.blobs.volumes.last + 1 {
				total += s.stored(n)
			}
			if total != 4 {
				t.Errorf("%d blobs are stored", total)
			}
		})
	}
}

// TestReadersWhileVolumesChange: many read while others append, purge and
// sweep.
func TestReadersWhileVolumesChange(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, hooks{volume: 2 << 20, firstBodies: 1 << 20}, sizesOf(150, 20_000)...)
	keep := s.ids[:20]
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewSource(int64(i)))
			for {
				select {
				case <-done:
					return
				default:
				}
				n := r.Intn(len(keep))
				b, err := s.a.OpenBlob(keep[n])
				if err != nil {
					t.Error(err)
					return
				}
				var w bytes.Buffer
				if _, err := b.WriteRange(&w, 0, b.Size()); err != nil || !bytes.Equal(w.Bytes(), s.text[n]) {
					t.Errorf("blob %d: %v", keep[n], err)
				}
				b.Close()
				if err := s.a.Headers(keep, func(i int, header []byte) bool {
					if !bytes.HasPrefix(s.text[i], header) || len(header) == 0 {
						t.Errorf("header of blob %d", keep[i])
					}
					return true
				}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for round := range 4 {
		uids := make([]imap.UID, 30)
		for i := range uids {
			uids[i] = imap.UID(21 + 30*round + i)
		}
		s.purge(uids)
		s.sweep()
		for i := range 10 {
			appendBlob(t, s.a, noise(int64(1000+100*round+i), 20_000))
		}
		s.a.f.blobs.volumes.closeResting()
	}
	close(done)
	wg.Wait()
	sound(t, s.a)
}
