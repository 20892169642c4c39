package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"testing"
)

// samples are pieces of all kinds of a chunk's lengths.
func samples() [][]byte {
	r := rand.New(rand.NewSource(2))
	var all [][]byte
	for _, n := range []int{0, 1, 2, 31, 100, 1000, 4095, 4096, chunkBytes - 1, chunkBytes} {
		random := make([]byte, n)
		r.Read(random)
		all = append(all, random, bytes.Repeat([]byte{'a'}, n), mailText(n, n)[:n])
	}
	return all
}

func TestChunkRoundTrip(t *testing.T) {
	t.Parallel()
	for _, src := range samples() {
		for name, encode := range map[string]func([]byte) ([]byte, error){
			"body":   func(b []byte) ([]byte, error) { return bodyCodec.encode([]byte("before"), b) },
			"header": func(b []byte) ([]byte, error) { return headerCodec.encode([]byte("before"), b) },
			"s2":     func(b []byte) ([]byte, error) { return encodeS2([]byte("before"), b), nil },
		} {
			v, err := encode(src)
			if err != nil || !bytes.HasPrefix(v, []byte("before")) {
				t.Fatal(name, err)
			}
			got, err := decodeChunk([]byte("dst"), place{1, 2, 3}.seal(v[len("before"):]), place{1, 2, 3})
			if err != nil || string(got) != "dst"+string(src) {
				t.Errorf("%s of %d octets: %d octets back, %v", name, len(src), len(got)-3, err)
			}
			if len(v) > len("before")+chunkHeader+len(src)+len(src)/100+16 {
				t.Errorf("%s of %d octets became %d", name, len(src), len(v))
			}
		}
	}
}

func TestDamagedChunkIsNeverServed(t *testing.T) {
	t.Parallel()
	for _, codec := range []*compressors{bodyCodec, headerCodec} {
		v, err := codec.encode(nil, mailText(1, 600))
		if err != nil {
			t.Fatal(err)
		}
		at := place{placeBlob, 7, 1}
		at.seal(v)
		for _, other := range []place{{placeRecords, 7, 1}, {placeBlob, 8, 1}, {placeBlob, 7, 2}} {
			if _, err := decodeChunk(nil, v, other); !errors.Is(err, ErrCorrupt) {
				t.Errorf("taken for %v: %v", other, err)
			}
		}
		for i := range v {
			for bit := range 8 {
				bad := bytes.Clone(v)
				bad[i] ^= 1 << bit
				if got, err := decodeChunk(nil, bad, at); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("bit %d of octet %d changed: %d octets, %v", bit, i, len(got), err)
				}
			}
			if _, err := decodeChunk(nil, v[:i], at); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	}
}

func TestChunkOfALaterFormat(t *testing.T) {
	t.Parallel()
	for i, what := range []string{"codec", "key id"} {
		v, err := bodyCodec.encode(nil, mailText(1, 600))
		if err != nil {
			t.Fatal(err)
		}
		v[i] = 200
		if _, err := decodeChunk(nil, place{}.seal(v), place{}); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func BenchmarkEncodeHeader(b *testing.B) {
	header := mailText(1, 0)
	var v []byte
	for range b.N {
		var err error
		if v, err = headerCodec.encode(v[:0], header); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(v))/float64(len(header)), "ratio")
	b.SetBytes(int64(len(header)))
}

func FuzzDecodeChunk(f *testing.F) {
	for _, src := range samples()[:12] {
		v, _ := bodyCodec.encode(nil, src)
		f.Add(v)
		f.Add(encodeS2(nil, src))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) >= chunkHeader {
			place{}.seal(v) // the decoders must stand anything
		}
		out, err := decodeChunk(nil, v, place{})
		if err == nil && len(out) > decodedMax {
			t.Fatal(fmt.Sprint(len(out), " octets"))
		}
	})
}
