package mail

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// BenchmarkFuzzy: mail as it is, long words that nearly match, and random
// letters without an end (RFC 6203 §8).
func BenchmarkFuzzy(b *testing.B) {
	const size = 1 << 20
	random := rand.New(rand.NewPCG(1, 1))
	letters := make([]byte, size)
	for i := range letters {
		letters[i] = 'a' + byte(random.IntN(26))
	}
	words := make([]byte, 0, size)
	for len(words) < size {
		n := 1 + random.IntN(9)
		words = append(append(words, letters[len(words):min(len(words)+n, size)]...), ' ')
	}
	long := strings.Repeat("a", 34)
	var many []string
	for i := range fuzzyWords {
		many = append(many, long+"bcdef"[:1+i%5])
	}
	for _, c := range []struct{ name, want, text string }{
		{"words", "quarterly figures", string(words[:size])},
		{"near", strings.Join(many, " "), strings.Repeat(long+"fedcb ", size/40)},
		{"endless", "quarterly figures", string(letters)},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := NewFuzzy(Normal(c.want))
			text := []byte(c.text)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				f.Reset()
				for piece := text; len(piece) > 0; {
					n := min(4096, len(piece))
					f.Feed(piece[:n])
					piece = piece[n:]
				}
				f.Score()
			}
		})
	}
}
