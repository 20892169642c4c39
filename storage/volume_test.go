package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

var smallVolumes = hooks{volume: 4 << 20, firstBodies: 1 << 20}

// A blobScene is an account with blobs and what they hold.
type blobScene struct {
	t    *testing.T
	st   *Store
	a    *Account
	ids  []BlobID
	text [][]byte
}

func newBlobScene(t *testing.T, h hooks, sizes ...int) *blobScene {
	st, a := openHooks(t, h)
	s := &blobScene{t: t, st: st, a: a}
	for i, n := range sizes {
		s.add(noise(int64(i), n))
	}
	return s
}

func (s *blobScene) add(msg []byte) {
	s.t.Helper()
	s.text = append(s.text, msg)
	s.ids = append(s.ids, appendBlob(s.t, s.a, msg))
}

// reopen closes the account's files, lets change work on them, and opens them
// again with the next use.
func (s *blobScene) reopen(change func(dir string)) {
	s.t.Helper()
	for { // the work of quiet moments may use them
		s.a.closeAtRest()
		s.a.mu.Lock()
		if s.a.f == nil {
			break
		}
		s.a.mu.Unlock()
	}
	defer s.a.mu.Unlock()
	change(s.a.dir)
}

// read reads blob i. What is given out must be what was stored.
func (s *blobScene) read(i int) error {
	s.t.Helper()
	b, err := s.a.OpenBlob(s.ids[i])
	if err != nil {
		return err
	}
	defer b.Close()
	var w bytes.Buffer
	_, err = b.WriteRange(&w, 0, b.Size())
	if !bytes.HasPrefix(s.text[i], w.Bytes()) || err == nil && w.Len() != len(s.text[i]) {
		s.t.Fatalf("blob %d: wrong octets given out", s.ids[i])
	}
	return err
}

func (s *blobScene) volumeOf(i int) (n uint16) {
	s.t.Helper()
	if err := s.a.read(func(_ *files, tx *bolt.Tx) error {
		row, err := readBlobRow(tx, s.ids[i])
		n = row.volume
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *blobScene) readAll(want func(i int) error) {
	s.t.Helper()
	for i := range s.ids {
		if err := s.read(i); !errors.Is(err, want(i)) || (err == nil) != (want(i) == nil) {
			s.t.Errorf("blob %d in volume %d: %v, want %v", s.ids[i], s.volumeOf(i), err, want(i))
		}
	}
}

func nothing(int) error { return nil }

func putFile(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sizesOf(n, size int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = size
	}
	return s
}

func TestVolumesRollOver(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(60, 400_000)...)
	last := s.a.f.blobs.volumes.last
	if last < 6 || s.volumeOf(0) != 0 || s.volumeOf(59) != last {
		t.Fatalf("%d volumes; the first blob is in volume %d, the last in %d", last, s.volumeOf(0), s.volumeOf(59))
	}
	for n := uint16(1); n <= last; n++ {
		if fi, err := os.Stat(s.a.f.blobs.volumes.path(n)); err != nil || fi.Size() > smallVolumes.volume {
			t.Errorf("volume %d: %d octets, %v", n, fi.Size(), err)
		}
	}
	s.readAll(nothing)
	sound(t, s.a)
	s.reopen(func(string) {})
	s.readAll(nothing)
	open := 0
	for n, v := range s.a.f.blobs.volumes.all {
		if v.isOpen() {
			open++
			if v.write || !v.db.IsReadOnly() {
				t.Errorf("volume %d is open for writing after reading", n)
			}
		}
	}
	if open == 0 || open > openVolumes {
		t.Errorf("%d volumes are open", open)
	}
	// Ids and the last volume go on where they were.
	s.add(noise(60, 400_000))
	if s.ids[60] != s.ids[59]+1 || s.volumeOf(60) < last {
		t.Errorf("after reopening: blob %d in volume %d", s.ids[60], s.volumeOf(60))
	}
	s.readAll(nothing)
	sound(t, s.a)
}

// What is free in a volume may be in pieces that no chunk finds room in: then
// messages get the next one, and none is refused.
func TestVolumeFreeInPieces(t *testing.T) {
	t.Parallel()
	h := hooks{volume: 4 << 20, firstBodies: 1, maps: smallBudget(1<<30, 32, false)}
	s := newBlobScene(t, h, 400_000)
	if err := s.a.exec(func(f *files) error {
		vs := &f.blobs.volumes
		for i := range 700 { // of two that take turns, one goes
			if err := vs.commit(vs.last, func(tx *bolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "pieces %d", i%2))
				return errors.Join(err, b.Put(fmt.Appendf(nil, "%04d", i), make([]byte, 3000)))
			}); err != nil {
				return err
			}
		}
		return errors.Join(vs.commit(vs.last, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("pieces 1")) }),
			vs.commit(vs.last, func(*bolt.Tx) error { return nil })) // what the one before freed is free now
	}); err != nil {
		t.Fatal(err)
	}
	for i := int64(1); i < 12; i++ {
		s.add(noise(i, 300_000))
	}
	if s.volumeOf(11) == 1 {
		t.Error("the first volume was never full")
	}
	s.readAll(nothing)
	s.reopen(func(string) {})
	s.readAll(nothing)
}

