package storage

// A signature says which byte trigrams the normal text of a message may hold:
// signatureSlices bits, of which a trigram sets the one that its hash names.
// The signatures of signatureBlobs neighbouring blobs are stored bit-sliced:
// slice n is bit n of all of them, so that a query reads one slice for each of
// its trigrams and nothing else (STORAGE.md §9).
const (
	signatureBlobs  = 256
	signatureSlices = 16384
	sliceBytes      = signatureBlobs / 8
	// rowSlices are compressed and stored together.
	rowSlices     = 64
	sliceRowBytes = rowSlices * sliceBytes
	// signatureText is the longest normal text that gets a signature: beyond,
	// nearly all bits are set.
	signatureText = 1 << 20
	// needleTrigrams of a search string are looked at, at most.
	needleTrigrams = 32
)

// sliceOf is the hash of a trigram. It is part of the format of search.db.
func sliceOf(trigram uint32) uint32 {
	x := trigram * 0x9E3779B1
	x ^= x >> 15
	x *= 0x85EBCA77
	x ^= x >> 13
	return x >> (32 - 14) // signatureSlices are 14 bits
}

// blobSet is a set of the blobs of a block.
type blobSet [sliceBytes]byte

func (s *blobSet) add(slot int)      { s[slot/8] |= 1 << (slot % 8) }
func (s *blobSet) has(slot int) bool { return s[slot/8]&(1<<(slot%8)) != 0 }

// A signatureBlock is the block that is being built: half a megabyte.
type signatureBlock struct {
	number  uint64
	next    int // slot of the next blob
	covered blobSet
	slices  []byte // slice after slice

	// Of the blob that is being added.
	trigram uint32
	octets  int
}

func newSignatureBlock(number uint64) *signatureBlock {
	return &signatureBlock{number: number, slices: make([]byte, signatureSlices*sliceBytes)}
}

// begin starts the text of the next blob.
func (s *signatureBlock) begin() { s.octets = 0 }

// add takes a piece of the blob's normal text, and reports false when it is
// too long for a signature.
func (s *signatureBlock) add(piece []byte) bool {
	at, bit := s.next/8, byte(1)<<(s.next%8)
	t := s.trigram
	for i, c := range piece {
		t = (t<<8 | uint32(c)) & 0xffffff
		if s.octets+i >= 2 {
			s.slices[int(sliceOf(t))*sliceBytes+at] |= bit
		}
	}
	s.trigram = t
	s.octets += len(piece)
	return s.octets <= signatureText
}

// end finishes the blob; covered says that all of its text was added.
func (s *signatureBlock) end(covered bool) {
	if covered {
		s.covered.add(s.next)
	}
	s.next++
}

// row is row n of the block.
func (s *signatureBlock) row(n int) []byte { return s.slices[n*sliceRowBytes : (n+1)*sliceRowBytes] }

// needleSlices are the slices of a search string's trigrams, none twice; none
// at all for a string that is too short.
func needleSlices(needle string) (slices []uint32) {
	seen := map[uint32]bool{}
	for i := 0; i+3 <= len(needle) && len(slices) < needleTrigrams; i++ {
		n := sliceOf(uint32(needle[i])<<16 | uint32(needle[i+1])<<8 | uint32(needle[i+2]))
		if !seen[n] {
			seen[n] = true
			slices = append(slices, n)
		}
	}
	return slices
}
