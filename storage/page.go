package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// The pages of a bbolt file, as far as a copy has to understand them (bbolt
// 1.5, internal/common): 4096 bytes each, or several that follow each other,
// all numbers in the byte order of the machine.
//
//	page    id u64, flags u16, count u16, overflow u32 (pages that follow)
//	branch  count * (pos u32, key length u32, child page u64)
//	leaf    count * (flags u32, pos u32, key length u32, value length u32);
//	        flag 1: the value is a bucket: root page u64 (0: inline), sequence u64
//	free    page numbers u64; if count is 0xFFFF the first is how many
//	meta    magic u32, version u32, page size u32, flags u32, root bucket (u64, u64),
//	        free list page u64, pages in the file u64, transaction u64, checksum u64
const (
	pageBytes  = 4096
	pageHeader = 16

	pageBranch = 0x01
	pageLeaf   = 0x02
	pageFree   = 0x10

	metaRoot     = pageHeader + 16
	metaFreelist = pageHeader + 32
	metaPages    = pageHeader + 40
	metaTx       = pageHeader + 48
	metaEnd      = pageHeader + 64

	// pageRunMax bounds what one page with its overflow can be: a list of free
	// pages is the largest.
	pageRunMax = 64 << 20
)

// A pageFile reads pages of a bbolt file.
type pageFile struct {
	name string
	r    io.ReaderAt
}

// page appends page id, with those that belong to it, to dst. The file has
// pages pages.
func (f pageFile) page(dst []byte, id, pages uint64) ([]byte, error) {
	start := len(dst)
	dst, err := f.read(dst, id, 1)
	if err != nil {
		return dst, err
	}
	p := dst[start:]
	overflow := uint64(binary.NativeEndian.Uint32(p[12:]))
	if binary.NativeEndian.Uint64(p) != id || id+overflow >= pages || (overflow+1)*pageBytes > pageRunMax {
		return dst[:start], fmt.Errorf("%w: %s: page %d", ErrCorrupt, f.name, id)
	}
	if overflow > 0 {
		return f.read(dst, id+1, overflow)
	}
	return dst, nil
}

func (f pageFile) read(dst []byte, id, n uint64) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, int(n)*pageBytes)[:start+int(n)*pageBytes]
	if _, err := f.r.ReadAt(dst[start:], int64(id)*pageBytes); err != nil {
		return dst[:start], fmt.Errorf("%s: page %d: %w", f.name, id, err)
	}
	return dst, nil
}

// children calls fn with the pages that p refers to.
func (f pageFile) children(p []byte, fn func(id uint64) error) error {
	ne := binary.NativeEndian
	id, flags, count := ne.Uint64(p), ne.Uint16(p[8:]), int(ne.Uint16(p[10:]))
	damaged := fmt.Errorf("%w: %s: page %d", ErrCorrupt, f.name, id)
	if pageHeader+count*16 > len(p) || flags != pageBranch && flags != pageLeaf {
		return damaged
	}
	for i := range count {
		at := pageHeader + i*16
		e := p[at : at+16]
		if flags == pageBranch {
			if err := fn(ne.Uint64(e[8:])); err != nil {
				return err
			}
			continue
		}
		if ne.Uint32(e)&1 == 0 {
			continue
		}
		value := at + int(ne.Uint32(e[4:])) + int(ne.Uint32(e[8:]))
		if value < 0 || value+16 > len(p) {
			return damaged
		}
		if root := ne.Uint64(p[value:]); root != 0 {
			if err := fn(root); err != nil {
				return err
			}
		}
	}
	return nil
}

// freeOf calls fn with the page numbers that the free list p names.
func (f pageFile) freeOf(p []byte, fn func(id uint64)) error {
	ne := binary.NativeEndian
	list, count := p[pageHeader:], uint64(ne.Uint16(p[10:]))
	if count == 0xFFFF {
		count, list = ne.Uint64(list), list[8:]
	}
	if ne.Uint16(p[8:]) != pageFree || count > uint64(len(list))/8 {
		return fmt.Errorf("%w: %s: list of free pages", ErrCorrupt, f.name)
	}
	for ; count > 0; count-- {
		fn(ne.Uint64(list))
		list = list[8:]
	}
	return nil
}
