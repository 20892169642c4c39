package storage

// A signature says which byte trigrams a message's normal text holds: each
// sets one of signatureBits. A text without all of a needle's bits does not
// hold the needle; one that has them may (STORAGE.md §9).
const signatureBits = 1 << 14

type signature [signatureBits / 64]uint64

// A trigramer sets the bits of a text that comes in pieces.
type trigramer struct {
	sig  *signature
	last uint32 // the octets before
	n    int    // how many of them, up to 2
}

func (t *trigramer) add(piece []byte) {
	for _, c := range piece {
		t.last = (t.last<<8 | uint32(c)) & 0xffffff
		if t.n < 2 {
			t.n++
			continue
		}
		bit := trigramBit(t.last)
		t.sig[bit/64] |= 1 << (bit % 64)
	}
}

// trigramBit spreads trigrams over the bits. It is part of search.db's format.
func trigramBit(x uint32) uint32 {
	x *= 0x9e3779b1
	x ^= x >> 15
	x *= 0x85ebca77
	return x >> (32 - 14)
}

// needleBits are the bits of a needle, each once; none for one that is too
// short.
func needleBits(needle string) (bits []uint32) {
	seen := map[uint32]bool{}
	for i := 0; i+3 <= len(needle); i++ {
		bit := trigramBit(uint32(needle[i])<<16 | uint32(needle[i+1])<<8 | uint32(needle[i+2]))
		if !seen[bit] {
			seen[bit] = true
			bits = append(bits, bit)
		}
	}
	return bits
}
