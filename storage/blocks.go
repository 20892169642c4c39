package storage

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// BlockUIDs is how many UIDs one Block spans.
const BlockUIDs = 4096

// sparseMax is up to how many UIDs a block is held as a list.
const sparseMax = 128

// A Block says which of BlockUIDs neighbouring UIDs exist. It is immutable,
// so that the store and all sessions share it; Add and Remove return a
// changed copy. A full block holds no bitmap, a sparse one a short list.
type Block struct {
	Index uint32 // UID / BlockUIDs
	Count uint16
	list  []uint16    // ascending, when Count <= sparseMax
	bits  *[64]uint64 // when sparseMax < Count < BlockUIDs
}

// BlockIndex is the Index of the block that holds uid.
func BlockIndex(uid imap.UID) uint32 { return uint32(uid) / BlockUIDs }

func blockOffset(uid imap.UID) uint16 { return uint16(uint32(uid) % BlockUIDs) }

// First is the lowest UID that the block could hold.
func (b *Block) First() imap.UID { return imap.UID(b.Index * BlockUIDs) }

// Has reports whether uid, which lies in the block's span, exists.
func (b *Block) Has(uid imap.UID) bool {
	off := blockOffset(uid)
	switch {
	case b.Count == BlockUIDs:
		return true
	case b.bits != nil:
		return b.bits[off/64]&(1<<(off%64)) != 0
	default:
		_, ok := slices.BinarySearch(b.list, off)
		return ok
	}
}

// Rank counts the UIDs of the block that are below uid, which lies in its span.
func (b *Block) Rank(uid imap.UID) int {
	off := blockOffset(uid)
	switch {
	case b.Count == BlockUIDs:
		return int(off)
	case b.bits != nil:
		n := 0
		for _, w := range b.bits[:off/64] {
			n += bits.OnesCount64(w)
		}
		return n + bits.OnesCount64(b.bits[off/64]&(1<<(off%64)-1))
	default:
		n, _ := slices.BinarySearch(b.list, off)
		return n
	}
}

// Nth is the UID with n smaller ones in the block; 0 <= n < Count.
func (b *Block) Nth(n int) imap.UID {
	switch {
	case b.Count == BlockUIDs:
		return b.First() + imap.UID(n)
	case b.bits != nil:
		for i, w := range b.bits {
			c := bits.OnesCount64(w)
			if n >= c {
				n -= c
				continue
			}
			for ; n > 0; n-- {
				w &= w - 1
			}
			return b.First() + imap.UID(i*64+bits.TrailingZeros64(w))
		}
		return 0
	default:
		return b.First() + imap.UID(b.list[n])
	}
}

// Append appends the block's UIDs that are not below lo and not above hi, as
// long as dst has room.
func (b *Block) Append(dst []imap.UID, lo, hi imap.UID) []imap.UID {
	if hi < b.First() || lo > b.First()+BlockUIDs-1 {
		return dst
	}
	n := 0
	if lo > b.First() {
		n = b.Rank(lo)
	}
	if b.bits == nil {
		for ; n < int(b.Count) && len(dst) < cap(dst); n++ {
			uid := b.Nth(n)
			if uid > hi {
				break
			}
			dst = append(dst, uid)
		}
		return dst
	}
	off := 0
	if lo > b.First() {
		off = int(blockOffset(lo))
	}
	for i := off / 64; i < 64; i++ {
		w := b.bits[i]
		if i == off/64 {
			w &= ^uint64(0) << (off % 64)
		}
		for ; w != 0; w &= w - 1 {
			uid := b.First() + imap.UID(i*64+bits.TrailingZeros64(w))
			if uid > hi || len(dst) == cap(dst) {
				return dst
			}
			dst = append(dst, uid)
		}
	}
	return dst
}

