package storage

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Salvage reads bbolt's pages itself (page.go has their form): by pread, never
// through a map, with each number checked before it is used, and in the byte
// order of the machine that wrote them.

const (
	rawRunMax  = 16 << 20 // octets of a leaf or branch with its overflow
	rawKeyMax  = 32 << 10 // bbolt's limit
	rawDepth   = 32
	rawReadMax = 256 << 10
)

// A rawFile is a bbolt file of which any part may be damaged or unreadable.
type rawFile struct {
	name  string
	r     io.ReaderAt
	size  int64
	order binary.ByteOrder
	// bad is told of pages that could not be read.
	bad func(page uint64, err error)
}

// pages is how many there are, the last one maybe in part.
func (f *rawFile) pages() uint64 { return uint64((f.size + pageBytes - 1) / pageBytes) }

// read fills b from page id on. What is behind the end of the file, or can't
// be read, is zeros; ok is false if that is so for the first page.
func (f *rawFile) read(b []byte, id uint64) (ok bool) {
	off := int64(id) * pageBytes
	n, err := f.r.ReadAt(b, off)
	if n == len(b) {
		return true
	}
	clear(b[n:])
	if err == io.EOF || off+int64(n) >= f.size {
		return n >= pageHeader
	}
	// A page at a time, to lose no more than must be.
	ok = true
	for at := 0; at < len(b); at += pageBytes {
		p := b[at:min(at+pageBytes, len(b))]
		if n, err := f.r.ReadAt(p, off+int64(at)); n < len(p) {
			clear(p[n:])
			if err != io.EOF {
				clear(p)
				f.bad(id+uint64(at/pageBytes), err)
				ok = ok && at > 0
			}
		}
	}
	return ok
}

// A rawPage is a page with its overflow.
type rawPage struct {
	order binary.ByteOrder
	id    uint64
	flags uint16
	count int
	off   int64  // of b in the file
	b     []byte // with the header
}

// errPage says what is wrong with a page.
type errPage string

func (e errPage) Error() string { return string(e) }

// head reads the header of page id, which p begins with, and says how many
// octets belong to the page.
func (f *rawFile) head(p []byte, id uint64) (size int, err error) {
	flags, count, more := f.order.Uint16(p[8:]), int(f.order.Uint16(p[10:])), uint64(f.order.Uint32(p[12:]))
	switch {
	case f.order.Uint64(p) != id:
		return 0, errPage("it is not the page that was written there")
	case flags != pageBranch && flags != pageLeaf && flags != pageFree:
		return 0, errPage(fmt.Sprintf("it is no page of data (flags %#x)", flags))
	case flags == pageFree && (more+1)*pageBytes > pageRunMax, flags != pageFree && (more+1)*pageBytes > rawRunMax:
		return 0, errPage("its length is impossible")
	}
	size = int(more+1) * pageBytes
	if flags != pageFree && pageHeader+count*16 > size {
		return 0, errPage("it has more elements than room")
	}
	return size, nil
}

// page reads page id with its overflow into buf.
func (f *rawFile) page(buf []byte, id uint64) (p rawPage, _ []byte, err error) {
	if id < 2 || id >= f.pages() {
		return p, buf, errPage("it is not in the file")
	}
	buf = growTo(buf, pageBytes)
	if !f.read(buf, id) {
		return p, buf, errPage("it can't be read")
	}
	size, err := f.head(buf, id)
	if err != nil {
		return p, buf, err
	}
	if size > pageBytes {
		buf = growTo(buf, size)
		f.read(buf[pageBytes:], id+1)
	}
	return f.parsed(buf, id), buf, nil
}

// parsed is the page in b, whose header head found sound.
func (f *rawFile) parsed(b []byte, id uint64) rawPage {
	return rawPage{order: f.order, id: id, flags: f.order.Uint16(b[8:]), count: int(f.order.Uint16(b[10:])), off: int64(id) * pageBytes, b: b}
}

func growTo(b []byte, n int) []byte {
	if cap(b) < n {
		b = append(make([]byte, 0, n), b...)
	}
	return b[:n]
}

// A rawItem is an element of a page.
type rawItem struct {
	bucket     bool
	key, value []byte
	off        int64  // of value in the file
	child      uint64 // of a branch
}

