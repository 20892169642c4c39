package mail

import (
	"unicode"
	"unicode/utf8"
)

// A Fuzzy looks for text that is much like what it is given: the same words in
// any order, other forms of them, slips of the keyboard (RFC 6203). The text
// comes in pieces. Work for a word of the text is bounded by what both have of
// letters, at most fuzzyWord.
type Fuzzy struct {
	phrase *Needle // the whole, which is the best match
	words  [][]rune
	best   []int // of each word, in percent
	exact  bool

	word    []rune // that has begun
	partial []byte // of a letter
}

const (
	// fuzzyWord is how much of a word is compared, in letters.
	fuzzyWord = 40
	// fuzzyWords is how many words of what is looked for count.
	fuzzyWords = 20
	// fuzzyLeast is what the words have to be like on average, in percent.
	fuzzyLeast = 50
)

// NewFuzzy looks for s, which is in normal form.
func NewFuzzy(s string) *Fuzzy {
	f := &Fuzzy{phrase: NewNeedle(s)}
	var word []rune
	end := func() {
		if len(word) > 0 && len(f.words) < fuzzyWords {
			f.words = append(f.words, word)
		}
		word = nil
	}
	for _, r := range s {
		switch {
		case !inWord(r):
			end()
		case len(word) < fuzzyWord:
			word = append(word, r)
		}
	}
	end()
	f.best = make([]int, len(f.words))
	return f
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.M, r)
}

// Reset forgets the text.
func (f *Fuzzy) Reset() {
	f.phrase.Reset()
	clear(f.best)
	f.exact, f.word, f.partial = false, f.word[:0], f.partial[:0]
}

// Feed takes the next piece and reports whether no other can make the match
// better.
func (f *Fuzzy) Feed(piece []byte) (found bool) {
	if f.exact = f.exact || f.phrase.Feed(piece); f.exact {
		return true
	}
	for len(piece) > 0 {
		if len(f.partial) > 0 || piece[0] >= utf8.RuneSelf && !utf8.FullRune(piece) {
			f.partial, piece = append(f.partial, piece[0]), piece[1:]
			if utf8.FullRune(f.partial) {
				r, _ := utf8.DecodeRune(f.partial)
				f.take(r)
				f.partial = f.partial[:0]
			}
			continue
		}
		r, n := utf8.DecodeRune(piece)
		f.take(r)
		piece = piece[n:]
	}
	return false
}

func (f *Fuzzy) take(r rune) {
	switch {
	case !inWord(r):
		f.Break()
	case len(f.word) < fuzzyWord:
		f.word = append(f.word, r)
	}
}

// Break ends a word: text that follows is another.
func (f *Fuzzy) Break() {
	if len(f.word) == 0 {
		return
	}
	for i, want := range f.words {
		if f.best[i] < 100 {
			f.best[i] = max(f.best[i], likeness(want, f.word))
		}
	}
	f.word = f.word[:0]
}

// Score is how well the text matches, from 1 to 100, or 0 if it doesn't.
func (f *Fuzzy) Score() int {
	f.Break()
	if f.exact || len(f.phrase.s) == 0 {
		return 100
	}
	if len(f.words) == 0 {
		return 0
	}
	sum := 0
	for _, n := range f.best {
		sum += n
	}
	mean := sum / len(f.words)
	if mean < fuzzyLeast {
		return 0
	}
	return 1 + (mean-fuzzyLeast)*98/(100-fuzzyLeast)
}

// likeness of two words, in percent.
func likeness(want, have []rune) int {
	short, long := min(len(want), len(have)), max(len(want), len(have))
	same := 0
	for same < short && want[same] == have[same] {
		same++
	}
	switch {
	case same == long:
		return 100
	case same == short && short >= 4 && 2*short >= long: // "break", "breaking"
		return 85
	case long-short <= 2 && short >= 3:
		if n := slips(want, have); n == 1 {
			return 70
		} else if n == 2 && short >= 5 {
			return 55
		}
	}
	if same >= 4 && 3*same >= 2*long || same >= 5 && 2*same >= long { // "searching", "searched"
		return 60
	}
	return 0
}

// slips is how many letters are wrong, missing, too many or swapped with their
// neighbours, as far as that is at most 2.
func slips(a, b []rune) int {
	if len(a) < len(b) {
		a, b = b, a
	}
	for len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	switch {
	case len(a) > 6: // that can't be two
		return 3
	case len(b) == 0:
		return len(a)
	}
	var rows [3][8]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above := &rows[i%3], &rows[(i+2)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := above[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], rows[(i+1)%3][j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