// bitmap is a fresh bitmap of the block.
func (b *Block) bitmap() *[64]uint64 {
	m := new([64]uint64)
	switch {
	case b.Count == BlockUIDs:
		for i := range m {
			m[i] = ^uint64(0)
		}
	case b.bits != nil:
		*m = *b.bits
	default:
		for _, off := range b.list {
			m[off/64] |= 1 << (off % 64)
		}
	}
	return m
}

// blockOf makes a block of a bitmap, which it takes over.
func blockOf(index uint32, m *[64]uint64) Block {
	b := Block{Index: index}
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	b.Count = uint16(n)
	if n == BlockUIDs {
		return b
	}
	b.bits = m
	if n > sparseMax {
		return b
	}
	list := make([]uint16, 0, n)
	for i, w := range m {
		for ; w != 0; w &= w - 1 {
			list = append(list, uint16(i*64+bits.TrailingZeros64(w)))
		}
	}
	b.list, b.bits = list, nil
	return b
}

// AddRange returns the block with the UIDs of [lo, hi] that lie in its span.
func (b Block) AddRange(lo, hi imap.UID) Block { return b.setRange(lo, hi, true) }

// RemoveRange returns the block without the UIDs of [lo, hi].
func (b Block) RemoveRange(lo, hi imap.UID) Block { return b.setRange(lo, hi, false) }

func (b Block) setRange(lo, hi imap.UID, on bool) Block {
	m := b.bitmap()
	lo, hi = max(lo, b.First()), min(hi, b.First()+BlockUIDs-1)
	for uid := lo; uid <= hi; uid++ {
		off := blockOffset(uid)
		if on {
			m[off/64] |= 1 << (off % 64)
		} else {
			m[off/64] &^= 1 << (off % 64)
		}
	}
	return blockOf(b.Index, m)
}

// Remove returns the block without the given UIDs, which are ascending and in
// its span.
func (b Block) Remove(uids []imap.UID) Block {
	m := b.bitmap()
	for _, uid := range uids {
		off := blockOffset(uid)
		m[off/64] &^= 1 << (off % 64)
	}
	return blockOf(b.Index, m)
}

// Stored forms: count, little-endian, then nothing (full), the list, or the bitmap.

func (b *Block) encode() []byte {
	v := binary.LittleEndian.AppendUint16(nil, b.Count)
	switch {
	case b.Count == BlockUIDs:
	case b.bits != nil:
		for _, w := range b.bits {
			v = binary.LittleEndian.AppendUint64(v, w)
		}
	default:
		for _, off := range b.list {
			v = binary.LittleEndian.AppendUint16(v, off)
		}
	}
	return v
}

func decodeBlock(index uint32, v []byte) (Block, bool) {
	if len(v) < 2 {
		return Block{}, false
	}
	b := Block{Index: index, Count: binary.LittleEndian.Uint16(v)}
	v = v[2:]
	switch {
	case b.Count == BlockUIDs && len(v) == 0:
		return b, true
	case b.Count > sparseMax && b.Count < BlockUIDs && len(v) == 512:
		b.bits = new([64]uint64)
		n := 0
		for i := range b.bits {
			b.bits[i] = binary.LittleEndian.Uint64(v[8*i:])
			n += bits.OnesCount64(b.bits[i])
		}
		return b, n == int(b.Count)
	case b.Count > 0 && b.Count <= sparseMax && len(v) == 2*int(b.Count):
		b.list = make([]uint16, b.Count)
		for i := range b.list {
			b.list[i] = binary.LittleEndian.Uint16(v[2*i:])
			if b.list[i] >= BlockUIDs || i > 0 && b.list[i] <= b.list[i-1] {
				return Block{}, false
			}
		}
		return b, true
	}
	return Block{}, false
}

// Blocks are the non-empty blocks of a space in ascending order. Immutable.
type Blocks []Block

// Messages counts the UIDs.
func (bs Blocks) Messages() int {
	n := 0
	for i := range bs {
		n += int(bs[i].Count)
	}
	return n
}
