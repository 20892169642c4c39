package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A churn writes to a bbolt file as no account would: buckets come and go, grow
// beyond a page and shrink to a value, keys come in between.
type churn struct {
	random *rand.Rand
	mu     sync.Mutex // of who writes
	b      *boltFile
}

func (w *churn) change(tx *bolt.Tx) error {
	root := tx.Cursor().Bucket()
	top := []byte{'a' + byte(w.random.IntN(6))}
	if w.random.IntN(400) == 0 {
		if root.Bucket(top) != nil {
			return root.DeleteBucket(top)
		}
	}
	b, err := root.CreateBucketIfNotExists(top)
	if err != nil {
		return err
	}
	for range 1 + w.random.IntN(40) {
		key := fmt.Appendf(nil, "k%05d", w.random.IntN(3000))
		name := fmt.Appendf(nil, "s%02d", w.random.IntN(60))
		switch w.random.IntN(10) {
		case 0, 1, 2, 3:
			err = b.Put(key, make([]byte, w.random.IntN(300)))
		case 4:
			err = b.Put(key, bytes.Repeat(key, w.random.IntN(2000)))
		case 5, 6:
			err = b.Delete(key)
		case 7:
			if b.Bucket(name) != nil {
				err = b.DeleteBucket(name)
			}
		default:
			var sub *bolt.Bucket
			if sub, err = b.CreateBucketIfNotExists(name); err == nil {
				err = sub.Put(key, bytes.Repeat([]byte{byte(w.random.IntN(256))}, w.random.IntN(1<<w.random.IntN(14))))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *churn) write() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Update(w.change)
}

// dump is everything in a bucket.
func dump(b *bolt.Bucket, path string, to map[string]string) {
	_ = b.ForEach(func(k, v []byte) error {
		name := path + "/" + string(k)
		if v == nil {
			to[name] = "bucket"
			dump(b.Bucket(k), name, to)
			return nil
		}
		to[name] = "value " + string(v)
		return nil
	})
}

func dumpFile(t *testing.T, b *boltFile) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := b.View(func(tx *bolt.Tx) error { dump(tx.Cursor().Bucket(), "", all); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func checkFile(t *testing.T, b *boltFile) {
	t.Helper()
	if err := b.View(func(tx *bolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Errorf("bbolt's check: %v", err)
	}
}

// TestCompactorUnderChurn compacts files that are written to all the time. At
// the moment of each swap the copy must be what the source is, entry by entry.
func TestCompactorUnderChurn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			_, a := openHooks(t, hooks{}) // without syncs
			dir := t.TempDir()
			path := filepath.Join(dir, "churn.db")
			bo := func() *bolt.Options {
				o := boltOptions(&Options{NoSync: true})
				if seed == 0 {
					o.InitialMmapSize = 0 // mapped anew while it grows: pins get lost
				}
				return o
			}
			b, err := openMap(path, bo())
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			w := &churn{random: rand.New(rand.NewPCG(seed, 1)), b: b}
			for range 300 {
				if err := w.write(); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() {
				for ctx.Err() == nil {
					if err := w.write(); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(seed)*time.Millisecond + 100*time.Microsecond)
				}
			})
			all.Go(func() { // a reader, across the swaps
				for ctx.Err() == nil {
					dumpFile(t, b)
				}
			})
			swaps := 0
			for range 6 {
				c := &compaction{ctx: ctx, a: a, path: path, bo: bo(),
					begin:     func() (*pinned, error) { return b.beginPin(func() {}) },
					exclusive: func(fn func() error) error { w.mu.Lock(); defer w.mu.Unlock(); return fn() },
					stamp:     func(*bolt.Tx) error { return nil },
				}
				c.swap = func(copy *boltFile) error {
					want, have := dumpFile(t, b), dumpFile(t, copy)
					for k, v := range want {
						if have[k] != v {
							t.Errorf("the copy has %.40q as %s, not %.40q", have[k], k, v)
						}
					}
					for k := range have {
						if want[k] == "" {
							t.Errorf("the copy has %s, which is gone", k)
						}
					}
					swaps++
					b.replace(copy)
					return nil
				}
				if err := c.run(); err != nil && !errors.Is(err, errCompactBusy) {
					t.Error(err)
				}
			}
			stop()
			all.Wait()
			if swaps < 3 {
				t.Errorf("only %d of 6 compactions came to an end", swaps)
			}
			checkFile(t, b)
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("left in the folder: %v", left)
			}
		})
	}
}
