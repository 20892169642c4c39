package wire

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// partialFlushed are commands as zlib sends them, each ended by Z_PARTIAL_FLUSH
// and no more.
var partialFlushed = []struct{ command, data string }{
	{"a1 NOOP\r\n", "4a3454f0f3f70fe0e50208"},
	{"a2 SELECT INBOX\r\n", "a044238560571f57e710054f3f27ff085e2e8000"},
	{"a3 UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)])\r\n", "4a345608f5745170730d71f65030b4d252d000737d1cdd83159cfc5d22f5025c5dbda33d5c1d5d5c83f4dc3c5d7d5c8215345c1c435c15dc82fc7d1582439dbc80a669c66af2720104"},
	{"a4 NOOP\r\n", "50a209d4128000"},
}

// arrivals is a reader of one piece a Read. It fails when more is asked for than
// what came.
type arrivals struct{ all [][]byte }

var errNothingCame = errors.New("nothing came")

func (p *arrivals) Read(b []byte) (int, error) {
	if len(p.all) == 0 {
		return 0, errNothingCame
	}
	n := copy(b, p.all[0])
	if p.all[0] = p.all[0][n:]; len(p.all[0]) == 0 {
		p.all = p.all[1:]
	}
	return n, nil
}

// TestInflatePartialFlush: what came is handed over at a partial flush, and the
// error of a reader that has no more doesn't stick.
func TestInflatePartialFlush(t *testing.T) {
	in := new(arrivals)
	z := NewInflater(in)
	for _, f := range partialFlushed {
		data, err := hex.DecodeString(f.data)
		if err != nil {
			t.Fatal(err)
		}
		in.all = [][]byte{data}
		var got []byte
		for buf := make([]byte, 7); ; {
			n, err := z.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				if !errors.Is(err, errNothingCame) {
					t.Fatal(err)
				}
				break
			}
		}
		if string(got) != f.command {
			t.Fatalf("got %q of %q", got, f.command)
		}
	}
}

func deflate(t testing.TB, level int, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for i, piece := 0, max(len(text)/7, 1); len(text) > 0; i++ {
		n := min(piece, len(text))
		_, _ = w.Write(text[:n])
		if text = text[n:]; i%2 == 0 {
			_ = w.Flush()
		}
	}
	_ = w.Close()
	return b.Bytes()
}

// TestInflate takes what compress/flate makes, in pieces of all sizes.
func TestInflate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1951))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(r.Uint32() >> (r.Uint32() % 8))
	}
	texts := [][]byte{{}, []byte("x"), bytes.Repeat([]byte("ab"), 100_000), noise,
		[]byte(strings.Repeat("* 12 FETCH (UID 100 FLAGS (\\Seen))\r\n", 3000)), make([]byte, 300_000)}
	for i, text := range texts {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			data := deflate(t, level, text)
			in := new(arrivals)
			for len(data) > 0 {
				n := min(1+r.IntN(3000), len(data))
				in.all = append(in.all, data[:n])
				data = data[n:]
			}
			got, err := io.ReadAll(NewInflater(in))
			if err != nil || !bytes.Equal(got, text) {
				t.Fatalf("text %d, level %d: %d octets of %d, %v", i, level, len(got), len(text), err)
			}
		}
	}
}

// TestInflateMemory: a router has many connections.
func TestInflateMemory(t *testing.T) {
	if n := unsafe.Sizeof(Inflater{}); n > 40<<10 {
		t.Errorf("an Inflater has %d octets", n)
	}
}

// FuzzInflate: whatever comes, it gives what compress/flate gives.
func FuzzInflate(f *testing.F) {
	f.Add(deflate(f, 6, []byte("a1 NOOP\r\na2 NOOP\r\n")))
	f.Add(deflate(f, 0, []byte("a1 NOOP")))
	f.Add(deflate(f, -2, bytes.Repeat([]byte("NOOP"), 300)))
	for _, p := range partialFlushed {
		data, _ := hex.DecodeString(p.data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), limit))
		got, err := io.ReadAll(io.LimitReader(NewInflater(bytes.NewReader(data)), limit))
		if wantErr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%d octets, %v; want %d", len(got), err, len(want))
		}
		if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) {
			t.Fatalf("other octets than compress/flate")
		}
	})
}
