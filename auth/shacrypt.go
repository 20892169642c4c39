package auth

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strconv"
	"strings"
)

// SHA-crypt is what most Unix systems keep passwords with: $5$ with SHA-256, $6$
// with SHA-512 (U. Drepper, "Unix crypt using SHA-256 and SHA-512", 2008).
const (
	shaCryptRounds  = 5000 // when the hash doesn't say
	minCryptRounds  = 1000
	maxCryptRounds  = 1_000_000
	shaCryptSalt    = 16
	cryptBase64     = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	roundsParameter = "rounds="
)

// The orders in which the octets of the digests are written, three for four
// characters.
var (
	order256 = []int{0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, -1, 31, 30}
	order512 = []int{0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52, 10,
		53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41, -1, -1, 63}
)

// A shaCrypt is a stored hash.
type shaCrypt struct {
	long   bool // SHA-512
	rounds int
	salt   string
	digest string // as it is written
}

// parseShaCrypt reads "$5$[rounds=N$]salt$digest", or with $6$.
func parseShaCrypt(text string) (h foreignHash, err error) {
	s := shaCrypt{long: strings.HasPrefix(text, "$6$"), rounds: shaCryptRounds}
	rest := text[3:]
	if n, ok := strings.CutPrefix(rest, roundsParameter); ok {
		number, after, _ := strings.Cut(n, "$")
		if s.rounds, err = strconv.Atoi(number); err != nil {
			return nil, hashError("its rounds are no number")
		}
		rest = after
	}
	s.salt, s.digest, _ = strings.Cut(rest, "$")
	digits := 43
	if s.long {
		digits = 86
	}
	switch {
	case s.rounds < minCryptRounds || s.rounds > maxCryptRounds:
		return nil, hashError("it has %d rounds, want %d to %d", s.rounds, minCryptRounds, maxCryptRounds)
	case len(s.salt) > shaCryptSalt:
		return nil, hashError("its salt is longer than %d characters", shaCryptSalt)
	case len(s.digest) != digits || strings.Trim(s.digest, cryptBase64) != "":
		return nil, hashError("it doesn't end with %d characters of a digest", digits)
	}
	return s, nil
}

func (s shaCrypt) matches(password string) (bool, error) {
	newHash, order := sha256.New, order256
	if s.long {
		newHash, order = sha512.New, order512
	}
	return sameText(cryptDigits(s.compute(newHash, []byte(password)), order), s.digest), nil
}

// compute is Drepper's algorithm; the numbers are those of his steps.
func (s shaCrypt) compute(newHash func() hash.Hash, password []byte) []byte {
	salt := []byte(s.salt)
	b := newHash() // 4-8
	b.Write(password)
	b.Write(salt)
	b.Write(password)
	sumB := b.Sum(nil)

	a := newHash() // 1-3, 9-12
	a.Write(password)
	a.Write(salt)
	a.Write(repeated(sumB, len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			a.Write(sumB)
		} else {
			a.Write(password)
		}
	}
	sum := a.Sum(nil)

	dp := newHash() // 13-16
	for range password {
		dp.Write(password)
	}
	p := repeated(dp.Sum(nil), len(password))
	ds := newHash() // 17-20
	for range 16 + int(sum[0]) {
		ds.Write(salt)
	}
	sBytes := repeated(ds.Sum(nil), len(salt))

	c := newHash() // 21
	for i := range s.rounds {
		c.Reset()
		odd := i&1 != 0
		writeOne(c, odd, p, sum)
		if i%3 != 0 {
			c.Write(sBytes)
		}
		if i%7 != 0 {
			c.Write(p)
		}
		writeOne(c, !odd, p, sum)
		sum = c.Sum(sum[:0])
	}
	return sum
}

func writeOne(h hash.Hash, first bool, one, other []byte) {
	if first {
		h.Write(one)
	} else {
		h.Write(other)
	}
}

// repeated is b again and again, n octets of it.
func repeated(b []byte, n int) []byte {
	all := make([]byte, 0, n+len(b))
	for len(all) < n {
		all = append(all, b...)
	}
	return all[:n]
}

// cryptDigits writes a digest with crypt's digits, the lowest six bits first. An
// order's -1 stands for no octet; what remains has only as many digits as it needs.
func cryptDigits(sum []byte, order []int) string {
	var b strings.Builder
	for i := 0; i+2 < len(order); i += 3 {
		v, octets := 0, 0
		for _, at := range order[i : i+3] {
			v <<= 8
			if at >= 0 {
				v |= int(sum[at])
				octets++
			}
		}
		for range octets + 1 {
			b.WriteByte(cryptBase64[v&63])
			v >>= 6
		}
	}
	return b.String()
}
