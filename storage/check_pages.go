package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// A pageAudit is bbolt's tx.Check for a file that others write to meanwhile:
// bbolt's reads the list of free pages that the writer is changing, and holds
// a map of all pages. It walks the pages of one state of a file and sees that
// each is in one tree and once, or free, that keys ascend, and that nothing
// leads out of its page.
type pageAudit struct {
	name  string
	file  pageFile
	pages uint64
	seen  pageSet
	find  func(format string, args ...any)
	stop  func() error
	err   error
	buf   [][]byte // of each depth
	turn  int
}

// A pageSet is a set of page numbers.
type pageSet []uint64

func (s pageSet) has(id uint64) bool { return s[id/64]&(1<<(id%64)) != 0 }
func (s pageSet) add(id uint64)      { s[id/64] |= 1 << (id % 64) }

// auditDepth bounds the depth of trees, those of buckets in buckets together.
const auditDepth = 64

// auditPages audits a file in the state of a pin.
func (c *checkReport) auditPages(name string, pin *pinned) error {
	state, err := pin.metaPages()
	if err != nil {
		return err
	}
	return c.auditState(name, pin.file, state)
}

// lookAtMeta tells the log of a meta page that fails its checksum. The other
// one is used, as after a power cut in the middle of a commit, which leaves the
// same; the next two commits write both. So it is no finding of Check.
func (f *files) lookAtMeta() {
	pin, err := f.mail.beginPin(func() {})
	if err != nil {
		return
	}
	defer pin.close()
	meta, err := pin.file.read(nil, 0, 2)
	if err != nil {
		return
	}
	for n := range 2 {
		if err := soundMeta(meta[n*pageBytes:]); err != nil {
			f.a.st.log.Warn("meta_page_damaged", "account", string(f.a.id), "file", f.mail.path, "page", n, "error", err)
		}
	}
}

// auditState audits the state of a file that the meta page state describes.
func (c *checkReport) auditState(name string, file pageFile, state []byte) error {
	ne := binary.NativeEndian
	w := &pageAudit{name: name, file: file, pages: ne.Uint64(state[metaPages:]), find: c.find, stop: c.ctx.Err}
	if w.pages < 4 || w.pages > 1<<32 {
		return fmt.Errorf("%w: %s: %d pages", ErrCorrupt, name, w.pages)
	}
	w.seen = make(pageSet, w.pages/64+1)
	w.tree(ne.Uint64(state[metaRoot:]), 0, nil, nil)
	if w.err == nil {
		w.free(ne.Uint64(state[metaFreelist:]))
	}
	return w.err
}

// soundMeta checks a meta page by its own checksum.
func soundMeta(p []byte) error {
	ne := binary.NativeEndian
	h := fnv.New64a()
	h.Write(p[pageHeader : metaEnd-8])
	switch {
	case ne.Uint16(p[8:])&0x04 == 0:
		return fmt.Errorf("%w: not a meta page", ErrCorrupt)
	case ne.Uint32(p[pageHeader:]) != boltMagic, ne.Uint32(p[pageHeader+4:]) != 2:
		return fmt.Errorf("%w: magic number", ErrCorrupt)
	case ne.Uint64(p[metaEnd-8:]) != h.Sum64():
		return fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return nil
}

// mark counts a page and its overflow, and reports whether it was new.
func (w *pageAudit) mark(id, n uint64) bool {
	if id < 2 || id+n >= w.pages {
		w.find("%s: page %d is not one of the file's %d", w.name, id+n, w.pages)
		return false
	}
	for i := id; i <= id+n; i++ {
		if w.seen.has(i) {
			w.find("%s: page %d is in use twice", w.name, i)
			return false
		}
		w.seen.add(i)
	}
	return true
}

// tree audits page id and all below it; its keys lie in [lo, hi).
func (w *pageAudit) tree(id uint64, depth int, lo, hi []byte) {
	if w.err != nil {
		return
	}
	if w.err = w.stop(); w.err != nil {
		return
	}
	if depth == auditDepth {
		w.find("%s: page %d: the tree is too deep", w.name, id)
		return
	}
	for len(w.buf) <= depth {
		w.buf = append(w.buf, nil)
	}
	p, size, err := w.read(w.buf[depth][:0], id)
	w.buf[depth] = p
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%s: page %d can't be read: %v", w.name, id, err)
		}
		w.find("%v", err)
		return
	}
	if !w.mark(id, uint64(size/pageBytes-1)) {
		return
	}
	w.elements(p, size, depth, lo, hi)
	pace(&w.turn)
}

// read reads as much of a page as its elements and keys take; size is all of it.
func (w *pageAudit) read(dst []byte, id uint64) (p []byte, size int, err error) {
	damaged := func(what string) ([]byte, int, error) {
		return dst, 0, fmt.Errorf("%w: %s: page %d: %s", ErrCorrupt, w.name, id, what)
	}
	if id < 2 || id >= w.pages {
		return damaged("not one of the file's")
	}
	if dst, err = w.file.read(dst, id, 1); err != nil {
		return dst, 0, err
	}
	ne := binary.NativeEndian
	flags, count, more := ne.Uint16(dst[8:]), int(ne.Uint16(dst[10:])), uint64(ne.Uint32(dst[12:]))
	switch {
	case ne.Uint64(dst) != id:
		return damaged("it has another number")
	case flags != pageBranch && flags != pageLeaf:
		return damaged(fmt.Sprintf("flags %#x", flags))
	case id+more >= w.pages || (more+1)*pageBytes > pageRunMax:
		return damaged("its overflow")
	case flags == pageBranch && count == 0:
		return damaged("a branch without a child")
	}
	size = int(more+1) * pageBytes
	if pageHeader+count*16 > size {
		return damaged("its elements")
	}
	need := pageHeader + count*16
	if need <= pageBytes && count > 0 {
		need = keysEnd(dst, flags, count)
	}
	if need > pageBytes && more > 0 {
		dst, err = w.file.read(dst, id+1, more)
	}
	return dst, size, err
}

