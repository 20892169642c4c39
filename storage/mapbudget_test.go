package storage

import (
	"slices"
	"testing"
)

type testMap struct {
	m    *mapBudget
	used int64
	busy bool
}

func (v *testMap) lastUsed() int64 { return v.used }

func (v *testMap) closeIdle() bool {
	if !v.busy {
		v.m.give(v)
	}
	return !v.busy
}

func TestMapBudget(t *testing.T) {
	t.Parallel()
	m := &mapBudget{limit: 100, open: map[mapped]int64{}}
	var all []*testMap
	for i := range 5 {
		v := &testMap{m: m, used: int64(i), busy: i == 1}
		all = append(all, v)
		m.take(v, 30)
	}
	// 0 went for 3; 1 was asked for 4 and is busy.
	var open []int
	for i, v := range all {
		if _, ok := m.open[v]; ok {
			open = append(open, i)
		}
	}
	if !slices.Equal(open, []int{1, 2, 3, 4}) || m.total != 120 {
		t.Errorf("open: %v, %d octets", open, m.total)
	}
	all[1].busy = false
	m.take(all[4], 60) // a map that grows
	if m.total != 90 || len(m.open) != 2 {
		t.Errorf("%d maps, %d octets", len(m.open), m.total)
	}
	for _, v := range all {
		m.give(v)
	}
	if m.total != 0 || len(m.open) != 0 {
		t.Errorf("%d maps, %d octets", len(m.open), m.total)
	}
	for size, want := range map[int64]int64{0: 32 << 10, 1: 32 << 10, 1 << 20: 1 << 20, 1<<20 + 1: 2 << 20} {
		if got := mapSize(size); got != want {
			t.Errorf("a file of %d is mapped with %d, not %d", size, got, want)
		}
	}
}