func TestRestingVolumesAreClosed(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(30, 400_000)...)
	vs := &s.a.f.blobs.volumes
	for _, v := range vs.all {
		v.used.Store(0)
	}
	b, err := s.a.OpenBlob(s.ids[29])
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	vs.closeResting()
	for n, v := range vs.all {
		if v.isOpen() != (n == s.volumeOf(29)) {
			t.Errorf("volume %d: open is %v", n, v.isOpen())
		}
	}
	s.readAll(nothing)
}

func TestForeignVolumeIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(12, 400_000)...)
	other := newBlobScene(t, smallVolumes, sizesOf(12, 300_000)...)
	other.a.closeAtRest()
	var own []byte
	path := s.a.f.blobs.volumes.path(1)
	s.reopen(func(string) {
		var err error
		if own, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		putFile(t, path, filepath.Join(other.a.dir, "body-0001.db"))
	})
	s.readAll(func(i int) error {
		if s.volumeOf(i) == 1 {
			return ErrUnavailable
		}
		return nil
	})
	for i := range s.ids {
		if err := s.read(i); err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), string(other.a.id))) {
			t.Errorf("the error names neither file nor owner: %v", err)
		}
	}
	s.add(noise(100, 400_000)) // new mail has a place
	if findings, err := s.a.Check(); err != nil || len(findings) == 0 {
		t.Error("Check says nothing", err)
	}
	s.reopen(func(string) { os.WriteFile(path, own, 0o600) })
	s.readAll(nothing)
	sound(t, s.a)
}

func TestVolumeOfALaterFormat(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(6, 400_000)...)
	path := s.a.f.blobs.volumes.path(1)
	s.reopen(func(string) {
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("min_reader"), []byte{9, 0}) })
		db.Close()
	})
	var format *FormatError
	if err := s.read(5); !errors.As(err, &format) || format.MinReader != 9 || format.File != path {
		t.Error(err)
	}
}

func TestMissingVolumeComesBack(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(24, 400_000)...)
	vs := &s.a.f.blobs.volumes
	last := vs.last
	for _, n := range []uint16{1, last} { // a sealed one, and the one that was written to
		path := vs.path(n)
		s.reopen(func(string) { os.Rename(path, path+".away") })
		s.readAll(func(i int) error {
			if s.volumeOf(i) == n {
				return ErrUnavailable
			}
			return nil
		})
		next := s.ids[len(s.ids)-1] + 1
		s.add(noise(int64(1000+n), 400_000))
		if got := s.ids[len(s.ids)-1]; got < next || s.volumeOf(len(s.ids)-1) == n {
			t.Errorf("blob %d went into volume %d, which is missing", got, s.volumeOf(len(s.ids)-1))
		}
		// The same bytes again: stored anew, not taken for known.
		for i := range s.ids {
			if s.volumeOf(i) == n {
				s.add(s.text[i])
				break
			}
		}
		if err := s.read(len(s.ids) - 1); err != nil {
			t.Error("the same bytes, brought again:", err)
		}
		if findings, err := s.a.Check(); err != nil || len(findings) == 0 {
			t.Error("Check says nothing", err)
		}
		os.Rename(path+".away", path) // while the account is open
		s.readAll(nothing)
		sound(t, s.a)
	}
}

