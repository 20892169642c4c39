package storage

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// bbolt follows a branch page wherever it leads. One byte that changed, or a
// copy made while the file was written to, can lead it back to where it came
// from: then it calls itself until the stack is full, which ends the process
// and can't be recovered from. So the branch pages of a file are walked when
// it is opened, and those of a nested bucket when it is used.
//
// The leaves of the large trees are not looked at, since that would read the
// whole file: all of a tree's leaves are equally deep, so what stands there is
// only compared with the branches.

// guardDepth is more than the depth of any tree: branches have a hundred children.
const guardDepth = 24

type treeGuard struct {
	data []byte
	seen map[uint64]bool // branches
}

func newTreeGuard(tx *bolt.Tx) *treeGuard {
	data := tx.DB().Info().Data
	p := *(*unsafe.Pointer)(unsafe.Pointer(&data)) // the map, which stays while tx is open
	return &treeGuard{data: unsafe.Slice((*byte)(p), tx.Size()), seen: map[uint64]bool{}}
}

// page is as much of a page as its elements take; nil if it isn't one, over
// which bbolt panics, and that can be recovered from.
func (g *treeGuard) page(id uint64) []byte {
	ne := binary.NativeEndian
	if id < 2 || id >= uint64(len(g.data))/pageBytes {
		return nil
	}
	p := g.data[id*pageBytes:]
	flags, size := ne.Uint16(p[8:]), (uint64(ne.Uint32(p[12:]))+1)*pageBytes
	if ne.Uint64(p) != id || flags != pageBranch && flags != pageLeaf || size > uint64(len(p)) || pageHeader+uint64(ne.Uint16(p[10:]))*16 > size {
		return nil
	}
	return p[:size]
}

func isBranch(p []byte) bool { return binary.NativeEndian.Uint16(p[8:]) == pageBranch }

func elementsOf(p []byte) int { return int(binary.NativeEndian.Uint16(p[10:])) }

func childOf(p []byte, i int) uint64 {
	return binary.NativeEndian.Uint64(p[pageHeader+i*16+8:])
}

// height is how many branches stand above the leaves of a tree, by its first ones.
func (g *treeGuard) height(id uint64) (n int) {
	for p := g.page(id); p != nil && isBranch(p) && elementsOf(p) > 0 && n < guardDepth; p = g.page(childOf(p, 0)) {
		n++
	}
	return n
}

// tree walks the branches of a tree that has levels of them, all of it if
// levels is 0. leaf is called with leaves that are met.
func (g *treeGuard) tree(id uint64, levels int, leaf func(p []byte) error) error {
	if levels > 0 {
		levels = min(g.height(id), levels)
		if levels == 0 {
			return nil // its root is a leaf
		}
	}
	var lowest [][]byte
	if err := g.walk(id, 1, levels, leaf, &lowest); err != nil {
		return err
	}
	for _, p := range lowest {
		for i := range elementsOf(p) {
			if g.seen[childOf(p, i)] {
				return g.twice(childOf(p, i))
			}
		}
	}
	return nil
}

func (g *treeGuard) twice(id uint64) error {
	return fmt.Errorf("%w: page %d leads back to itself", ErrCorrupt, id)
}

func (g *treeGuard) walk(id uint64, level, levels int, leaf func(p []byte) error, lowest *[][]byte) error {
	p := g.page(id)
	switch {
	case p == nil:
		return nil
	case !isBranch(p):
		if leaf == nil {
			return nil
		}
		return leaf(p)
	case g.seen[id] || level > guardDepth:
		return g.twice(id)
	}
	g.seen[id] = true
	if level == levels {
		*lowest = append(*lowest, p)
		return nil
	}
	for i := range elementsOf(p) {
		if err := g.walk(childOf(p, i), level+1, levels, leaf, lowest); err != nil {
			return err
		}
	}
	return nil
}

// guardFile walks the branches of the trees of a file that is being opened.
func guardFile(tx *bolt.Tx) error {
	g := newTreeGuard(tx)
	return g.tree(uint64(tx.Cursor().Bucket().Root()), 0, func(p []byte) error {
		for i := range elementsOf(p) {
			e, ok := pageElement(p, i, len(p))
			if !ok || e.flags != 1 || len(e.value) < 8 {
				continue
			}
			if root := binary.NativeEndian.Uint64(e.value); root != 0 {
				if err := g.tree(root, guardDepth, nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// guardBucket walks a small bucket within another one before it is used.
func guardBucket(tx *bolt.Tx, b *bolt.Bucket) error {
	if b == nil || b.Root() == 0 {
		return nil
	}
	return newTreeGuard(tx).tree(uint64(b.Root()), guardDepth, nil)
}
