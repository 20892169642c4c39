package storage

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"time"
)

// A mapBudget bounds how much address space the open files of all accounts
// take, and how many they are. bbolt maps whole files, in powers of two; with
// 32 bits there is little address space, in one piece even less, and a file
// that can't be mapped can't be read (STORAGE.md §7).
//
// What is not in use is closed, the one used longest ago first, and opened
// again when it is wanted. What is in use stays: the index of an account while
// somebody reads or writes there, a volume for one read or commit. Who wants
// more than there is then waits in a line, and gets ErrUnavailable if that
// takes too long. Files that are in use for long leave room for one volume, so
// that everybody who only waits for a volume gets it at last; there is a line
// for each kind.
type mapBudget struct {
	soft  int64 // beyond which what is not in use is closed
	hard  int64 // beyond which nothing is opened; 0 for no bound
	spare int64 // of hard, that is left to volumes
	files int   // beyond which what is not in use is closed; 0 for no bound

	limits mapLimits

	mu   sync.Mutex
	open map[mapped]mapShare
	// inside are the volumes whose maps are part of what somebody holds for long.
	inside map[mapped]mapped
	// waiting are the lines: for volumes, and for what is in use for long.
	waiting [2][]*mapTicket
}

// A mapTicket is a place in a line.
type mapTicket struct {
	first time.Time // since when it is the first, if it is
}

// mapLimits are sizes of files that fit such a budget.
type mapLimits struct {
	volume int64 // of a body volume
	index  int64 // of mail.db, 0 for none
	first  int64 // of bodies in mail.db
}

// A mapShare is what one takes.
type mapShare struct {
	octets int64
	long   bool
}

// mapped is an open file, or several that are closed together. closeIdle
// closes it unless it is in use, and reports whether it did.
type mapped interface {
	closeIdle() bool
	lastUsed() int64
}

const (
	// mapPatience is how long a request waits for others to be done.
	mapPatience = 20 * time.Second
	// mapTick is how often it looks.
	mapTick = 5 * time.Millisecond
	// mapTurn is how long the first of a line holds up the others. Then it goes
	// to its end: those behind may have what it waits for, in use.
	mapTurn = time.Second
)

// mapSize is what bbolt maps of a file: the next power of two, up to 1 GB.
func mapSize(file int64) int64 {
	const step = 1 << 30
	if file > step {
		return (file + step - 1) / step * step
	}
	return max(32<<10, int64(1)<<bits.Len64(uint64(max(file, 1)-1)))
}

// A mapSpaceError says that there is no address space for a file.
type mapSpaceError struct {
	Octets, Limit int64
}

func (e *mapSpaceError) Error() string {
	return fmt.Sprintf("no address space for a map of %d MB: the files in use take up the %d MB that there are", e.Octets>>20, e.Limit>>20)
}

// Is lets such a file answer as one that can be read later.
func (e *mapSpaceError) Is(target error) bool { return target == ErrUnavailable }

// take counts a map of so many octets that is about to be made, instead of
// what v had, and closes others for it. If too many of them are in use, it
// waits its turn: small maps would else always find room before large ones.
func (m *mapBudget) take(v mapped, octets int64, long bool, patience time.Duration) error {
	t, share := new(mapTicket), mapShare{octets, long}
	if m.takeInside(v, share) {
		return nil
	}
	defer m.leave(t, long)
	for end := time.Now().Add(patience); ; time.Sleep(mapTick) {
		if m.hard == 0 || m.turn(t, long) {
			m.closeFor(v, share)
			if m.try(v, share) {
				return nil
			}
		}
		if time.Now().After(end) {
			return &mapSpaceError{octets, m.hard}
		}
	}
}

// within says that the map of a volume is part of what holder took. Counted
// twice, it would take up the room that is left to volumes for as long as a
// compaction or a backup lasts, and these wait for others who want a volume.
func (m *mapBudget) within(v, holder mapped) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outside(holder)
	if m.inside == nil {
		m.inside = map[mapped]mapped{}
	}
	m.inside[v] = holder
}

