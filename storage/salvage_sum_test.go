package storage

import (
	"math/rand/v2"
	"testing"
)

func TestBlobOfChunk(t *testing.T) {
	t.Parallel()
	for range 2000 {
		v := make([]byte, chunkHeader+rand.IntN(70000))
		for i := range v {
			v[i] = byte(rand.Uint32())
		}
		v[0], v[1] = codecRaw, 0
		id, n := uint64(rand.Uint32()), rand.Uint32N(1000)
		place{placeBlob, id, n}.seal(v)
		if got := blobOfChunk(v, n); uint64(got) != id {
			t.Fatalf("chunk of %d octets, %d of blob %d: found %d", len(v), n, id, got)
		}
	}
}
