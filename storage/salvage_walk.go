package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
)

// How salvage finds what is in a file:
//
//  1. The state: the newer of two sound meta pages. If one or both are
//     damaged, all pages are looked at for such as have the names of the
//     buckets, which each commit writes anew; the one whose "counter" is the
//     highest is the newest state.
//  2. The trees of that state are walked. A page that is not what it should be
//     is a hole: what is below it is not reached.
//  3. If there are holes, or the state is not surely the newest, all other
//     pages are looked at. If the state's list of free pages can be believed
//     too, those that are neither used nor free are exactly the ones that were
//     lost with a hole. Else there may be outdated ones among them: these are
//     "doubtful" (rank 1), and what they hold counts as salvage_rows.go says.
//
// What an element of a page is shows in the tree it belongs to, and without
// that in its form and checksum (salvage_kind.go).

// Kinds of trees besides the names of buckets.
const (
	kindTop   = ""
	kindChunk = "chunk" // the bucket of one blob in "chunks"
	kindOther = "other"

	kindRows      = "rows"
	kindMailboxes = "mailboxes"
)

// A pageHole is a page that is lost.
type pageHole struct {
	page uint64
	kind string // of the tree that it was a part of, if known
	why  string
}

// A rawState is a state of a file, and what became of it.
type rawState struct {
	root, freelist uint64
	pages          uint64
	// sure: it is the newest one.
	sure  bool
	holes []pageHole
	// found are the buckets that the state has; broken those with a hole.
	found, broken map[string]bool
}

// whole reports whether all of a bucket was read.
func (s *rawState) whole(kind string) bool {
	return s.found[kind] && !s.broken[kind] && !s.broken[kindTop]
}

// A rawSink takes what is found. kind is "" if only the form can tell.
type rawSink func(kind string, parent uint64, e *rawItem, rank byte) error

// A rawWalk reads a file through.
type rawWalk struct {
	ctx   context.Context
	f     *rawFile
	names []string // of the buckets
	live  pageSet
	sink  rawSink // nil: only look
	state *rawState
	bufs  [rawDepth][]byte
	err   error // of the sink
}

func (w *rawWalk) hole(page uint64, kind, why string) {
	s := w.state
	s.holes = append(s.holes, pageHole{page, kind, why})
	s.broken[kind] = true
	if kind == kindChunk {
		s.broken["chunks"] = true
	}
}

// begin starts the walk of a state.
func (w *rawWalk) begin(root uint64) *rawState {
	w.live = make(pageSet, w.f.pages()/64+1)
	w.state = &rawState{root: root, found: map[string]bool{}, broken: map[string]bool{}}
	return w.state
}

// tree walks page id and all below it. Its keys lie in [lo, hi).
func (w *rawWalk) tree(id uint64, kind string, parent uint64, depth int, lo, hi []byte) {
	if w.err != nil {
		return
	}
	if w.err = w.ctx.Err(); w.err != nil {
		return
	}
	if depth == rawDepth {
		w.hole(id, kind, "the tree is too deep")
		return
	}
	p, buf, err := w.f.page(w.bufs[depth], id)
	w.bufs[depth] = buf
	if err == nil && p.flags == pageFree {
		err = errPage("it is a list of free pages")
	}
	if err == nil && p.flags == pageBranch && p.count == 0 {
		err = errPage("it is a branch without a child")
	}
	if err != nil {
		w.hole(id, kind, err.Error())
		return
	}
	for n := id; n < id+uint64(len(p.b)/pageBytes) && n < w.f.pages(); n++ {
		if w.live.has(n) {
			w.hole(id, kind, "it is a part of two trees")
			return
		}
	}
	if first, ok := p.item(0); ok && p.count > 0 && p.flags == pageLeaf && lo != nil && bytes.Compare(first.key, lo) < 0 {
		w.hole(id, kind, "it belongs elsewhere")
		return
	}
	for n := id; n < id+uint64(len(p.b)/pageBytes) && n < w.f.pages(); n++ {
		w.live.add(n)
	}
	if p.flags == pageLeaf {
		w.leaf(&p, kind, parent, depth, hi)
		return
	}
	for i := range p.count {
		e, ok := p.item(i)
		if !ok {
			w.hole(id, kind, "one of its elements leads nowhere")
			continue
		}
		next := hi
		if n, ok := p.item(i + 1); ok {
			next = n.key
		}
		w.tree(e.child, kind, parent, depth+1, e.key, next)
	}
}