// outside ends what within said of holder. The lock is held.
func (m *mapBudget) outside(holder mapped) {
	maps.DeleteFunc(m.inside, func(_, h mapped) bool { return h == holder })
}

// takeInside counts the map of a volume for which there is room already.
func (m *mapBudget) takeInside(v mapped, s mapShare) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inside[v] == nil {
		return false
	}
	m.open[v] = s
	return true
}

// line is the one for what is in use for long, or for short.
func (m *mapBudget) line(long bool) *[]*mapTicket {
	if long {
		return &m.waiting[1]
	}
	return &m.waiting[0]
}

// turn puts the ticket at the end of its line, unless it is in it, and reports
// whether it is the first.
func (m *mapBudget) turn(t *mapTicket, long bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := m.line(long)
	if !slices.Contains(*line, t) {
		*line = append(*line, t)
	}
	now := time.Now()
	first := (*line)[0]
	if first.first.IsZero() {
		first.first = now
	}
	if len(*line) > 1 && now.Sub(first.first) > mapTurn {
		first.first = time.Time{}
		*line = append((*line)[1:], first)
	}
	return (*line)[0] == t
}

func (m *mapBudget) leave(t *mapTicket, long bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := m.line(long)
	*line = slices.DeleteFunc(*line, func(other *mapTicket) bool { return other == t })
}

// try counts the map if there is room for it now.
func (m *mapBudget) try(v mapped, s mapShare) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, long := int64(0), int64(0)
	for o, share := range m.open {
		if o == v || m.inside[o] != nil {
			continue
		}
		if all += share.octets; share.long {
			long += share.octets
		}
	}
	// One that is larger than all there should be may be tried alone.
	if m.hard > 0 && all > 0 && all+s.octets > m.hard || m.hard > 0 && s.long && long > 0 && long+s.octets > m.hard-m.spare {
		return false
	}
	m.open[v] = s
	return true
}

// closeFor closes what is not in use while there is too much with v's map.
func (m *mapBudget) closeFor(v mapped, s mapShare) {
	total, long := m.over(v, s)
	if !total && !long {
		return
	}
	m.mu.Lock()
	open := maps.Clone(m.open)
	m.mu.Unlock()
	all := slices.Collect(maps.Keys(open))
	used := make(map[mapped]int64, len(all)) // it changes meanwhile
	for _, o := range all {
		used[o] = o.lastUsed()
	}
	slices.SortFunc(all, func(x, y mapped) int { return cmp.Compare(used[x], used[y]) })
	for _, o := range all {
		// closeIdle gives its share back. It may want locks that others hold
		// who want m's, so m's isn't held.
		if o == v || !total && !open[o].long || !o.closeIdle() {
			continue
		}
		if total, long = m.over(v, s); !total && !long {
			return
		}
	}
}

// closeAll closes all that is not in use.
func (m *mapBudget) closeAll() {
	m.mu.Lock()
	all := slices.Collect(maps.Keys(m.open))
	m.mu.Unlock()
	for _, o := range all {
		o.closeIdle()
	}
}

// over reports whether there is too much with v's map: of all, or of those
// that are in use for long.
func (m *mapBudget) over(v mapped, s mapShare) (total, long bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	files, all := 1, s.octets
	longs := int64(0)
	for o, share := range m.open {
		if o == v {
			continue
		}
		files++
		if m.inside[o] != nil {
			continue
		}
		if all += share.octets; share.long {
			longs += share.octets
		}
	}
	total = m.soft > 0 && all > m.soft || m.files > 0 && files > m.files
	return total, m.hard > 0 && s.long && longs+s.octets > m.hard-m.spare
}

// give counts out what is no more.
func (m *mapBudget) give(v mapped) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, v)
	m.outside(v)
}

// A heldMap is one that isn't closed for others.
type heldMap struct{ _ byte }

func (*heldMap) closeIdle() bool { return false }
func (*heldMap) lastUsed() int64 { return time.Now().UnixNano() }
