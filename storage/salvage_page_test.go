package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSortTable sorts more than there is memory for.
func TestSortTable(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 300, 20_000} {
		table := newSortTable(t.TempDir(), 12)
		table.max = 1200
		rnd := rand.New(rand.NewPCG(1, uint64(n)))
		for _, i := range rnd.Perm(n) {
			must(t, table.add(append(keyBlob(BlobID(i*2)), "abcd"...)))
		}
		must(t, table.sort())
		next := 0
		must(t, table.from(nil, func(rec []byte) bool {
			if !bytes.Equal(rec, append(keyBlob(BlobID(next*2)), "abcd"...)) {
				t.Fatalf("record %d is %x", next, rec)
			}
			next++
			return true
		}))
		if next != n {
			t.Fatalf("%d records of %d", next, n)
		}
		for range min(n, 200) {
			from, want := rnd.IntN(2*n), []byte(nil)
			must(t, table.from(keyBlob(BlobID(from)), func(rec []byte) bool {
				want = bytes.Clone(rec)
				return false
			}))
			if from > 2*n-2 {
				if want != nil {
					t.Fatalf("from %d: %x", from, want)
				}
			} else if !bytes.HasPrefix(want, keyBlob(BlobID((from+1)/2*2))) {
				t.Fatalf("from %d: %x", from, want)
			}
		}
		must(t, table.close())
	}
}

// failingPages reads like a disk with bad sectors.
type failingPages struct {
	r   io.ReaderAt
	bad map[uint64]bool
}

func (f failingPages) ReadAt(b []byte, off int64) (int, error) {
	for at := off / pageBytes; at*pageBytes < off+int64(len(b)); at++ {
		if f.bad[uint64(at)] {
			return max(0, int(at*pageBytes-off)), &os.PathError{Op: "read", Path: "mail.db", Err: syscall.EIO}
		}
	}
	return f.r.ReadAt(b, off)
}

// TestSalvageReadErrors: pages that can't be read are passed over, and no more
// than these.
func TestSalvageReadErrors(t *testing.T) {
	w := makeWreck(t)
	path := filepath.Join(w.account(w.data), "mail.db")
	leaves, branches := pagesOf(t, path, pageLeaf), pagesOf(t, path, pageBranch)
	for round := range 6 {
		rnd := rand.New(rand.NewPCG(9, uint64(round)))
		bad := map[uint64]bool{leaves[rnd.IntN(len(leaves))]: true, leaves[rnd.IntN(len(leaves))]: true}
		if round > 2 {
			bad[branches[rnd.IntN(len(branches))]] = true
			bad[uint64(round%2)] = true
		}
		w.disk = func(name string, r io.ReaderAt) io.ReaderAt {
			if name == "mail.db" {
				return failingPages{r, bad}
			}
			return r
		}
		_, c := w.salvage(t, w.data, false)
		w.disk = nil
		if c.Pages < len(bad)-1 || c.Exported < 200 {
			t.Errorf("bad pages %v: %+v", bad, c)
		}
	}
}

// FuzzSalvagePages reads any octets as a bbolt file: no panic, no endless
// loop, and nothing outside the file.
func FuzzSalvagePages(f *testing.F) {
	dir := f.TempDir()
	w := makeWreckWith(f, 3)
	for _, name := range []string{"mail.db", "body-0001.db"} {
		b, err := os.ReadFile(filepath.Join(w.account(w.data), name))
		if err != nil {
			f.Fatal(err)
		}
		b = b[:min(len(b), 160<<10)]
		f.Add(b)
		f.Add(b[:len(b)/2])
		broken := bytes.Clone(b)
		clear(broken[:2*pageBytes])
		f.Add(broken)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		x := newSalvageIndex(context.Background(), dir)
		for _, volume := range []uint16{0, 1} {
			file := &salvageFile{volume: volume, unread: map[uint64]error{}, raw: &rawFile{name: "x", r: bytes.NewReader(b), size: int64(len(b)), bad: func(uint64, error) {}}}
			file.raw.findOrder()
			var format *FormatError
			if err := x.read(file); err != nil && !errors.Is(err, errForeignVolume) && !errors.As(err, &format) {
				t.Fatal(err)
			}
		}
		must(t, x.sort())
		s := &salvager{x: x, sink: discardSalvage{}, kept: true, refs: newSortTable(dir, 8), absent: map[uint16]bool{}}
		must(t, s.run())
		must(t, s.pages())
		must(t, errors.Join(x.close(), s.refs.close()))
	})
}

type discardSalvage struct{}

func (discardSalvage) Account(string) error         { return nil }
func (discardSalvage) Mailbox(string) error         { return nil }
func (discardSalvage) Finding(SalvageFinding) error { return nil }
func (discardSalvage) Message(m *SalvagedMessage) error {
	_, err := io.Copy(io.Discard, m.Body())
	return err
}