// leaf hands out what is in a leaf page.
func (w *rawWalk) leaf(p *rawPage, kind string, parent uint64, depth int, hi []byte) {
	for i := range p.count {
		e, ok := p.item(i)
		if ok && hi != nil && bytes.Compare(e.key, hi) >= 0 {
			ok = false
		}
		if !ok {
			w.hole(p.id, kind, "one of its elements is damaged")
			continue
		}
		if !e.bucket {
			w.give(kind, parent, &e, 0)
			continue
		}
		below, owner := kindOther, uint64(0)
		switch {
		case kind == kindTop && slices.Contains(w.names, string(e.key)):
			below = string(e.key)
			w.state.found[below] = true
		case kind == "chunks" && len(e.key) == 8:
			below, owner = kindChunk, binary.BigEndian.Uint64(e.key)
		}
		root, inline, err := p.bucketRoot(&e)
		switch {
		case err != nil:
			w.hole(p.id, below, err.Error())
		case root != 0:
			w.tree(root, below, owner, depth+1, nil, nil)
		default:
			w.leaf(&inline, below, owner, depth+1, nil)
		}
	}
}

func (w *rawWalk) give(kind string, parent uint64, e *rawItem, rank byte) {
	if w.sink != nil && w.err == nil {
		w.err = w.sink(kind, parent, e, rank)
	}
}

// eachLeaf calls fn with the leaf pages that skip doesn't name, or, with top,
// all pages that may be a root: of these only what the first page holds.
func (w *rawWalk) eachLeaf(skip func(id uint64) bool, top bool, fn func(p *rawPage) error) error {
	block := make([]byte, rawReadMax)
	var run []byte
	total := w.f.pages()
	for at := uint64(2); at < total; at += rawReadMax / pageBytes {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n := min(total-at, rawReadMax/pageBytes)
		needed := false
		for i := range n {
			needed = needed || !skip(at+i)
		}
		if !needed {
			continue
		}
		b := block[:n*pageBytes]
		w.f.read(b, at)
		for i := range n {
			id := at + i
			if skip(id) {
				continue
			}
			head := b[i*pageBytes : (i+1)*pageBytes]
			size, err := w.f.head(head, id)
			flags := w.f.order.Uint16(head[8:])
			if err != nil || flags == pageFree || flags == pageBranch && !top {
				continue
			}
			p := w.f.parsed(head, id)
			if size > pageBytes && !top {
				if p, run, err = w.f.page(run, id); err != nil {
					continue
				}
			}
			if err := fn(&p); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan gives out what is on the pages that are not used, nor free if the list
// of free pages is to be believed.
func (w *rawWalk) scan() error {
	rank := byte(1)
	skip := w.live.has
	if w.state.sure && w.state.freelist != 0 {
		if free, ok := w.f.free(w.state.freelist, w.live); ok {
			rank = 0
			skip = func(id uint64) bool { return w.live.has(id) || free.has(id) }
		}
	}
	return w.eachLeaf(skip, false, func(p *rawPage) error {
		w.unknown(p, kindTop, 0, rank)
		return w.err
	})
}

// unknown gives out what is on a page of which it isn't known what it is.
func (w *rawWalk) unknown(p *rawPage, kind string, parent uint64, rank byte) {
	for i := range p.count {
		e, ok := p.item(i)
		if !ok {
			continue
		}
		if !e.bucket {
			w.give(kind, parent, &e, rank)
			continue
		}
		// Larger buckets have pages of their own, which are found as this was.
		below, owner := "", uint64(0)
		if len(e.key) == 8 {
			below, owner = kindChunk, binary.BigEndian.Uint64(e.key)
		}
		if slices.Contains(w.names, string(e.key)) {
			below = string(e.key)
		}
		if root, inline, err := p.bucketRoot(&e); err == nil && root == 0 && below != "" {
			w.unknown(&inline, below, owner, rank)
		}
	}
}
