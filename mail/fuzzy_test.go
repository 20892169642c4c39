package mail

import (
	"strings"
	"testing"
)

func TestFuzzy(t *testing.T) {
	t.Parallel()
	score := func(want, text string, piece int) int {
		f := NewFuzzy(Normal(want))
		f.Feed([]byte("something before"))
		f.Reset()
		for b := []byte(Normal(text)); len(b) > 0; {
			n := min(piece, len(b))
			if f.Feed(b[:n]) {
				break
			}
			b = b[n:]
		}
		return f.Score()
	}
	for _, c := range []struct {
		want, text string
		least      int // 0: no match
		most       int
	}{
		{"IMAP break", "the IMAP break of 2010", 100, 100},
		{"IMAP break", "break of the imap", 99, 99},
		{"IMAP break", "IMAP is breaking", 70, 98},
		{"IMAP break", "unrelated words", 0, 0},
		{"Helo", "hello there", 30, 60},
		{"Helo", "please help", 30, 60},
		{"Helo", "a hole", 0, 60},
		{"Helo", "hello helo", 100, 100},
		{"Straße", "die strase", 30, 99},
		{"Grüße", "Viele GRÜSSE", 1, 60},
		{"recieve", "we receive it", 30, 60},
		{"attachment", "two atachmants", 0, 0}, {"attachment", "an atachmant", 5, 40},
		{"searching", "I searched", 5, 60},
		{"a", "b", 0, 0},
		{"x1", "x2", 0, 0},
		{"---", "a --- b", 100, 100},
		{"---", "a b", 0, 0},
		{"abc", "", 0, 0},
		{strings.Repeat("w", 100), strings.Repeat("w", 90), 99, 99}, // as far as it is compared
	} {
		for _, piece := range []int{1, 3, 1000} {
			if got := score(c.want, c.text, piece); got < c.least || got > c.most {
				t.Errorf("%q in %q, %d at a time: %d, want %d to %d", c.want, c.text, piece, got, c.least, c.most)
			}
		}
	}
}

func TestSlips(t *testing.T) {
	t.Parallel()
	for pair, want := range map[string]int{
		"abc abc": 0, "abc abd": 1, "abc acb": 1, "abc ab": 1, "abc xabc": 1, "abcd badc": 2, "abcdef fedcba": 5,
		"receive recieve": 1, "abcdefghij klmnopqrst": 3, "ab ba": 1, "kitten sitting": 3,
	} {
		a, b, _ := strings.Cut(pair, " ")
		for range 2 {
			if got := slips([]rune(a), []rune(b)); got != want && (got <= 2 || want <= 2) {
				t.Errorf("%s: %d, want %d", pair, got, want)
			}
			a, b = b, a
		}
	}
}

// Whatever comes, in whatever pieces, the score is in its range and the same.
func FuzzFuzzy(f *testing.F) {
	f.Add("IMAP break", "broken imap", 3)
	f.Add("\xffx", "é\xe2\x82", 1)
	f.Fuzz(func(t *testing.T, want, text string, piece int) {
		if piece < 1 || len(want) > 1000 || len(text) > 10_000 {
			return
		}
		whole, parts := NewFuzzy(Normal(want)), NewFuzzy(Normal(want))
		b := []byte(Normal(text))
		whole.Feed(b)
		for len(b) > 0 {
			n := min(piece, len(b))
			if parts.Feed(b[:n]) {
				break
			}
			b = b[n:]
		}
		a, c := whole.Score(), parts.Score()
		if a != c || a < 0 || a > 100 {
			t.Errorf("%d at once, %d in pieces", a, c)
		}
	})
}
