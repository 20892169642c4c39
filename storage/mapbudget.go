package storage

import (
	"math/bits"
	"runtime"
	"strconv"
	"sync"
)

// A mapBudget bounds how much address space the body volumes of all accounts
// take. With 32 bits there is little of it, in one piece even less, and bbolt
// maps whole files (STORAGE.md §7). The one used longest ago is closed first.
type mapBudget struct {
	limit int64 // 0 for none

	mu    sync.Mutex
	total int64
	open  map[mapped]int64
}

// mapped is an open volume. closeIdle reports false when it is in use.
type mapped interface {
	closeIdle() bool
	lastUsed() int64
}

// volumeMaps is the process's: address space is.
var volumeMaps = mapBudget{limit: volumeMapLimit(), open: map[mapped]int64{}}

// volumeMapLimit is half of what DESIGN §5 allows; the other half is for the
// indexes, which stay open as long as their accounts.
func volumeMapLimit() int64 {
	switch {
	case strconv.IntSize == 64:
		return 0
	case runtime.GOARCH == "mips" || runtime.GOARCH == "mipsle":
		return 128 << 20
	}
	return 256 << 20
}

// mapSize is what bbolt maps of a file: the next power of two.
func mapSize(file int64) int64 {
	return max(32<<10, int64(1)<<bits.Len64(uint64(max(file, 1)-1)))
}

// take counts a map of so many octets that is about to be made. If others are
// to be closed for it and all of them are in use, it is made all the same.
func (m *mapBudget) take(v mapped, octets int64) {
	if m.limit == 0 {
		return
	}
	m.mu.Lock()
	m.total += octets - m.open[v]
	m.open[v] = octets
	var idle []mapped
	for over, passed := m.total-m.limit, map[mapped]bool{v: true}; over > 0; {
		var oldest mapped
		for o := range m.open {
			if !passed[o] && (oldest == nil || o.lastUsed() < oldest.lastUsed()) {
				oldest = o
			}
		}
		if oldest == nil {
			break
		}
		passed[oldest] = true
		over -= m.open[oldest]
		idle = append(idle, oldest)
	}
	m.mu.Unlock()
	for _, o := range idle {
		o.closeIdle() // gives its share back
	}
}

// give counts out a map that is no more.
func (m *mapBudget) give(v mapped) {
	if m.limit == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total -= m.open[v]
	delete(m.open, v)
}
