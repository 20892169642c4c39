package storage

import (
	"encoding/binary"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// sumOfKeys adds up what growing keeps the sum of.
func sumOfKeys(tx *bolt.Tx) (sum, noted uint64) {
	_ = tx.Bucket(bucketRows).ForEach(func(k, v []byte) error {
		sum += binary.LittleEndian.Uint64(v)
		return nil
	})
	_ = tx.Bucket(bucketChunks).ForEachBucket(func(k []byte) error {
		return tx.Bucket(bucketChunks).Bucket(k).ForEach(func(_, v []byte) error {
			sum += binary.LittleEndian.Uint64(v)
			return nil
		})
	})
	return sum, getUint64(tx.Bucket(bucketMeta), "sum")
}

// growing changes a file in ways that move all of its pages, and keeps the sum
// of all values in it.
func growing(random *rand.Rand, n int, big int) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		meta, rows, chunks := tx.Bucket(bucketMeta), tx.Bucket(bucketRows), tx.Bucket(bucketChunks)
		sum := getUint64(meta, "sum")
		for range 50 {
			key := binary.BigEndian.AppendUint32(nil, uint32(random.Intn(5000)))
			if old := rows.Get(key); old != nil {
				sum -= binary.LittleEndian.Uint64(old)
			}
			v := random.Uint64()
			sum += v
			if err := rows.Put(key, append(binary.LittleEndian.AppendUint64(nil, v), make([]byte, 60)...)); err != nil {
				return err
			}
		}
		b, err := chunks.CreateBucketIfNotExists(keyBlob(BlobID(n % 300)))
		if err != nil {
			return err
		}
		if old := b.Get([]byte("x")); old != nil {
			sum -= binary.LittleEndian.Uint64(old)
		}
		v := random.Uint64()
		sum += v
		if err := b.Put([]byte("x"), append(binary.LittleEndian.AppendUint64(nil, v), make([]byte, random.Intn(big))...)); err != nil {
			return err
		}
		return putUint64(meta, "sum", sum)
	}
}

// A copy is a state that the file had, while every page of the file moves and
// its map grows many times.
func TestPageCopyWhileTheFileGrows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bo := boltOptions(&Options{NoSync: true})
	bo.InitialMmapSize = 0 // as with 32 bits: the map grows with the file
	db, err := openMap(filepath.Join(dir, "a.db"), bo)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bucketMeta, bucketRows, bucketChunks} {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewSource(6))
	commits := 0
	for ; commits < 100; commits++ {
		if err := db.Update(growing(random, commits, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var slowest time.Duration
	wg.Go(func() {
		for ; ; commits++ {
			select {
			case <-stop:
				return
			default:
			}
			start := time.Now()
			if err := db.Update(growing(random, commits, 10_000+commits*20)); err != nil {
				t.Error(err)
				return
			}
			slowest = max(slowest, time.Since(start))
			time.Sleep(time.Millisecond)
		}
	})
	lost := 0
	for i := range 12 {
		lost += copyPages(t, db, filepath.Join(dir, "copy.db"), i%3 == 0)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d commits, the slowest %v, the pin was lost %d times", commits, slowest, lost)
}

// copyPages copies a file in use and looks at the copy.
func copyPages(t *testing.T, db *boltFile, to string, slow bool) (lost int) {
	t.Helper()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := &pageCopy{pin: pin{name: "a.db", begin: func() (*pinned, error) { return db.beginPin(func() {}) }}}
	defer c.pin.close()
	write := func(runs []pageRun) {
		for _, r := range joinRuns(runs) {
			if _, err := f.WriteAt(r.data, r.offset); err != nil {
				t.Fatal(err)
			}
		}
	}
	complete := false
	for n := 0; !complete; n++ {
		if err := c.roll(); err != nil {
			t.Fatal(err)
		}
		// The writer is faster than small slices; an account's is held up at last.
		s := newPageSlice(256<<10<<min(n/8, 8), time.Second)
		if complete, err = c.slice(s); err != nil {
			t.Fatal(err)
		}
		if complete {
			size, err := c.head(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
		}
		write(s.runs)
		for wait := 0; slow && !complete && wait < 3; wait++ {
			time.Sleep(pinTime)
			if err := c.roll(); err != nil {
				t.Fatal(err)
			}
		}
	}
	bo := boltOptions(&Options{})
	bo.InitialMmapSize, bo.ReadOnly = 0, true
	copied, err := openMap(to, bo)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	err = copied.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		if sum, noted := sumOfKeys(tx); sum != noted || sum == 0 {
			t.Errorf("the values add up to %d, not %d", sum, noted)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.lost
}
