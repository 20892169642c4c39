package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// soon fails the test when fn doesn't return: bbolt's locks were left behind.
func soon(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s waits for ever", what)
	}
}

func newBoltFile(t *testing.T) (b *boltFile, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "test.db")
	b, err := openMap(path, &bolt.Options{PageSize: 4096, Timeout: time.Second, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("b"))
		if err != nil {
			return err
		}
		for i := range 200 {
			if err := bucket.Put(keyBlob(BlobID(i)), make([]byte, 1000)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b, path
}

func TestPanicInATransaction(t *testing.T) {
	t.Parallel()
	b, _ := newBoltFile(t)
	for name, do := range map[string]func(func(tx *bolt.Tx) error) error{"View": b.View, "Update": b.Update} {
		if err := do(func(*bolt.Tx) error { panic("assertion failed") }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		soon(t, name, func() {
			if err := b.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte("k"), nil) }); err != nil {
				t.Errorf("after a panic in %s: %v", name, err)
			}
		})
	}
	soon(t, "Close", func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFileIsGone: nothing is left of the file under the map, not even the
// pages that a transaction begins with.
func TestFileIsGone(t *testing.T) {
	t.Parallel()
	b, path := newBoltFile(t)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	soon(t, "reading", func() {
		for range 3 {
			if err := b.View(func(tx *bolt.Tx) error { tx.Bucket([]byte("b")).Get(keyBlob(7)); return nil }); !errors.Is(err, ErrUnavailable) {
				t.Errorf("View: %v", err)
			}
			if err := b.Update(func(*bolt.Tx) error { return nil }); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Update: %v", err)
			}
		}
	})
	soon(t, "Close", func() { b.Close() })
	again, err := openMap(path, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err) // an empty file is made a new one
	}
	again.Close()
}

// TestBadFreePages: bbolt panics when it opens a file for writing whose list
// of free pages is damaged, and when it takes a transaction back.
func TestBadFreePages(t *testing.T) {
	t.Parallel()
	b, path := newBoltFile(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(to []byte) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(to[8192:], 8192); err != nil {
			t.Fatal(err)
		}
	}
	if b, err = openMap(path, &bolt.Options{Timeout: time.Second, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, len(good))
	damage(zero)
	soon(t, "taking back", func() {
		for range 3 {
			if err := b.Update(func(*bolt.Tx) error { return errors.New("take it back") }); err == nil {
				t.Error("no error")
			}
		}
	})
	soon(t, "Close", func() { b.Close() })
	for range 2 {
		if _, err := openMap(path, &bolt.Options{Timeout: time.Second, PreLoadFreelist: true}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opened: %v", err)
		}
	}
	damage(good)
	if b, err = openMap(path, &bolt.Options{Timeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	b.Close()
}