// item is element i; ok is false if it leads out of the page.
func (p *rawPage) item(i int) (e rawItem, ok bool) {
	at := pageHeader + i*16
	if i < 0 || i >= p.count || at+16 > len(p.b) {
		return e, false
	}
	b := p.b[at:]
	u32 := p.order.Uint32
	body := uint64(pageHeader + p.count*16)
	end := uint64(len(p.b))
	if p.flags == pageBranch {
		start, n := uint64(at)+uint64(u32(b)), uint64(u32(b[4:]))
		if start < body || n > rawKeyMax || start+n > end {
			return e, false
		}
		e.key, e.child = p.b[start:start+n:start+n], p.order.Uint64(b[8:])
		return e, true
	}
	flags, start, n, m := u32(b), uint64(at)+uint64(u32(b[4:])), uint64(u32(b[8:])), uint64(u32(b[12:]))
	if flags > 1 || start < body || n == 0 || n > rawKeyMax || start+n+m > end {
		return e, false
	}
	mid := start + n
	e.bucket, e.key, e.value, e.off = flags == 1, p.b[start:mid:mid], p.b[mid:mid+m:mid+m], p.off+int64(mid)
	return e, !e.bucket || m >= 16
}

// bucketRoot is the root page of the bucket e, or the page that lies in it.
func (p *rawPage) bucketRoot(e *rawItem) (root uint64, inline rawPage, err error) {
	if root = p.order.Uint64(e.value); root != 0 {
		return root, inline, nil
	}
	b := e.value[16:]
	if len(b) < pageHeader || p.order.Uint16(b[8:]) != pageLeaf || p.order.Uint32(b[12:]) != 0 {
		return 0, inline, errPage("a small bucket in it is damaged")
	}
	inline = rawPage{order: p.order, id: p.id, flags: pageLeaf, count: int(p.order.Uint16(b[10:])), off: e.off + 16, b: b}
	if pageHeader+inline.count*16 > len(b) {
		return 0, inline, errPage("a small bucket in it is damaged")
	}
	return 0, inline, nil
}

// A rawMeta is what a meta page says.
type rawMeta struct{ root, freelist, pages, tx uint64 }

// meta reads one of the two meta pages.
func (f *rawFile) meta(n uint64, order binary.ByteOrder) (m rawMeta, err error) {
	b := make([]byte, pageBytes)
	if !f.read(b, n) {
		return m, errPage("it can't be read")
	}
	switch {
	case order.Uint16(b[8:])&0x04 == 0, order.Uint32(b[pageHeader:]) != boltMagic, order.Uint32(b[pageHeader+4:]) != 2:
		return m, errPage("it is no meta page")
	case order.Uint64(b) != n: // the other one's bytes: the newer state would go without a word
		return m, errPage("it is another page")
	case order.Uint64(b[metaEnd-8:]) != fnvSum(b[pageHeader:metaEnd-8]):
		return m, errPage("its checksum is wrong")
	case order.Uint32(b[pageHeader+8:]) != pageBytes:
		return m, errPage("its page size is unknown")
	}
	return rawMeta{order.Uint64(b[metaRoot:]), order.Uint64(b[metaFreelist:]), order.Uint64(b[metaPages:]), order.Uint64(b[metaTx:])}, nil
}

// free marks the pages that the list of free pages id names. It reports
// whether the list can be believed: it names no page that is in use.
func (f *rawFile) free(id uint64, used pageSet) (free pageSet, ok bool) {
	p, _, err := f.page(nil, id)
	if err != nil || p.flags != pageFree {
		return nil, false
	}
	count, list := uint64(p.count), p.b[pageHeader:]
	if count == 0xFFFF {
		count, list = f.order.Uint64(list), list[8:]
	}
	if count > uint64(len(list))/8 {
		return nil, false
	}
	free = make(pageSet, f.pages()/64+1)
	for ; count > 0; count-- {
		n := f.order.Uint64(list)
		list = list[8:]
		if n < 2 || n < f.pages() && used.has(n) {
			return nil, false
		}
		if n < f.pages() { // a truncated file has less
			free.add(n)
		}
	}
	for i := range uint64(len(p.b) / pageBytes) {
		if id+i < f.pages() {
			free.add(id + i)
		}
	}
	return free, true
}

// findOrder finds the byte order of a file; by its pages, if the meta pages
// are gone.
func (f *rawFile) findOrder() {
	f.order = binary.NativeEndian
	little, big := 0, 0
	for n := range uint64(2) {
		for order, votes := range map[binary.ByteOrder]*int{binary.LittleEndian: &little, binary.BigEndian: &big} {
			if _, err := f.meta(n, order); err == nil {
				*votes += 1000
			}
		}
	}
	b := make([]byte, pageBytes)
	step := max(1, f.pages()/512)
	for id := uint64(2); id < f.pages() && little+big < 100; id += step {
		if !f.read(b[:pageHeader], id) {
			continue
		}
		switch id {
		case binary.LittleEndian.Uint64(b):
			little++
		case binary.BigEndian.Uint64(b):
			big++
		}
	}
	switch {
	case little > big:
		f.order = binary.LittleEndian
	case big > little:
		f.order = binary.BigEndian
	}
}
