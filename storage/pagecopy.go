package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// A pageCopy copies a bbolt file that is in use. It walks the trees of the
// pin's state and hands out each page once; when the state moves on, it forgets
// what it handed out of the pages that the old state had free, since the new
// state may have written there. Free pages are not copied.
type pageCopy struct {
	pin
	sent  bitmap // the page was handed out and is as the pin's state has it
	done  bitmap // so are all pages below it
	again bool   // nothing that was handed out holds
}

// A bitmap of page numbers.
type bitmap []uint64

func (b bitmap) has(id uint64) bool {
	return id/64 < uint64(len(b)) && b[id/64]&(1<<(id%64)) != 0
}

func (b *bitmap) set(id uint64) {
	for uint64(len(*b)) <= id/64 {
		*b = append(*b, 0)
	}
	(*b)[id/64] |= 1 << (id % 64)
}

func (b bitmap) clear(id uint64) {
	if id/64 < uint64(len(b)) {
		b[id/64] &^= 1 << (id % 64)
	}
}

// A pageRun is a page with those that belong to it.
type pageRun struct {
	offset int64
	data   []byte
}

const (
	// copySlice and copyTime bound what is read under one transaction.
	copySlice = 1 << 20
	copyTime  = 10 * time.Millisecond
)

// roll moves to the present state. If the old one was lost, the copy has to
// begin again.
func (c *pageCopy) roll() error {
	err := c.pin.roll(c.moved)
	if errors.Is(err, errPinLost) {
		c.sent, c.done, c.again = nil, nil, true
		return nil
	}
	return err
}

// moved forgets the pages on which the new state may have written.
func (c *pageCopy) moved(from, to *pinned) error {
	if from.file.r != to.file.r {
		c.sent, c.done, c.again = nil, nil, true // the file was replaced
		return nil
	}
	if from.tx.ID() == to.tx.ID() {
		return nil
	}
	meta, err := from.metaPages()
	if err != nil {
		return err
	}
	list, err := from.freeList(nil, meta)
	if err != nil {
		return err
	}
	return from.file.freeOf(list, func(id uint64) {
		c.sent.clear(id)
		c.done.clear(id)
	})
}

func (p *pinned) freeList(dst, meta []byte) ([]byte, error) {
	return p.file.page(dst, binary.NativeEndian.Uint64(meta[metaFreelist:]), binary.NativeEndian.Uint64(meta[metaPages:]))
}

var errSliceFull = errors.New("slice is full")

// A pageSlice gathers pages.
type pageSlice struct {
	runs  []pageRun
	buf   []byte
	most  int // octets
	until time.Time
}

func newPageSlice(most int, d time.Duration) *pageSlice {
	return &pageSlice{most: most, until: time.Now().Add(d)}
}

func (s *pageSlice) add(offset int64, p []byte) {
	s.runs = append(s.runs, pageRun{offset, p})
}

func (s *pageSlice) full() bool { return len(s.buf) >= s.most || time.Now().After(s.until) }

// slice hands out pages that are missing. It reports whether none is left:
// then the pages handed out, with those of head, are the file of this state.
func (c *pageCopy) slice(s *pageSlice) (complete bool, err error) {
	meta, err := c.now.metaPages()
	if err != nil {
		return false, err
	}
	w := pageWalk{c: c, s: s, pages: binary.NativeEndian.Uint64(meta[metaPages:])}
	err = w.walk(binary.NativeEndian.Uint64(meta[metaRoot:]), 0)
	if errors.Is(err, errSliceFull) {
		return false, nil
	}
	return err == nil, err
}

type pageWalk struct {
	c     *pageCopy
	s     *pageSlice
	pages uint64
}

// maxTree bounds the depth of trees: deeper is a damaged file that leads in a
// circle.
const maxTree = 64

func (w *pageWalk) walk(id uint64, depth int) error {
	c := w.c
	if c.done.has(id) {
		return nil
	}
	if w.s.full() && len(w.s.runs) > 0 {
		return errSliceFull
	}
	if depth > maxTree || id < 2 || id >= w.pages {
		return &pageError{c.name, id}
	}
	start := len(w.s.buf)
	buf, err := c.now.file.page(w.s.buf, id, w.pages)
	if err != nil {
		return err
	}
	p := buf[start:len(buf):len(buf)]
	if c.sent.has(id) {
		p = append([]byte(nil), p...) // only to know what is below it
	} else {
		w.s.buf = buf
		w.s.add(int64(id)*pageBytes, p)
		c.sent.set(id)
	}
	if err := c.now.file.children(p, func(child uint64) error { return w.walk(child, depth+1) }); err != nil {
		return err
	}
	c.done.set(id)
	return nil
}

// head is what a file of the pin's state has besides its trees.
func (c *pageCopy) head(s *pageSlice) (size int64, err error) {
	meta, err := c.now.metaPages()
	if err != nil {
		return 0, err
	}
	s.add(0, meta)
	list, err := c.now.freeList(nil, meta)
	if err != nil {
		return 0, err
	}
	s.add(int64(binary.NativeEndian.Uint64(meta[metaFreelist:]))*pageBytes, list)
	return int64(binary.NativeEndian.Uint64(meta[metaPages:])) * pageBytes, nil
}

// state names the pin's state of the file: two with the same name are the
// same. more is what belongs to it besides.
func (p *pinned) state(more []byte) (string, error) {
	meta, err := p.metaPages()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(meta[metaRoot : metaTx+8])
	if b := p.tx.Bucket(bucketMeta); b != nil {
		h.Write(b.Get([]byte("account")))
		h.Write(b.Get([]byte("volume")))
		h.Write(b.Get([]byte("counter")))
		h.Write(b.Get([]byte("run")))
	}
	// Of mail.db: after a return to an older copy of it, its commits count
	// from there again, but as another run's.
	if b := p.tx.Bucket(bucketRuns); b != nil {
		k, v := b.Cursor().Last()
		h.Write(k)
		h.Write(v)
	}
	h.Write(more)
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// A pageError is a page that can't be where the file says it is.
type pageError struct {
	file string
	id   uint64
}

func (e *pageError) Error() string { return e.file + ": the trees lead to a page that can't be" }
func (e *pageError) Unwrap() error { return ErrCorrupt }