// keysEnd is where the last key of a page ends, as far as can be told.
func keysEnd(p []byte, flags uint16, count int) (end int) {
	for i := range count {
		at := pageHeader + i*16
		e := p[at:]
		ne := binary.NativeEndian
		if flags == pageBranch {
			end = max(end, at+int(ne.Uint32(e))+int(ne.Uint32(e[4:])))
		} else {
			end = max(end, at+int(ne.Uint32(e[4:]))+int(ne.Uint32(e[8:]))+16)
		}
	}
	return end
}

// elements audits what a page holds. Of p, which has size octets, only what is
// needed was read.
func (w *pageAudit) elements(p []byte, size, depth int, lo, hi []byte) {
	ne := binary.NativeEndian
	id, flags, count := ne.Uint64(p), ne.Uint16(p[8:]), int(ne.Uint16(p[10:]))
	var last, child []byte
	for i := range count {
		e, ok := pageElement(p, i, size)
		if !ok {
			w.find("%s: page %d: element %d leads out of the page", w.name, id, i)
			return
		}
		if last != nil && bytes.Compare(last, e.key) >= 0 || i == 0 && flags == pageLeaf && lo != nil && bytes.Compare(e.key, lo) < 0 || hi != nil && bytes.Compare(e.key, hi) >= 0 {
			w.find("%s: page %d: key %d is out of order", w.name, id, i)
			return
		}
		last = e.key
		switch {
		case flags == pageBranch:
			child = append(child[:0], e.key...)
			next := hi
			if i+1 < count {
				if n, ok := pageElement(p, i+1, size); ok {
					next = bytes.Clone(n.key)
				}
			}
			w.tree(e.child, depth+1, bytes.Clone(child), next)
		case e.flags == 1 && len(e.value) < 16, e.flags > 1:
			w.find("%s: page %d: element %d is no bucket and no value", w.name, id, i)
		case e.flags == 1:
			if root := ne.Uint64(e.value); root != 0 {
				w.tree(root, depth+1, nil, nil)
			} else if !inlineSound(e.value[16:]) {
				w.find("%s: page %d: the bucket in element %d is damaged", w.name, id, i)
			}
		}
		if w.err != nil {
			return
		}
	}
}

// A pageItem is an element of a page.
type pageItem struct {
	flags      uint32
	key, value []byte // value as far as it was read
	child      uint64 // of a branch
}

// pageElement is element i of a page of size octets, of which p may be less.
func pageElement(p []byte, i, size int) (e pageItem, ok bool) {
	ne := binary.NativeEndian
	at := pageHeader + i*16
	if at+16 > len(p) {
		return e, false
	}
	b := p[at:]
	if ne.Uint16(p[8:]) == pageBranch {
		start := at + int(ne.Uint32(b))
		end := start + int(ne.Uint32(b[4:]))
		if start < at+16 || end < start || end > len(p) {
			return e, false
		}
		e.key, e.child = p[start:end], ne.Uint64(b[8:])
		return e, true
	}
	e.flags = ne.Uint32(b)
	start := at + int(ne.Uint32(b[4:]))
	mid := start + int(ne.Uint32(b[8:]))
	end := mid + int(ne.Uint32(b[12:]))
	if start < at+16 || mid < start || end < mid || mid > len(p) || end > size {
		return e, false
	}
	e.key, e.value = p[start:mid], p[mid:min(end, len(p))]
	return e, true
}

// inlineSound reports whether a small bucket, which lies in its parent's leaf,
// is as it should be.
func inlineSound(p []byte) bool {
	ne := binary.NativeEndian
	if len(p) < pageHeader || ne.Uint16(p[8:]) != pageLeaf || ne.Uint32(p[12:]) != 0 {
		return false
	}
	var last []byte
	for i := range int(ne.Uint16(p[10:])) {
		e, ok := pageElement(p, i, len(p))
		if !ok || e.flags != 0 || last != nil && bytes.Compare(last, e.key) >= 0 {
			return false
		}
		last = e.key
	}
	return true
}

// free audits the list of free pages: with the trees it names every page.
func (w *pageAudit) free(id uint64) {
	p, err := w.file.page(nil, id, w.pages)
	if err != nil {
		w.find("%v", err)
		return
	}
	if !w.mark(id, uint64(len(p)/pageBytes-1)) {
		return
	}
	before := w.seen
	if err := w.file.freeOf(p, func(n uint64) {
		if n < 2 || n >= w.pages {
			w.find("%s: page %d, which is said to be free, is not one of the file's", w.name, n)
		} else if before.has(n) {
			w.find("%s: page %d is in use and said to be free, or twice", w.name, n)
		} else {
			w.seen.add(n)
		}
	}); err != nil {
		w.find("%v", err)
		return
	}
	lost := 0
	for n := uint64(2); n < w.pages; n++ {
		if !w.seen.has(n) {
			lost++
		}
	}
	if lost > 0 {
		w.find("%s: %d pages are neither used nor free", w.name, lost)
	}
}

// auditDB audits the state of a file that a transaction of its own keeps.
func (c *checkReport) auditDB(name string, db *boltFile) error {
	pin, err := db.beginPin(func() {})
	if err != nil {
		return err
	}
	defer pin.close()
	return c.auditPages(name, pin)
}
