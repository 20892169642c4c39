package storage

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// rootCandidates bounds how many old roots are compared.
const rootCandidates = 1024

// A rootSeen is a page that is or was the root of a state.
type rootSeen struct {
	page    uint64
	buckets int
	counter uint64
}

// run finds the newest state of the file and gives out what it has, and what
// there is beyond it.
func (w *rawWalk) run() (*rawState, error) {
	metas, bad := w.metas()
	best := rawMeta{}
	for _, m := range metas {
		if m.tx >= best.tx {
			best = m
		}
	}
	root, sure := best.root, true
	if len(bad) > 0 {
		var err error
		sure = false // the root of a newer one may be lost with its meta page
		if root, err = w.newestRoot(best); err != nil {
			return nil, err
		}
	}
	s := w.begin(root)
	s.sure, s.pages = sure, best.pages
	if root == best.root {
		s.freelist = best.freelist
	}
	if root != 0 {
		w.tree(root, kindTop, 0, 0, nil, nil)
	} else {
		s.broken[kindTop] = true
	}
	if w.err != nil {
		return s, w.err
	}
	for n := range uint64(2) {
		if why := bad[n]; why != "" {
			s.holes = append(s.holes, pageHole{n, "meta page", why})
		}
	}
	if root == 0 {
		// What there is page by page need not be all, even if it fits together.
		s.holes = append(s.holes, pageHole{0, kindTop, "no page is a root"})
	}
	lost := !s.sure
	for _, h := range s.holes {
		lost = lost || h.kind != "meta page"
	}
	if lost || root == 0 {
		return s, w.scan()
	}
	return s, nil
}

// metas reads the sound meta pages, and says what is wrong with the others.
func (w *rawWalk) metas() (sound []rawMeta, bad map[uint64]string) {
	bad = map[uint64]string{}
	for n := range uint64(2) {
		m, err := w.f.meta(n, w.f.order)
		if err != nil {
			bad[n] = err.Error()
			continue
		}
		sound = append(sound, m)
	}
	return sound, bad
}

// newestRoot looks for the root of the newest state, when there is not the
// word of both meta pages; best is the state of the one that is left.
func (w *rawWalk) newestRoot(best rawMeta) (root uint64, err error) {
	var seen []rootSeen
	byRank := func(a, b rootSeen) int {
		return cmp.Or(-cmp.Compare(a.buckets, b.buckets), -cmp.Compare(a.counter, b.counter))
	}
	err = w.eachLeaf(func(uint64) bool { return false }, true, func(p *rawPage) error {
		if !w.rootLike(p) {
			return nil
		}
		seen = append(seen, w.look(p.id))
		if len(seen) > 2*rootCandidates {
			slices.SortStableFunc(seen, byRank)
			seen = seen[:rootCandidates]
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.SortStableFunc(seen, byRank)
	if best.root != 0 {
		known := w.look(best.root)
		if len(seen) == 0 || byRank(known, seen[0]) <= 0 {
			return best.root, nil
		}
	}
	if len(seen) == 0 || seen[0].buckets == 0 {
		return best.root, nil
	}
	return w.soundest(seen[:min(3, len(seen))]), nil
}

// soundest is the first root without a hole, or with the fewest: a commit that
// a power cut ended may have left the newest root, without the rest.
func (w *rawWalk) soundest(roots []rootSeen) uint64 {
	least, holes := roots[0].page, -1
	for _, r := range roots {
		if r.buckets < roots[0].buckets || r.counter+2 < roots[0].counter {
			break
		}
		dry := rawWalk{ctx: w.ctx, f: w.f, names: w.names}
		s := dry.begin(r.page)
		dry.tree(r.page, kindTop, 0, 0, nil, nil)
		if holes < 0 || len(s.holes) < holes {
			least, holes = r.page, len(s.holes)
		}
		if holes == 0 {
			break
		}
	}
	return least
}

// rootLike reports whether all elements of a page are named as buckets of the
// file are.
func (w *rawWalk) rootLike(p *rawPage) bool {
	for i := range p.count {
		e, ok := p.item(i)
		if !ok || p.flags == pageLeaf && !e.bucket || !slices.Contains(w.names, string(e.key)) {
			return false
		}
	}
	return p.count > 0
}

// look reads of a state no more than which buckets it has, and its counter.
func (w *rawWalk) look(root uint64) rootSeen {
	seen := rootSeen{page: root}
	l := rawWalk{ctx: w.ctx, f: w.f, names: w.names}
	s := l.begin(root)
	l.sink = func(kind string, _ uint64, e *rawItem, _ byte) error {
		if kind == string(bucketMeta) && string(e.key) == "counter" && len(e.value) == 8 {
			seen.counter = binary.LittleEndian.Uint64(e.value)
		}
		return nil
	}
	l.lookTop(root, 0)
	seen.buckets = len(s.found)
	if s.found[string(bucketRuns)] {
		seen.buckets-- // it came later
	}
	return seen
}

// lookTop walks the names of buckets, and "meta".
func (w *rawWalk) lookTop(id uint64, depth int) {
	p, _, err := w.f.page(nil, id)
	if err != nil || depth > 4 {
		return
	}
	for i := range p.count {
		e, ok := p.item(i)
		switch {
		case !ok:
		case p.flags == pageBranch:
			w.lookTop(e.child, depth+1)
		case e.bucket && slices.Contains(w.names, string(e.key)):
			w.state.found[string(e.key)] = true
			if string(e.key) != string(bucketMeta) {
				continue
			}
			if root, inline, err := p.bucketRoot(&e); err == nil && root == 0 {
				w.leaf(&inline, string(e.key), 0, depth, nil)
			} else if err == nil {
				w.tree(root, string(e.key), 0, depth, nil, nil)
			}
		}
	}
}
