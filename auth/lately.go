package auth

import (
	"sync"
	"time"
)

// maxLately bounds a lately's memory: about 150 KB.
const maxLately = 1024

// A lately remembers when something happened last, for the newest.
type lately struct {
	mu    sync.Mutex
	times map[string]time.Time
}

func newLately() *lately { return &lately{times: map[string]time.Time{}} }

func (l *lately) get(key string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.times[key]
	return at, ok
}

// add notes a time. When there is no room, the oldest of some goes: a map's order
// is random.
func (l *lately) add(key string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.times[key]; !ok && len(l.times) >= maxLately {
		oldest, seen := "", 0
		for k, at := range l.times {
			if oldest == "" || at.Before(l.times[oldest]) {
				oldest = k
			}
			if seen++; seen == sample {
				break
			}
		}
		delete(l.times, oldest)
	}
	if at.After(l.times[key]) {
		l.times[key] = at
	}
}
