package storage

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A treeKey names an entry of a bbolt file: the buckets that lead to it and
// its key, in an order in which a bucket comes before what is in it. Each part
// has its length before it, and a copy goes through the file in this order of
// parts (treeKey.compare).
type treeKey string

func (k treeKey) add(part []byte) treeKey {
	return k + treeKey(binary.BigEndian.AppendUint16(nil, uint16(len(part)))) + treeKey(part)
}

// cut takes the first part off.
func (k treeKey) cut() (part string, rest treeKey) {
	n := int(k[0])<<8 | int(k[1])
	return string(k[2 : 2+n]), k[2+n:]
}

// compare orders as a walk through the file does.
func (k treeKey) compare(other treeKey) int {
	for k != "" && other != "" {
		var a, b string
		a, k = k.cut()
		b, other = other.cut()
		if c := strings.Compare(a, b); c != 0 {
			return c
		}
	}
	return min(len(k), 1) - min(len(other), 1)
}

// touchedKeys are the entries that may differ between two states of a file.
type touchedKeys map[treeKey]struct{}

func (t touchedKeys) sorted() []treeKey {
	all := make([]treeKey, 0, len(t))
	for k := range t {
		all = append(all, k)
	}
	slices.SortFunc(all, treeKey.compare)
	return all
}

// between adds what may differ between two states of a file that are both
// held. bbolt never writes on a page that a held state can see. So what is new
// in the later state stands on pages that the earlier one had free or didn't
// have, and what is gone stood on pages that the later one has free; all pages
// above those are new, or gone, as well. Only these are read.
func (t touchedKeys) between(from, to *pinned) error {
	if from.tx.ID() == to.tx.ID() {
		return nil
	}
	for _, w := range []struct{ in, other *pinned }{{to, from}, {from, to}} {
		meta, err := w.other.metaPages()
		if err != nil {
			return err
		}
		list, err := w.other.freeList(nil, meta)
		if err != nil {
			return err
		}
		var free bitmap
		if err := w.other.file.freeOf(list, func(id uint64) { free.set(id) }); err != nil {
			return err
		}
		own, err := w.in.metaPages()
		if err != nil {
			return err
		}
		d := treeDiff{keys: t, file: w.in.file, pages: binary.NativeEndian.Uint64(own[metaPages:]),
			others: binary.NativeEndian.Uint64(meta[metaPages:]), free: free}
		if err := d.page(binary.NativeEndian.Uint64(own[metaRoot:]), "", 0); err != nil {
			return err
		}
	}
	return nil
}

// A treeDiff reads one state's pages that the other state doesn't have.
type treeDiff struct {
	keys          touchedKeys
	file          pageFile
	pages, others uint64
	free          bitmap // of the other
}

func (d *treeDiff) page(id uint64, path treeKey, depth int) error {
	if id < d.others && !d.free.has(id) {
		return nil // both have it
	}
	if depth > maxTree || id < 2 || id >= d.pages {
		return &pageError{d.file.name, id}
	}
	p, err := d.file.page(nil, id, d.pages)
	if err != nil {
		return err
	}
	return d.entries(p, path, depth)
}

// entries reads a page, or a bucket that stands inside a value.
func (d *treeDiff) entries(p []byte, path treeKey, depth int) error {
	ne := binary.NativeEndian
	flags, count := ne.Uint16(p[8:]), int(ne.Uint16(p[10:]))
	damaged := fmt.Errorf("%w: %s: page %d", ErrCorrupt, d.file.name, ne.Uint64(p))
	if pageHeader+count*16 > len(p) || flags != pageBranch && flags != pageLeaf {
		return damaged
	}
	for i := range count {
		at := pageHeader + i*16
		e := p[at : at+16]
		if flags == pageBranch {
			if err := d.page(ne.Uint64(e[8:]), path, depth+1); err != nil {
				return err
			}
			continue
		}
		key := at + int(ne.Uint32(e[4:]))
		value := key + int(ne.Uint32(e[8:]))
		end := value + int(ne.Uint32(e[12:]))
		if key < 0 || value < key || end < value || end > len(p) {
			return damaged
		}
		name := path.add(p[key:value])
		d.keys[name] = struct{}{}
		if ne.Uint32(e)&1 == 0 {
			continue
		}
		if end-value < 16 {
			return damaged
		}
		var err error
		if root := ne.Uint64(p[value:]); root != 0 {
			err = d.page(root, name, depth+1)
		} else if inside := p[value+16 : end]; len(inside) >= pageHeader {
			err = d.entries(inside, name, depth+1)
		} else {
			err = damaged
		}
		if err != nil {
			return err
		}
	}
	return nil
}