// TestVolumeBehind: a volume that came back from an older copy. What it lacks
// is unavailable, the rest works, and nothing is written into it.
func TestVolumeBehind(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	path := s.a.f.blobs.volumes.path(1)
	old, now := path+".old", path+".now"
	s.reopen(func(string) { putFile(t, old, path) })
	for i := range 3 {
		s.add(noise(int64(100+i), 400_000))
	}
	if s.volumeOf(6) != 1 {
		t.Fatal("the scene is not as it should be")
	}
	s.reopen(func(string) { putFile(t, now, path); putFile(t, path, old) })
	s.readAll(func(i int) error {
		if i >= 4 {
			return ErrUnavailable
		}
		return nil
	})
	s.add(noise(200, 400_000))
	if s.volumeOf(7) == 1 || s.ids[7] <= s.ids[6] {
		t.Errorf("blob %d was written into volume %d", s.ids[7], s.volumeOf(7))
	}
	for more := true; more; {
		if err := s.a.exec(func(f *files) (err error) { more, err = f.blobs.sweep(); return err }); err != nil {
			t.Fatal(err)
		}
	}
	s.reopen(func(string) { putFile(t, path, now) })
	s.readAll(nothing)
	sound(t, s.a)
}

// TestVolumeAhead: the index came back from an older copy. The bytes that it
// doesn't know are left alone, and their ids are not given out again.
func TestVolumeAhead(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(4, 400_000)...)
	s.reopen(func(dir string) { putFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "mail.db")) })
	for i := range 3 {
		s.add(noise(int64(100+i), 400_000))
	}
	lost := slices.Clone(s.ids[4:7])
	s.reopen(func(dir string) { putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "old")) })
	s.ids, s.text = s.ids[:4], s.text[:4]
	s.readAll(nothing)
	for more := true; more; {
		if err := s.a.exec(func(f *files) (err error) { more, err = f.blobs.sweep(); return err }); err != nil {
			t.Fatal(err)
		}
	}
	s.add(noise(200, 400_000))
	if s.ids[4] <= lost[2] || s.volumeOf(4) == 1 {
		t.Errorf("new mail is blob %d in volume %d", s.ids[4], s.volumeOf(4))
	}
	for _, id := range lost {
		if err := s.a.f.viewVolume(1, func(tx *bolt.Tx) error { return (&blobRow{}).stored(tx, id) }); err != nil {
			t.Errorf("bytes that may have been acknowledged are gone: %v", err)
		}
	}
	s.readAll(nothing)
}

