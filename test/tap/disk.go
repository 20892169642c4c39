package tap

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// A Disk is what a power cut would find below the root: what is durable, and
// what was done since. It is as unkind as POSIX allows: until a file is
// synced, any sectors of what was written to it may be there or not; until
// its folder is synced, a name that was made, renamed or removed may be as
// before. A rename as such happens or doesn't.
type Disk struct {
	root   *node
	inodes map[uint64]*node // by the inode of the real file
	step   int
}

// A node is a file or a folder.
type node struct {
	dir bool
	// Of a file: its durable bytes, and what was done to it since.
	durable []byte
	pending []Event
	// Of a folder: the names that are durable, those that there are, and what
	// leads from these to those.
	names, live map[string]*node
	changes     []*change
}

// A change gives names in one or two folders a file, or takes them away.
type change struct {
	settled bool
	chosen  int  // the cut for which was decided
	happens bool // in that cut
	set     []entry
}

type entry struct {
	in   *node
	name string
	to   *node // nil: removed
}

func newFolder() *node {
	return &node{dir: true, names: map[string]*node{}, live: map[string]*node{}}
}

// NewDisk is the disk with all that is below dir, durable; inodes are those of
// the files there.
func NewDisk(dir string) (*Disk, error) {
	d := &Disk{root: newFolder(), inodes: map[uint64]*node{}}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		below, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		n := newFolder()
		if !e.IsDir() {
			n = new(node)
			if n.durable, err = os.ReadFile(name); err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			d.inodes[inodeOf(info)] = n
		}
		parent, base, err := d.parent(filepath.ToSlash(below))
		if err == nil {
			parent.names[base], parent.live[base] = n, n
		}
		return err
	})
	return d, err
}

// parent finds the folder of a path, as the program sees it now.
func (d *Disk) parent(name string) (*node, string, error) {
	n, err := d.find(path.Dir(name))
	if err == nil && !n.dir {
		err = fmt.Errorf("%s: not a folder", path.Dir(name))
	}
	return n, path.Base(name), err
}

func (d *Disk) find(name string) (*node, error) {
	if name == "." {
		return d.root, nil
	}
	parent, base, err := d.parent(name)
	if err != nil {
		return nil, err
	}
	n := parent.live[base]
	if n == nil {
		return nil, fmt.Errorf("%s: the disk has no such name", name)
	}
	return n, nil
}

// Happen brings the disk one event further.
func (d *Disk) Happen(e Event) error {
	switch e.Op {
	case Create, Mkdir:
		n := newFolder()
		if e.Op == Create {
			n = new(node)
			d.inodes[e.Inode] = n
		}
		return d.change(e.Path, n)
	case Remove:
		return d.change(e.Path, nil)
	case Rename, Link, Exchange:
		return d.rename(e)
	case Write, Truncate, Extend:
		n := d.inodes[e.Inode]
		if n == nil {
			return fmt.Errorf("%v: the disk has no such file", e)
		}
		n.pending = append(n.pending, e)
	case Sync:
		return d.sync(e)
	}
	return nil
}

// change gives a name a file.
func (d *Disk) change(name string, to *node) error {
	parent, base, err := d.parent(name)
	if err == nil {
		parent.changes = append(parent.changes, &change{set: []entry{{parent, base, to}}})
		parent.put(base, to)
	}
	return err
}

func (n *node) put(name string, to *node) {
	if to == nil {
		delete(n.live, name)
		return
	}
	n.live[name] = to
}

func (d *Disk) rename(e Event) error {
	from, base, err := d.parent(e.Path)
	if err != nil {
		return err
	}
	to, toBase, err := d.parent(e.To)
	if err != nil {
		return err
	}
	n := from.live[base]
	if n == nil {
		return fmt.Errorf("%v: the disk has no such name", e)
	}
	old := to.live[toBase]
	if n == old {
		return nil // two names of one file: rename does nothing
	}
	c := &change{set: []entry{{to, toBase, n}}}
	to.changes = append(to.changes, c)
	if e.Op != Link {
		if e.Op == Rename {
			old = nil
		}
		c.set = append(c.set, entry{from, base, old})
		if from != to {
			from.changes = append(from.changes, c)
		}
		from.put(base, old)
	}
	to.put(toBase, n)
	return nil
}

