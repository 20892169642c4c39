package storage

import (
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// processMaps is the budget of this process: address space is its own.
var processMaps = sync.OnceValue(func() *mapBudget {
	if strconv.IntSize == 64 {
		// mail.db is mapped with mapLimit from the start. Some kernels give a
		// process no more than 512 GB (ARM64 with 39 bits).
		return &mapBudget{soft: 128 << 30, files: fileBudget(), open: map[mapped]mapShare{},
			limits: mapLimits{volume: 512 << 20, first: 64 << 20}}
	}
	mips := runtime.GOARCH == "mips" || runtime.GOARCH == "mipsle"
	return smallBudget(addressSpace(), fileBudget(), mips)
})

// maps is the budget of the store's files.
func (o *Options) maps() *mapBudget {
	if o.hooks != nil && o.hooks.maps != nil {
		return o.hooks.maps
	}
	return processMaps()
}

const (
	// heapSpace is what of the address space is left to all that isn't a map
	// of a file, and an eighth at least: the heap has most of its own before
	// we look, but what is free isn't in one piece for long.
	heapSpace = 32 << 20
	// leastSpace is what is counted with even if there seems to be less.
	leastSpace = 64 << 20
)

// smallBudget is that of a process with so much address space left (DESIGN §5,
// STORAGE.md §7). A compaction has two maps of a file at a time; while one of
// a volume goes on, half of the space is left to others.
func smallBudget(space int64, files int, mips bool) *mapBudget {
	m := &mapBudget{soft: 512 << 20, hard: max(space-max(heapSpace, space/8), leastSpace), files: files, open: map[mapped]mapShare{},
		limits: mapLimits{volume: 128 << 20, index: 256 << 20}}
	if mips {
		m.soft, m.limits.volume, m.limits.index = 256<<20, 64<<20, 128<<20
	}
	m.soft = min(m.soft, m.hard)
	for m.limits.volume > m.hard/8 && m.limits.volume > 16<<20 {
		m.limits.volume /= 2
	}
	for m.limits.index > m.hard/3 && m.limits.index > 32<<20 {
		m.limits.index /= 2
	}
	m.limits.first = min(m.limits.index/8, 16<<20)
	m.spare = m.limits.volume
	return m
}

// addressSpace is how much of it there is, in pieces that a file would fit
// into. The kernel says it best: what RLIMIT_AS, the machine and an emulator
// leave is all one to it.
func addressSpace() (octets int64) {
	const most, least = 256 << 20, 16 << 20
	var pieces [][]byte
	for size := int64(most); size >= least && octets < 2<<30; {
		p, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			size /= 2
			continue
		}
		pieces = append(pieces, p)
		octets += size
	}
	for _, p := range pieces {
		_ = syscall.Munmap(p) // it was mapped a moment ago
	}
	return octets
}

// fileBudget is how many files of accounts may be open: an account has about
// two descriptors for each, and connections need theirs.
func fileBudget() int {
	const least, most = 16, 400
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return most
	}
	return int(min(max(uint64(limit.Cur)/4, least), most))
}