// TestBadBlobsDoNotSpoilABatch: Records and Headers give nothing for a blob
// that can't be read, and go on with the others.
func TestBadBlobsDoNotSpoilABatch(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, append(sizesOf(12, 400_000), 100_000, 10)...)
	// A header of several chunks, one in mail.db, one in a volume.
	long := append(append([]byte("X: "), bytes.Repeat([]byte("long "), 40_000)...), "\r\n\r\nbody"...)
	s.add(long)
	s.a.exec(func(f *files) error { f.blobs.bodies = f.blobs.first; return nil })
	s.add(append([]byte("Y: 1\r\n"), long...))
	ids := append([]BlobID{999_999}, s.ids...)
	ids = append(ids, 0, s.ids[3], s.ids[1], s.ids[2])
	text := append([][]byte{nil}, s.text...)
	text = append(text, nil, s.text[3], s.text[1], s.text[2])
	s.reopen(func(string) { os.Rename(s.a.dir+"/body-0001.db", s.a.dir+"/away") })
	seen := 0
	if err := s.a.Headers(ids, func(i int, header []byte) bool {
		if i != seen {
			t.Fatalf("call %d is for blob %d", seen, i)
		}
		seen++
		end := max(headerEnd(text[i], 0), 0)
		if i > 0 && i <= len(s.ids) && s.volumeOf(i-1) == 1 || i > len(s.ids)+1 && s.volumeOf([]int{3, 1, 2}[i-len(s.ids)-2]) == 1 {
			end = 0
		}
		if string(header) != string(text[i][:end]) {
			t.Errorf("header %d: %d octets, not %d", i, len(header), end)
		}
		return true
	}); err != nil || seen != len(ids) {
		t.Errorf("%d of %d headers: %v", seen, len(ids), err)
	}
	seen = 0
	if err := s.a.Records(ids, func(i int, rec mail.Record) bool {
		seen++
		if rec.Valid() != (text[i] != nil) || rec.Size() != int64(len(text[i])) {
			t.Errorf("record %d: %v, size %d", i, rec.Valid(), rec.Size())
		}
		return true
	}); err != nil || seen != len(ids) {
		t.Errorf("%d of %d records: %v", seen, len(ids), err)
	}
	seen = 0
	s.a.Headers(ids, func(int, []byte) bool { seen++; return seen < 3 })
	s.a.Records(ids, func(int, mail.Record) bool { seen++; return seen < 6 })
	if seen != 6 {
		t.Errorf("%d calls: not stopped", seen)
	}
}

func TestRecordsAreMadeAgain(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, hooks{}, sizesOf(20, 1000)...)
	var parts bytes.Buffer
	parts.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for i := range 900 {
		fmt.Fprintf(&parts, "--b\r\nContent-Type: text/plain; name=%d\r\n\r\nx\r\n", i)
	}
	s.add(parts.Bytes())
	want := make([][]byte, len(s.ids))
	collect := func(f func(i int, rec mail.Record)) {
		t.Helper()
		if err := s.a.Records(s.ids, func(i int, rec mail.Record) bool { f(i, rec); return true }); err != nil {
			t.Fatal(err)
		}
	}
	collect(func(i int, rec mail.Record) { want[i] = bytes.Clone(rec) })
	if len(want[20]) <= ownRecord {
		t.Fatalf("a record of %d octets is not a large one", len(want[20]))
	}
	same := func(i int, rec mail.Record) {
		if !bytes.Equal(rec, want[i]) {
			t.Errorf("record of blob %d came back otherwise", s.ids[i])
		}
	}
	sound(t, s.a)
	s.a.exec(func(f *files) error { // damage all
		return f.mail.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketRecords)
			return b.ForEach(func(k, v []byte) error {
				bad := bytes.Clone(v)
				bad[len(bad)/2] ^= 1
				return b.Put(k, bad)
			})
		})
	})
	collect(same)
	s.add(noise(50, 100)) // shares a damaged block
	want = append(want, nil)
	collect(func(i int, rec mail.Record) {
		if i < 21 {
			same(i, rec)
		} else if rec.Size() != int64(len(s.text[i])) {
			t.Error("the new record is wrong")
		}
	})
}

