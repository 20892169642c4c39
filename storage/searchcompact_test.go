package storage

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

func searchSize(t *testing.T, a *Account) int64 {
	t.Helper()
	info, err := os.Stat(a.index.path())
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// What search.db holds of removed messages goes, and nothing of the others.
func TestSearchIndexShrinks(t *testing.T) {
	t.Parallel()
	_, a := openHooks(t, hooks{})
	blobs := fillBlobs(t, a, 6*signatureBlobs, 3000)
	build(t, a)
	before := searchSize(t, a)
	box := inbox(t, a)
	_, rows := liveRows(t, a, box.ID)
	// All of the second block, and most of the others, at random.
	random := rand.New(rand.NewPCG(1, 1))
	var gone, kept []imap.UID
	var left []BlobID
	for i, r := range rows {
		if r.Blob/signatureBlobs == 2 || r.Blob/signatureBlobs != 4 && random.IntN(10) < 8 {
			gone = append(gone, r.UID)
			continue
		}
		kept = append(kept, r.UID)
		left = append(left, blobs[i])
	}
	needles := map[BlobID]string{}
	for _, id := range left[:len(left)/4] {
		text := normalText(t, a, id)
		at := random.IntN(len(text) - 10)
		needles[id] = text[at : at+10]
	}
	maybe := func() (all [][]bool) {
		for _, id := range left[:len(left)/4] {
			m, err := a.Candidates(left, needles[id])
			if err != nil || !m[slices.Index(left, id)] {
				t.Fatalf("blob %d is denied, %v", id, err)
			}
			all = append(all, m)
		}
		return all
	}
	was := maybe()
	for part := range slices.Chunk(gone, 200) {
		must(t, forgetNow(a, box, part))
	}
	must(t, a.sweepNow(t.Context()))
	must(t, a.Compact(t.Context(), false))
	if after := searchSize(t, a); after > before*6/10 {
		t.Errorf("search.db has %d octets of %d, with %d messages of %d left", after, before, len(kept), len(rows))
	} else {
		t.Logf("search.db: %d octets, then %d, with %d messages of %d left", before, after, len(kept), len(rows))
	}
	for i, m := range maybe() {
		if !slices.Equal(m, was[i]) {
			t.Fatal("other candidates than before")
		}
	}
	// Blocks without messages stay as built, without anything in them.
	must(t, a.index.use(mustFiles(t, a), func(db *boltFile) error {
		return db.View(func(tx *bolt.Tx) error {
			for n := range tx.Check() {
				t.Error(n)
			}
			b := tx.Bucket(bucketSignatures).Bucket([]byte{0, 0, 0, 0, 0, 0, 0, 2})
			if b == nil {
				return errors.New("the block that is empty is gone, and will be built again")
			}
			if k, _ := b.Cursor().First(); string(k) != string(keyCovered) {
				t.Errorf("the block that is empty holds %x", k)
			}
			return nil
		})
	}))
	a.index.built = nil
	if more, err := a.index.step(func() bool { return true }); more || err != nil {
		t.Errorf("something is built again: %v, %v", more, err)
	}
	sound(t, a)
}
