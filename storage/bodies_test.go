package storage

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestBodies compares with OpenBlob: small and large messages, in mail.db and
// in several volumes, in any order, twice, and without a header.
func TestBodies(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (*Store, *Account){
		"volumes": openSmallVolumes, "mail.db": func(t *testing.T) (*Store, *Account) { return openTest(t) },
	} {
		t.Run(name, func(t *testing.T) {
			_, a := open(t)
			var blobs []BlobID
			var want [][]byte
			for i := range 150 {
				msg := append([]byte("Subject: x\r\n\r\n"), noise(int64(i), 1+(i*7919)%(120<<10))...)
				switch i % 10 {
				case 3:
					msg = msg[:min(len(msg), 100)]
				case 4:
					msg = append(msg, 'x')[14:]
				case 5:
					msg = append([]byte("X: "), bytes.Repeat([]byte("long header "), len(msg)/12)...)
				}
				blobs, want = append(blobs, appendBlob(t, a, msg)), append(want, msg)
			}
			blobs, want = append(blobs, blobs[7], 1<<40), append(want, want[7], nil)
			rand.Shuffle(len(blobs), func(i, j int) {
				blobs[i], blobs[j] = blobs[j], blobs[i]
				want[i], want[j] = want[j], want[i]
			})
			next := 0
			err := a.Bodies(blobs, func(i int, body []byte) bool {
				if i != next {
					t.Fatalf("message %d, want %d", i, next)
				}
				next++
				switch {
				case len(want[i]) > bodyMax || want[i] == nil:
					if body != nil {
						t.Errorf("%d octets of blob %d, which is too large or not there", len(body), blobs[i])
					}
				case !bytes.Equal(body, want[i]):
					t.Errorf("blob %d of %d octets: %d others", blobs[i], len(want[i]), len(body))
				}
				return true
			})
			if err != nil || next != len(blobs) {
				t.Error(next, err)
			}
			for _, stop := range []int{0, 1, 40, len(blobs) - 1} {
				n := 0
				if err := a.Bodies(blobs, func(i int, _ []byte) bool { n++; return i < stop }); err != nil || n != stop+1 {
					t.Errorf("stopped at %d: %d calls, %v", stop, n, err)
				}
			}
		})
	}
}

// TestBodiesDamaged: a damaged message is not given out, and its neighbours are.
func TestBodiesDamaged(t *testing.T) {
	_, a := openTest(t)
	var blobs []BlobID
	for i := range 20 {
		blobs = append(blobs, appendBlob(t, a, append([]byte("Subject: x\r\n\r\n"), noise(int64(i), 5000)...)))
	}
	err := a.exec(func(f *files) error {
		return f.mail.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketChunks).Bucket(keyBlob(blobs[5]))
			v := slices.Clone(b.Get(keyChunk(1)))
			v[100] ^= 1
			return b.Put(keyChunk(1), v)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = a.Bodies(blobs, func(i int, body []byte) bool {
		if (body == nil) != (i == 5) {
			t.Errorf("message %d: %d octets", i, len(body))
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}
