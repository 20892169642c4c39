package storage

import (
	"encoding/binary"
	"hash/fnv"
)

func fnvSum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// The pages of a large message name the chunks, not the message: that is said
// in a page above, which may be gone. But the checksum of a chunk takes in its
// place. A CRC is linear, so that the 32 bits of the BlobID follow from the
// checksum that the chunk has and the one that it would have as blob 0's.

const crcPoly = 0x82F63B78 // Castagnoli's, the highest power in the lowest bit

// crcTimes multiplies two polynomials modulo crcPoly.
func crcTimes(a, b uint32) (p uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			p ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crcPoly
		} else {
			b >>= 1
		}
	}
	return p
}

// crcOrder: x to this power is 1, as the polynomial is (x+1) times a
// primitive one of degree 31.
const crcOrder = 1<<31 - 1

// crcPower is x^n.
func crcPower(n uint64) uint32 {
	p, x := uint32(1<<31), uint32(1<<30)
	for n %= crcOrder; n > 0; n >>= 1 {
		if n&1 != 0 {
			p = crcTimes(p, x)
		}
		x = crcTimes(x, x)
	}
	return p
}

// blobOfChunk is the blob to which v can belong as chunk n. Any v gives one:
// that it is right shows with the other chunks and the sum over the message.
func blobOfChunk(v []byte, n uint32) BlobID {
	if len(v) < chunkHeader {
		return 0
	}
	diff := place{placeBlob, 0, n}.sum(v) ^ binary.LittleEndian.Uint32(v[2:])
	// The id is followed by its other half, n, codec, key id and data.
	bits := 8 * uint64(4+4+4+2+len(v)-chunkHeader)
	return BlobID(crcTimes(diff, crcPower(crcOrder-bits%crcOrder)))
}

// soundChunk reports whether v is a chunk that this place can have.
func soundChunk(v []byte, at place) bool {
	return chunkLike(v) && binary.LittleEndian.Uint32(v[2:]) == at.sum(v)
}

// chunkLike reports whether v can be a chunk at all.
func chunkLike(v []byte) bool { return len(v) >= chunkHeader && v[0] <= codecS2 && v[1] == 0 }
