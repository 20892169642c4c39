package cli

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// repeatTime is how long a line is held back that was written already.
	repeatTime = time.Minute
	// repeatLines bounds how many lines are remembered.
	repeatLines = 256
)

// A repeatFilter lets a line through when it comes first, and then once a
// minute with the number of times it came. Lines are the same when event and
// fields are; of a peer only the address counts, its port is new each time.
type repeatFilter struct {
	write func(logLine) error

	mu     sync.Mutex
	lines  map[string]*heldLine
	timer  *time.Timer
	closed bool
}

// A heldLine is a line that was written, and what came of it since.
type heldLine struct {
	last  logLine
	count int
	due   time.Time
}

func (r *repeatFilter) add(l logLine) error {
	key := repeatKey(&l)
	r.mu.Lock()
	defer r.mu.Unlock()
	if held := r.lines[key]; held != nil && !r.closed {
		held.last = l
		held.count++
		return nil
	}
	if !r.closed && len(r.lines) < repeatLines {
		if r.lines == nil {
			r.lines = make(map[string]*heldLine)
		}
		r.lines[key] = &heldLine{due: time.Now().Add(repeatTime)}
		if r.timer == nil {
			r.timer = time.AfterFunc(repeatTime, r.sweep)
		}
	}
	return r.write(l)
}

// sweep writes the lines that repeated and forgets those that didn't.
func (r *repeatFilter) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	next := time.Duration(0)
	for key, held := range r.lines {
		if wait := held.due.Sub(now); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		if held.count == 0 {
			delete(r.lines, key)
			continue
		}
		r.release(held)
		held.due = now.Add(repeatTime)
		if next == 0 {
			next = repeatTime
		}
	}
	r.timer = nil
	if next > 0 && !r.closed {
		r.timer = time.AfterFunc(next, r.sweep)
	}
}

// release writes what is held back of a line. A log that can't be written has
// nowhere to say so.
func (r *repeatFilter) release(held *heldLine) {
	if held.count > 0 {
		held.last.times = held.count
		_ = r.write(held.last)
		held.count = 0
	}
}

// close writes what is held back; lines that come later pass at once.
func (r *repeatFilter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	for _, held := range slices.SortedFunc(maps.Values(r.lines), func(a, b *heldLine) int { return a.last.at.Compare(b.last.at) }) {
		r.release(held)
	}
	r.lines = nil
}

func repeatKey(l *logLine) string {
	var b strings.Builder
	b.WriteString(levelName(l.level))
	b.WriteByte(0)
	b.WriteString(l.event)
	for _, f := range l.fields {
		b.WriteByte(0)
		b.WriteString(f.Key)
		b.WriteByte('=')
		v := logString(f.Value)
		if f.Key == "peer" {
			if ap, err := netip.ParseAddrPort(v); err == nil {
				v = ap.Addr().String()
			}
		}
		b.WriteString(v)
	}
	return b.String()
}
