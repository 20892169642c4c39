package imap

import (
	"slices"

	"nestbox/mail"
)

// references threads by Message-ID, References and In-Reply-To, and then by
// subject. The steps are those of RFC 5256 §3.
func (t *threader) references() {
	t.linkReferences() // step 1; what has no parent is a root, step 2
	t.prune()          // step 3
	roots := t.roots() // step 4
	t.mergeSubjects(roots)
	t.firsts() // step 6, with before and children
}

// linkReferences is step 1.
func (t *threader) linkReferences() {
	// Of messages with the same id only the first has it.
	byID := make(map[mail.Hash]int32, t.count)
	for i := range int32(t.count) {
		if _, twice := byID[t.nodes[i].id]; t.nodes[i].hasID && !twice {
			byID[t.nodes[i].id] = i
		}
	}
	start := 0
	for i := range int32(t.count) {
		last := int32(noNode)
		for _, id := range t.refs[start:t.ends[i]] { // A
			n, ok := byID[id]
			if !ok {
				n = t.dummy()
				byID[id] = n
			}
			if last != noNode && t.nodes[n].parent == noNode {
				t.adopt(n, last)
			}
			last = n
		}
		start = t.ends[i]
		t.nodes[i].parent = noNode // B: what stands here comes from truncated References
		if last != noNode {
			t.adopt(i, last)
		}
	}
}

// adopt makes parent the parent of child, unless that made a loop.
func (t *threader) adopt(child, parent int32) {
	if child == parent {
		return
	}
	if t.nodes[child].elder {
		for n := parent; n != noNode; n = t.nodes[n].parent {
			if n == child {
				return
			}
		}
	}
	t.nodes[child].parent = parent
	t.nodes[parent].elder = true
}

// prune takes the dummies out of the trees, step 3: the children of one belong
// to its parent. A dummy without parent stays if it has several children.
func (t *threader) prune() {
	var path []int32
	for i := range int32(t.count) {
		path = path[:0]
		p := t.nodes[i].parent
		for p != noNode && t.isDummy(p) && t.nodes[p].parent != noNode {
			path = append(path, p)
			p = t.nodes[p].parent
		}
		for _, n := range path { // who comes this way later has it shorter
			t.nodes[n].parent = p
		}
		t.nodes[i].parent = p
	}
	kids := make([]int32, len(t.nodes)-t.count)
	for i := range int32(t.count) {
		if p := t.nodes[i].parent; p != noNode && t.isDummy(p) {
			kids[p-int32(t.count)]++
		}
	}
	for i := range int32(t.count) {
		if p := t.nodes[i].parent; p != noNode && t.isDummy(p) && kids[p-int32(t.count)] == 1 {
			t.nodes[i].parent = noNode
		}
	}
}

// roots are the messages and dummies without a parent, in their order: step 4.
func (t *threader) roots() (roots []int32) {
	t.firsts()
	for i := range int32(len(t.nodes)) {
		if t.nodes[i].parent == noNode && t.nodes[i].first != noNode {
			roots = append(roots, i)
		}
	}
	slices.SortFunc(roots, t.before)
	return roots
}

// firsts finds the first child of each dummy. Dummies without one are dead.
func (t *threader) firsts() {
	for i := t.count; i < len(t.nodes); i++ {
		t.nodes[i].first = noNode
	}
	for i := range int32(t.count) {
		p := t.nodes[i].parent
		if p == noNode || !t.isDummy(p) {
			continue
		}
		if q := t.nodes[p].parent; q != noNode { // merged into another dummy
			p = q
			t.nodes[i].parent = p
		}
		if f := t.nodes[p].first; f == noNode || t.before(i, f) < 0 {
			t.nodes[p].first = i
		}
	}
}

// mergeSubjects is step 5: threads of the same subject become one.
func (t *threader) mergeSubjects(roots []int32) {
	table := make(map[uint64]int32) // A
	subject := func(n int32) (uint64, bool) {
		f := &t.nodes[t.nodes[n].first]
		return f.subject, !f.bare
	}
	for _, n := range roots { // B
		s, ok := subject(n)
		if !ok {
			continue
		}
		other, taken := table[s]
		if !taken || !t.isDummy(other) && (t.isDummy(n) || t.nodes[other].reply && !t.nodes[n].reply) {
			table[s] = n
		}
	}
	for _, n := range roots { // C
		s, ok := subject(n)
		if !ok || t.nodes[n].parent != noNode {
			continue
		}
		other := table[s]
		switch {
		case other == n:
		case t.isDummy(other), t.nodes[n].reply && !t.nodes[other].reply:
			t.nodes[n].parent = other // of a dummy: its children go there
		default:
			d := t.dummy()
			t.nodes[n].parent, t.nodes[other].parent = d, d
			table[s] = d
		}
	}
}