func (d *Disk) sync(e Event) error {
	// A folder's inode may have been that of a file that is gone. A file's path
	// may be gone, or another's.
	n, err := d.find(e.Path)
	if err != nil || !n.dir {
		if n = d.inodes[e.Inode]; n == nil {
			return fmt.Errorf("%v: the disk has no such file", e)
		}
		for _, p := range n.pending {
			n.durable = applied(n.durable, p)
		}
		n.pending = nil
		return nil
	}
	for _, c := range n.changes {
		if !c.settled {
			c.settled = true
			for _, s := range c.set {
				s.in.settle(s)
			}
		}
	}
	n.changes = nil
	return nil
}

func (n *node) settle(s entry) {
	if s.to == nil {
		delete(n.names, s.name)
		return
	}
	n.names[s.name] = s.to
}

func applied(b []byte, e Event) []byte {
	switch {
	case e.Op == Write:
		return patched(b, e.Data, e.Offset)
	case e.Size > int64(len(b)):
		return grown(b, e.Size)
	case e.Op == Truncate:
		return b[:e.Size:e.Size]
	}
	return b
}

func grown(b []byte, size int64) []byte { return append(b, make([]byte, size-int64(len(b)))...) }

func patched(b, data []byte, offset int64) []byte {
	if end := offset + int64(len(data)); end > int64(len(b)) {
		b = grown(b, end)
	}
	copy(b[offset:], data)
	return b
}

// A Cut is how a power cut treats what isn't durable.
type Cut struct {
	Sector int // octets that are written as one
	Data   int // chance of a sector, in percent
	Names  int // chance of a change of names
	// InOrder: no change of a folder's names happens without those before it,
	// as in a file system with a journal.
	InOrder bool
}

// RandomCut makes one up.
func RandomCut(r *rand.Rand) Cut {
	chances := []int{0, 30, 70, 100}
	return Cut{[]int{64, 512, 4096}[r.IntN(3)], chances[r.IntN(4)], chances[r.IntN(4)], r.IntN(2) == 0}
}

func (c Cut) String() string {
	return fmt.Sprintf("sectors of %d, %d %% of them, %d %% of the names, in order %v", c.Sector, c.Data, c.Names, c.InOrder)
}

// Cut writes below dir what is there after the power was cut now. Files for
// which skip says so are left out.
func (d *Disk) Cut(dir string, c Cut, r *rand.Rand, skip func(name string) bool) error {
	d.step++
	done := map[*node][]byte{}
	var write func(n *node, name string) error
	write = func(n *node, name string) error {
		if skip != nil && skip(name) {
			return nil
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if !n.dir {
			b, ok := done[n]
			if !ok {
				b = n.torn(c, r)
				done[n] = b
			}
			return os.WriteFile(to, b, 0o600)
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		names := d.namesAfter(n, c, r)
		for _, base := range slices.Sorted(maps.Keys(names)) {
			if err := write(names[base], path.Join(name, base)); err != nil {
				return err
			}
		}
		return nil
	}
	return write(d.root, ".")
}

// namesAfter are a folder's names after a cut.
func (d *Disk) namesAfter(n *node, c Cut, r *rand.Rand) map[string]*node {
	names := maps.Clone(n.names)
	stopped := false
	for _, ch := range n.changes {
		if ch.settled {
			continue
		}
		if ch.chosen != d.step {
			ch.chosen, ch.happens = d.step, !stopped && r.IntN(100) < c.Names
		}
		if !ch.happens {
			stopped = c.InOrder
			continue
		}
		for _, s := range ch.set {
			switch {
			case s.in != n:
			case s.to == nil:
				delete(names, s.name)
			default:
				names[s.name] = s.to
			}
		}
	}
	return names
}

// torn are a file's bytes after a cut.
func (n *node) torn(c Cut, r *rand.Rand) []byte {
	if len(n.pending) == 0 {
		return n.durable
	}
	b := slices.Clone(n.durable)
	for _, e := range n.pending {
		if e.Op != Write {
			if r.IntN(100) < c.Data {
				b = applied(b, e)
			}
			continue
		}
		// A sector is one of the disk's, not of the write.
		for at := int64(0); at < int64(len(e.Data)); {
			end := min(at+int64(c.Sector)-(e.Offset+at)%int64(c.Sector), int64(len(e.Data)))
			if r.IntN(100) < c.Data {
				b = patched(b, e.Data[at:end], e.Offset+at)
			}
			at = end
		}
	}
	return b
}
