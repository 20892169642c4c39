package imap

import (
	"cmp"
	"slices"
)

// extThreadRefs: threads by references alone, ordered by the message that came
// last (draft-ietf-morg-inthread-01 §4): Subject plays no part, and a thread that
// just got a message is the last one.
var extThreadRefs = extension{
	name: "THREAD=REFS", rfc: "draft-ietf-morg-inthread (RFC 5256 §3)", needs: []*extension{&extThread},
	caps:       []capability{{name: "THREAD=REFS"}},
	threadings: []threading{{"REFS", true, (*threader).linkRefs}},
}

// linkRefs are the steps of REFERENCES, but for the merging of subjects and the
// order of the roots.
func (t *threader) linkRefs() {
	t.linkReferences()
	t.prune()
	t.firsts()
	t.byArrival = true
}

// sortByArrival orders roots by the highest INTERNALDATE in their threads, then
// by the highest message that has it.
func (t *threader) sortByArrival(roots []int32) {
	newest := make([]int32, len(t.nodes)) // of a root: its newest message
	for i := range newest {
		newest[i] = noNode
	}
	rootOf := make([]int32, len(t.nodes))
	for i := range rootOf {
		rootOf[i] = noNode
	}
	var path []int32
	for i := range int32(t.count) {
		path = path[:0]
		n := i
		for rootOf[n] == noNode && t.nodes[n].parent != noNode {
			path = append(path, n)
			n = t.nodes[n].parent
		}
		root := n
		if rootOf[n] != noNode {
			root = rootOf[n]
		}
		for _, p := range append(path, n) { // who comes this way later has it at once
			rootOf[p] = root
		}
		if was := newest[root]; was == noNode || t.nodes[i].arrived >= t.nodes[was].arrived {
			newest[root] = i
		}
	}
	slices.SortFunc(roots, func(a, b int32) int {
		x, y := newest[a], newest[b]
		if n := cmp.Compare(t.nodes[x].arrived, t.nodes[y].arrived); n != 0 {
			return n
		}
		return cmp.Compare(x, y)
	})
}
