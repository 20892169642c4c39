package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
	"nestbox/test/tap"
)

// openHooks makes a data folder with one account and the given limits.
func openHooks(t testing.TB, h hooks) (*Store, *Account) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true, hooks: &h})
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.CreateAccount("ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, a
}

// tryUpload writes msg in pieces of random lengths.
func tryUpload(a *Account, msg []byte, size int64, r *rand.Rand) (*Upload, error) {
	u, err := a.NewUpload(size)
	for len(msg) > 0 && err == nil {
		n := min(len(msg), 1+r.Intn(1<<r.Intn(18)))
		_, err = u.Write(msg[:n])
		msg = msg[n:]
	}
	if err == nil {
		err = u.Close()
	}
	return u, err
}

// emptyStore reports what is left of uploads in the account's volumes.
func emptyStore(t *testing.T, a *Account) {
	t.Helper()
	err := a.exec(func(f *files) error {
		if len(f.blobs.live) > 0 || f.blobs.bodies != 0 {
			t.Errorf("%d uploads under way, %d octets in mail.db", len(f.blobs.live), f.blobs.bodies)
		}
		for n := range f.blobs.volumes.last + 1 {
			if err := f.viewVolume(n, func(tx *bolt.Tx) error {
				for _, name := range [][]byte{bucketOpen, bucketHeads, bucketChunks} {
					if k, _ := tx.Bucket(name).Cursor().First(); k != nil {
						t.Errorf("volume %d: %s has %x", n, name, k)
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestUploadRefusals(t *testing.T) {
	t.Parallel()
	st, a := openHooks(t, hooks{volume: 4 << 20, firstBodies: 1 << 20})
	st.opts.MaxMessage = 1 << 20
	if _, err := a.NewUpload(1<<20 + 1); err != ErrTooBig {
		t.Error(err)
	}
	u, err := a.NewUpload(-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(noise(1, 1<<20-100)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 200)); err != ErrTooBig {
		t.Error(err)
	}
	if err := u.Close(); err != ErrTooBig {
		t.Error("closed with", err)
	}
	if _, err := a.Append(inbox(t, a).ID, []NewMessage{{Upload: u}}); err == nil {
		t.Error("a part of a message was appended")
	}
	if u, err = a.NewUpload(-1); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(inbox(t, a).ID, []NewMessage{{Upload: u}}); err == nil {
		t.Error("an upload without an end was appended")
	}
	if _, err := u.Write([]byte("x")); err == nil {
		t.Error("wrote after the end")
	}
	emptyStore(t, a)
	sound(t, a)
}

func TestAbortAtAnyMoment(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]hooks{"mail.db": {volume: 64 << 20}, "volumes": {volume: 4 << 20, firstBodies: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, a := openHooks(t, h)
			box := inbox(t, a)
			var wg sync.WaitGroup
			for i := range 24 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					r := rand.New(rand.NewSource(int64(i)))
					msg := noise(int64(i), r.Intn(1<<20))
					u, err := a.NewUpload(-1)
					if err != nil {
						t.Error(err)
						return
					}
					cut := r.Intn(len(msg))
					for off := 0; off < cut; {
						n := min(cut-off, 1+r.Intn(100_000))
						if _, err := u.Write(msg[off : off+n]); err != nil {
							t.Error(err)
						}
						off += n
					}
					switch r.Intn(3) {
					case 0:
						if err := u.Close(); err != nil {
							t.Error(err)
						}
					case 1: // refused: no such mailbox
						if err := u.Close(); err != nil {
							t.Error(err)
						}
						if _, err := a.Append(MailboxID{1}, []NewMessage{{Upload: u}}); !errors.Is(err, ErrNoMailbox) {
							t.Error(err)
						}
					}
					u.Abort()
				}()
			}
			wg.Wait()
			emptyStore(t, a)
			sound(t, a)
			if m := inbox(t, a); m.HighestModSeq != box.HighestModSeq {
				t.Error("the mailbox changed")
			}
		})
	}
}

// TestSameBytes: the same bytes at once, together and later are one blob.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]hooks{"mail.db": {volume: 64 << 20}, "volumes": {volume: 16 << 20, firstBodies: 1}} {
		for _, size := range []int{100, 900 << 10} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				t.Parallel()
				_, a := openHooks(t, h)
				box := inbox(t, a)
				msg := noise(1, size)
				var wg sync.WaitGroup
				for i := range 6 {
					wg.Add(1)
					go func() {
						defer wg.Done()
						r := rand.New(rand.NewSource(int64(i)))
						var msgs []NewMessage
						for range 1 + i%2 {
							u, err := tryUpload(a, msg, int64(len(msg)), r)
							if err != nil {
								t.Error(err)
								return
							}
							msgs = append(msgs, NewMessage{Upload: u})
						}
						if _, err := a.Append(box.ID, msgs); err != nil {
							t.Error(err)
						}
					}()
				}
				wg.Wait()
				u, err := tryUpload(a, msg, -1, rand.New(rand.NewSource(9)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := a.Append(box.ID, []NewMessage{{Upload: u}}); err != nil {
					t.Fatal(err)
				}
				sound(t, a)
				stored := 0
				for n := range a.f.blobs.volumes.last + 1 {
					a.f.viewVolume(n, func(tx *bolt.Tx) error { stored += tx.Bucket(bucketHeads).Stats().KeyN; return nil })
				}
				if m := inbox(t, a); m.Messages != 10 || stored != 1 {
					t.Errorf("%d messages, %d blobs stored", m.Messages, stored)
				}
			})
		}
	}
}

// TestUploadOutlivesRest: the account's files may not be closed under a half
// written upload, because the next opening would free it.
func TestUploadOutlivesRest(t *testing.T) {
	t.Parallel()
	_, a := openHooks(t, hooks{volume: 64 << 20})
	msg := noise(1, 1<<20)
	u, err := a.NewUpload(-1)
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(msg); off += 100_000 {
		if _, err := u.Write(msg[off:min(off+100_000, len(msg))]); err != nil {
			t.Fatal(err)
		}
		a.closeAtRest()
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	a.closeAtRest()
	box := inbox(t, a)
	res, err := a.Append(box.ID, []NewMessage{{Upload: u}})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := a.Rows(box.Space, res.UIDs, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.closeAtRest()
	a.mu.Lock()
	if a.f != nil {
		t.Error("the files stay open after the upload")
	}
	a.mu.Unlock()
	if got := readBlob(t, a, rows[0].Blob); !bytes.Equal(got, msg) {
		t.Error("came back otherwise")
	}
	sound(t, a)
}

// TestBigUploadUsesLittleMemory: 50 MB in and out again add less than 8 MB.
func TestBigUploadUsesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("50 MB")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	_, a := openHooks(t, hooks{})
	a.st.opts.MaxMessage = 60 << 20
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1)) // what stays for good is there
	debug.FreeOSMemory()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse+m.StackInuse))
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	const size = 50 << 20
	u, err := a.NewUpload(size)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.New()
	r := rand.New(rand.NewSource(1))
	w := io.MultiWriter(u, want)
	io.WriteString(w, "Subject: big\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := make([]byte, 16<<10)
	for u.Size() < size-int64(len(line)) {
		for i := range line {
			line[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[r.Intn(64)]
			if i%78 >= 76 {
				line[i] = "\r\n"[i%78-76]
			}
		}
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := a.Append(box.ID, []NewMessage{{Upload: u}})
	if err != nil {
		t.Fatal(err)
	}
	in := peak.Load()
	rows, err := a.Rows(box.Space, res.UIDs, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.OpenBlob(rows[0].Blob)
	if err != nil {
		t.Fatal(err)
	}
	got := sha256.New()
	if _, err := b.WriteRange(got, 0, b.Size()); err != nil {
		t.Fatal(err)
	}
	b.Close()
	close(stop)
	<-stopped
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Error("came back otherwise")
	}
	base := before.HeapInuse + before.StackInuse
	t.Logf("at rest %.1f MB; in +%.1f MB, in and out +%.1f MB", mb(base), mb(in-base), mb(peak.Load()-base))
	if peak.Load()-base > 8<<20 {
		t.Error("more than 8 MB")
	}
}

func mb(n uint64) float64 { return float64(n) / (1 << 20) }

// TestManyUploadsUseLittleMemory: a MULTIAPPEND's messages go to the disk
// before they fill the memory, and all appear at once.
func TestManyUploadsUseLittleMemory(t *testing.T) {
	_, a := openHooks(t, hooks{volume: 64 << 20, firstBodies: 8 << 20})
	var msgs []NewMessage
	r := rand.New(rand.NewSource(1))
	most := int64(0)
	for i := range 150 {
		u, err := tryUpload(a, noise(int64(i), 100_000), 100_018, r)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, NewMessage{Upload: u})
		held := int64(0)
		for _, m := range msgs {
			held += m.Upload.staged()
		}
		most = max(most, held)
	}
	if most > stagedAll+stagedMax {
		t.Errorf("%d octets wait in memory", most)
	}
	box := inbox(t, a)
	res, err := a.Append(box.ID, msgs)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := a.Rows(box.Space, res.UIDs, nil)
	if err != nil || len(rows) != len(msgs) {
		t.Fatal(len(rows), err)
	}
	for i := range rows {
		if !bytes.Equal(readBlob(t, a, rows[i].Blob), noise(int64(i), 100_000)) {
			t.Fatalf("message %d came back otherwise", i)
		}
	}
	sound(t, a)
}

// TestHeaderEnd: where the store cuts is where the parser says the header
// ends, however the octets come in.
func TestHeaderEnd(t *testing.T) {
	t.Parallel()
	_, a := openHooks(t, hooks{})
	long := "X-Long: " + string(bytes.Repeat([]byte("y"), 990)) + "\r\n"
	var big bytes.Buffer
	for big.Len() < 150_000 {
		big.WriteString(long)
	}
	texts := []string{"", "\n", "\r\n", "\r", "\r\r\n", "\n\n", "a", "a\n", "a\r\n", "a: b\r\n\r\n", "a: b\n\nc", "a: b\r\n\nc", "a: b\n\r\nc",
		"a: b\r\n\r\r\n\r\nc", "a: b\r\n \r\n\r\nc", "\r\nbody", "\nbody\r\n\r\nmore", "no header at all", "a: b\rc: d\r\r", "a: b\r\n\x00\r\n\r\nx",
		big.String(), big.String() + "\r\nbody", big.String()[:chunkBytes-4] + "\r\n\r\nbody", big.String()[:chunkBytes-2] + "\r\n\r\nbody",
		big.String()[:chunkBytes-1] + "\n\r\nbody", big.String()[:chunkBytes-3] + "\r\n\r\n" + big.String()}
	r := rand.New(rand.NewSource(3))
	for i, text := range texts {
		for range 4 {
			u, err := tryUpload(a, []byte(text), -1, r)
			if err != nil {
				t.Fatal(err)
			}
			if want := min(u.Record().HeaderSize(), chunkBytes); int64(u.head) != want {
				t.Errorf("%d: chunk 0 has %d octets, the header %d", i, u.head, want)
			}
			u.Abort()
		}
		id := appendBlob(t, a, []byte(text))
		checkRanges(t, a, id, []byte(text), r)
		if err := a.Headers([]BlobID{id}, func(_ int, header []byte) bool {
			var rec mail.Record
			a.Records([]BlobID{id}, func(_ int, r mail.Record) bool { rec = slices.Clone(r); return true })
			if string(header) != text[:rec.HeaderSize()] {
				t.Errorf("%d: Headers gives %d octets, not %d", i, len(header), rec.HeaderSize())
			}
			return true
		}); err != nil {
			t.Error(err)
		}
	}
	sound(t, a)
}

// checkRanges reads random ranges of a blob.
func checkRanges(t *testing.T, a *Account, id BlobID, want []byte, r *rand.Rand) {
	t.Helper()
	b, err := a.OpenBlob(id)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Size() != int64(len(want)) {
		t.Fatalf("%d octets, not %d", b.Size(), len(want))
	}
	for range 20 {
		off := r.Intn(len(want) + 1)
		n := r.Intn(len(want) - off + 1)
		got := make([]byte, n)
		if _, err := b.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+n]) {
			t.Fatalf("ReadAt %d, %d: %v", off, n, err)
		}
		var w bytes.Buffer
		if _, err := b.WriteRange(&w, int64(off), int64(n)); err != nil || !bytes.Equal(w.Bytes(), want[off:off+n]) {
			t.Fatalf("WriteRange %d, %d: %v", off, n, err)
		}
	}
	if n, err := b.ReadAt(make([]byte, 10), b.Size()-1); len(want) > 0 && (n != 1 || err != io.EOF) {
		t.Errorf("read beyond the end: %d %v", n, err)
	}
	if _, err := b.WriteRange(io.Discard, 0, b.Size()+1); err != io.ErrUnexpectedEOF {
		t.Errorf("wrote beyond the end: %v", err)
	}
}

func TestMain(m *testing.M) {
	tap.Launch()
	code := m.Run()
	if n := stagedNow.Load(); n != 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d octets of uploads are still counted\n", n)
		code = 1
	}
	os.Exit(code)
}
