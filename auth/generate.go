package auth

import (
	"crypto/rand"
	"math/big"
)

// Letters that look alike in some font, on paper or in a dark room (i l o)
// are left out; small letters alone need no shift key on a phone.
const passwordLetters = "abcdefghjkmnpqrstuvwxyz"

// Five groups of four letters out of 23 are 90 bits.
const (
	passwordGroups = 5
	passwordGroup  = 4
)

// Six groups of five are 135: nobody types an app password twice.
const (
	appGroups = 6
	appGroup  = 5
)

// GeneratePassword makes a password that can be read out and typed: five
// groups of four letters, 90 bits.
func GeneratePassword() string { return generate(passwordGroups, passwordGroup) }

func generate(groups, size int) string {
	most := big.NewInt(int64(len(passwordLetters)))
	b := make([]byte, 0, groups*(size+1))
	for i := range groups * size {
		if i > 0 && i%size == 0 {
			b = append(b, '-')
		}
		n, _ := rand.Int(rand.Reader, most) // never fails: crypto/rand
		b = append(b, passwordLetters[n.Int64()])
	}
	return string(b)
}