// TestDamagedVolume: whatever happens to a volume's octets, what is given out
// is what was stored, or an error.
func TestDamagedVolume(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, append(sizesOf(8, 200_000), sizesOf(60, 3000)...)...)
	path := s.a.f.blobs.volumes.path(1)
	var good []byte
	s.reopen(func(string) { good, _ = os.ReadFile(path) })
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	failed := map[error]int{}
	r := rand.New(rand.NewSource(5))
	for round := range rounds {
		bad := bytes.Clone(good)
		switch round % 4 {
		case 0: // cut short
			bad = bad[:r.Intn(len(bad))]
		case 1: // a page of zeros, or of another place
			page := r.Intn(len(bad)/4096-3) + 2
			copy(bad[page*4096:(page+1)*4096], bad[r.Intn(len(bad)-4096):])
		default: // changed octets in the first octets of pages, where bbolt's structure is
			for range 1 + r.Intn(20) {
				page := r.Intn(len(bad)/4096-2) + 2
				bad[page*4096+r.Intn(64)] ^= byte(1 + r.Intn(255))
			}
			for range r.Intn(20) {
				bad[8192+r.Intn(len(bad)-8192)] ^= byte(1 + r.Intn(255))
			}
		}
		s.reopen(func(string) { os.WriteFile(path, bad, 0o600) })
		for i := range s.ids {
			err := s.read(i)
			switch {
			case err == nil:
			case errors.Is(err, ErrCorrupt):
				failed[ErrCorrupt]++
			case errors.Is(err, ErrUnavailable):
				failed[ErrUnavailable]++
			default:
				t.Errorf("round %d, blob %d: %v", round, s.ids[i], err)
			}
		}
		if err := s.a.Headers(s.ids, func(i int, header []byte) bool {
			if len(header) > 0 && !bytes.HasPrefix(s.text[i], header) {
				t.Fatalf("round %d: wrong header of blob %d", round, s.ids[i])
			}
			return true
		}); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("round %d: %v", round, err)
		}
	}
	t.Log(failed)
	if failed[ErrCorrupt] == 0 || failed[ErrUnavailable] == 0 {
		t.Error("the damage did nothing")
	}
	s.reopen(func(string) { os.WriteFile(path, good, 0o600) })
	s.readAll(nothing)
	sound(t, s.a)
}

// TestTruncatedUnderReaders: the file is cut short while it is mapped.
func TestTruncatedUnderReaders(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(8, 300_000)...)
	s.reopen(func(string) {})
	s.readAll(nothing)
	if err := os.Truncate(s.a.f.blobs.volumes.path(1), 64<<10); err != nil {
		t.Fatal(err)
	}
	s.readAll(func(i int) error {
		if s.volumeOf(i) == 1 {
			return ErrUnavailable
		}
		return nil
	})
	if _, err := s.a.Rows(inbox(t, s.a).Space, []imap.UID{1}, nil); err != nil {
		t.Error(err)
	}
}

// TestDamagedLastVolume: mail goes on into a new volume, at the latest with
// the second try, when the one that is written to is damaged.
func TestDamagedLastVolume(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, smallVolumes, sizesOf(8, 200_000)...)
	path := s.a.f.blobs.volumes.path(1)
	var good []byte
	s.reopen(func(string) { good, _ = os.ReadFile(path) })
	r := rand.New(rand.NewSource(6))
	for round := range 20 {
		bad := bytes.Clone(good)
		for page := 8192; page < len(bad); page += 4096 {
			if r.Intn(3) == 0 {
				bad[page+r.Intn(32)] ^= byte(1 + r.Intn(255))
			}
		}
		s.reopen(func(string) { os.WriteFile(path, bad, 0o600) })
		tries := 0
		for ; tries < 3; tries++ {
			u := upload(t, s.a, string(noise(int64(1000+10*round+tries), 150_000)))
			res, err := s.a.Append(inbox(t, s.a).ID, []NewMessage{{Upload: u}})
			if err == nil {
				rows, err := s.a.Rows(inbox(t, s.a).Space, res.UIDs, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := readBlob(t, s.a, rows[0].Blob); len(got) != 150_018 {
					t.Errorf("%d octets", len(got))
				}
				break
			}
		}
		if tries > 1 {
			t.Errorf("round %d: no mail after %d tries", round, tries)
		}
		s.a.exec(func(f *files) error { _, err := f.blobs.sweep(); return err })
	}
}
