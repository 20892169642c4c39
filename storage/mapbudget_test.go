package storage

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
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

func (m *mapBudget) sum() (octets int64) {
	for _, s := range m.open {
		octets += s.octets
	}
	return octets
}

func TestMapBudget(t *testing.T) {
	t.Parallel()
	m := &mapBudget{soft: 100, hard: 130, spare: 30, open: map[mapped]mapShare{}}
	var all []*testMap
	for i := range 5 {
		v := &testMap{m: m, used: int64(i), busy: i == 1}
		all = append(all, v)
		if err := m.take(v, 30, false, 0); err != nil {
			t.Fatal(err)
		}
	}
	// 0 went for 3, and for 4 the busy 1 was passed over and 2 went.
	var open []int
	for i, v := range all {
		if _, ok := m.open[v]; ok {
			open = append(open, i)
		}
	}
	if !slices.Equal(open, []int{1, 3, 4}) || m.sum() != 90 {
		t.Errorf("open: %v, %d octets", open, m.sum())
	}
	all[1].busy = false
	if err := m.take(all[4], 60, false, 0); err != nil || m.sum() != 90 || len(m.open) != 2 {
		t.Errorf("one that grows: %v, %d maps, %d octets", err, len(m.open), m.sum())
	}
	m.files = 1
	if err := m.take(all[0], 10, false, 0); err != nil || len(m.open) != 1 {
		t.Errorf("%d maps where 1 is to be open, %v", len(m.open), err)
	}
	for size, want := range map[int64]int64{0: 32 << 10, 1: 32 << 10, 1 << 20: 1 << 20, 1<<20 + 1: 2 << 20, 1 << 30: 1 << 30, 1<<30 + 1: 2 << 30} {
		if got := mapSize(size); got != want {
			t.Errorf("a file of %d is mapped with %d, not %d", size, got, want)
		}
	}
}

// What is in use stays, and who wants more than there is waits for it.
func TestMapBudgetInUse(t *testing.T) {
	t.Parallel()
	m := &mapBudget{soft: 100, hard: 100, spare: 30, open: map[mapped]mapShare{}}
	var held [3]heldMap
	if err := errors.Join(m.take(&held[0], 40, true, 0), m.take(&held[1], 30, true, 0)); err != nil {
		t.Fatal(err)
	}
	noSpace := new(mapSpaceError)
	if err := m.take(&held[2], 10, true, 0); !errors.As(err, &noSpace) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("what is left is for volumes: %v", err)
	}
	if err := m.take(&testMap{m: m, busy: true}, 30, false, 0); err != nil {
		t.Errorf("a volume: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { m.give(&held[0]) })
	if err := m.take(&held[2], 10, true, 10*time.Second); err != nil {
		t.Errorf("after one was given back: %v", err)
	}
	// Of those that are in use for long, the ones that aren't just now go.
	idle := &testMap{m: m}
	m.give(&held[1])
	if err := m.take(idle, 50, true, 0); err != nil {
		t.Fatal(err)
	}
	if err := m.take(&held[1], 30, true, 0); err != nil || m.open[idle].octets > 0 {
		t.Errorf("%v, %v", err, m.open)
	}
	// One that is larger than all there is may be tried when it is alone.
	alone := &mapBudget{soft: 100, hard: 100, spare: 30, open: map[mapped]mapShare{}}
	if err := alone.take(&held[0], 200, true, 0); err != nil {
		t.Error(err)
	}
}

// A volume whose map is part of what a compaction took isn't counted again: the
// room that is left to volumes stays theirs.
func TestMapBudgetInside(t *testing.T) {
	t.Parallel()
	m := &mapBudget{soft: 100, hard: 100, spare: 30, open: map[mapped]mapShare{}}
	var index, compaction heldMap
	source, other, third := &testMap{m: m, busy: true}, &testMap{m: m, busy: true}, &testMap{m: m, busy: true}
	if err := errors.Join(m.take(&index, 10, true, 0), m.take(source, 30, false, 0), m.take(&compaction, 60, true, 0)); err != nil {
		t.Fatal(err)
	}
	noSpace := new(mapSpaceError)
	if err := m.take(other, 30, false, 0); !errors.As(err, &noSpace) {
		t.Errorf("before it is said: %v", err)
	}
	m.within(source, &compaction)
	if err := m.take(other, 30, false, 0); err != nil {
		t.Errorf("another volume: %v", err)
	}
	m.give(source)
	if err := errors.Join(m.take(third, 30, false, 0), m.take(source, 30, false, 0)); !errors.As(err, &noSpace) || m.open[source].octets == 0 {
		t.Errorf("the source has room, and a third one none: %v, %v", err, m.open)
	}
	m.give(&compaction)
	if err := m.take(&compaction, 60, true, 0); !errors.As(err, &noSpace) {
		t.Errorf("the source is counted again: %v", err)
	}
}

func TestSmallBudget(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for _, c := range []struct {
		space int64
		mips  bool
		want  mapLimits
	}{
		{2048 * mb, false, mapLimits{volume: 128 * mb, index: 256 * mb, first: 16 * mb}},
		{480 * mb, false, mapLimits{volume: 32 * mb, index: 128 * mb, first: 16 * mb}},
		{1400 * mb, true, mapLimits{volume: 64 * mb, index: 128 * mb, first: 16 * mb}},
		{192 * mb, true, mapLimits{volume: 16 * mb, index: 32 * mb, first: 4 * mb}},
	} {
		m := smallBudget(c.space, 100, c.mips)
		if m.limits != c.want || m.soft > m.hard {
			t.Errorf("%d MB: %+v, %d of %d", c.space/mb, m.limits, m.soft, m.hard)
		}
		// A compaction of a volume, or of mail.db, with that of an account in use.
		if long := m.hard - m.spare; 2*m.limits.volume+m.limits.index > long || 2*m.limits.index > long {
			t.Errorf("%d MB: no room for a compaction in %d", c.space/mb, long)
		}
	}
	if free := addressSpace(); free < 1<<30 {
		t.Errorf("%d octets of address space", free)
	}
}

// A large map gets its turn though small ones come and go all the time, and one
// that waits for what those behind it have doesn't hold them up for long.
func TestMapBudgetLine(t *testing.T) {
	t.Parallel()
	m := &mapBudget{soft: 100, hard: 100, spare: 100, open: map[mapped]mapShare{}}
	stop := make(chan struct{})
	var small sync.WaitGroup
	defer small.Wait()
	defer close(stop)
	for range 4 {
		small.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var v heldMap
				if err := m.take(&v, 30, false, time.Minute); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(2 * mapTick)
				m.give(&v)
			}
		})
	}
	for range 5 {
		var large heldMap
		time.Sleep(4 * mapTick)
		begin := time.Now()
		if err := m.take(&large, 95, false, time.Minute); err != nil {
			t.Fatal(err)
		}
		t.Logf("waited %v", time.Since(begin))
		m.give(&large)
	}
	stuck := &mapBudget{soft: 100, hard: 100, open: map[mapped]mapShare{}}
	var a, b, c heldMap
	if err := stuck.take(&a, 50, false, 0); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() { waits <- stuck.take(&b, 80, false, time.Minute) }()
	time.Sleep(10 * mapTick)
	if err := stuck.take(&c, 40, false, 10*mapTurn); err != nil {
		t.Errorf("one for which there is room: %v", err)
	}
	stuck.give(&c)
	stuck.give(&a)
	if err := <-waits; err != nil {
		t.Error(err)
	}
}
