package storage

import (
	"bytes"
	"io"
	"math/rand"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// openSmallVolumes is openTest with body volumes of 4 MB, and none of the
// first bodies in mail.db.
func openSmallVolumes(t *testing.T) (*Store, *Account) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true, MaxMessage: 4 << 20, hooks: &hooks{volume: 8 << 20, firstBodies: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	info, err := st.CreateAccount("ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	return st, a
}

// noise is a message that can't be compressed.
func noise(seed int64, size int) []byte {
	b := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(b)
	return append([]byte("Subject: noise\r\n\r\n"), b...)
}

func readBlob(t *testing.T, a *Account, id BlobID) []byte {
	t.Helper()
	b, err := a.OpenBlob(id)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out bytes.Buffer
	if _, err := b.WriteRange(&out, 0, b.Size()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBigMessagesGoToVolumesAndComeBack(t *testing.T) {
	_, a := openSmallVolumes(t)
	box := inbox(t, a)
	sizes := []int{10, 64<<10 - 18, 64 << 10, 300 << 10, 1<<20 + 7, 3 << 20}
	var wg sync.WaitGroup
	uids := make([]imap.UID, 3*len(sizes))
	for i := range uids { // several at a time, so that volumes fill up under each other
		wg.Add(1)
		go func() {
			defer wg.Done()
			u, err := a.NewUpload(-1)
			if err != nil {
				t.Error(err)
				return
			}
			msg := noise(int64(i), sizes[i%len(sizes)])
			for r := bytes.NewReader(msg); err == nil && r.Len() > 0; {
				_, err = io.CopyN(u, r, min(int64(r.Len()), 50_000))
			}
			if err == nil {
				err = u.Close()
			}
			if err != nil {
				t.Error(err)
				return
			}
			res, err := a.Append(box.ID, []NewMessage{{Upload: u}})
			if err != nil {
				t.Error(err)
				return
			}
			uids[i] = res.UIDs[0]
		}()
	}
	wg.Wait()
	for i, uid := range uids {
		rows, err := a.Rows(box.Space, []imap.UID{uid}, nil)
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		if got := readBlob(t, a, rows[0].Blob); !bytes.Equal(got, noise(int64(i), sizes[i%len(sizes)])) {
			t.Errorf("message %d came back otherwise: %d octets", i, len(got))
		}
	}
	if a.f.blobs.volumes.last < 2 {
		t.Errorf("only %d volumes", a.f.blobs.volumes.last)
	}
	sound(t, a)
}

func TestAbortedUploadLeavesNothing(t *testing.T) {
	_, a := openSmallVolumes(t)
	u, err := a.NewUpload(-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(noise(1, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if u.written == 0 {
		t.Fatal("nothing is on disk: the test tests nothing")
	}
	u.Abort()
	u.Abort()
	a.exec(func(f *files) error {
		if len(f.blobs.live) > 0 {
			t.Errorf("%d uploads under way", len(f.blobs.live))
		}
		return nil
	})
	for n := range a.f.blobs.volumes.all {
		a.f.blobs.volumes.view(n, func(tx *bolt.Tx) error {
			for _, name := range [][]byte{bucketOpen, bucketChunks} {
				if k, _ := tx.Bucket(name).Cursor().First(); k != nil {
					t.Errorf("volume %d: %s has %x", n, name, k)
				}
			}
			return nil
		})
	}
	sound(t, a)
}

func TestDamagedChunkIsNotServed(t *testing.T) {
	v, err := bodyCodec.encode(nil, bytes.Repeat([]byte("words "), 1000))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeChunk(nil, place{}.seal(v), place{}); err != nil || len(got) != 6000 {
		t.Fatal(len(got), err)
	}
	for i := range v {
		bad := bytes.Clone(v)
		bad[i] ^= 0x10
		if got, err := decodeChunk(nil, bad, place{}); err == nil {
			t.Fatalf("octet %d changed: served %d octets", i, len(got))
		}
	}
}
