package auth

import (
	"net/netip"
	"sync"
	"time"
)

// A rule says how failures delay what comes after them.
type rule struct {
	free int           // failures without a delay
	max  time.Duration // the longest delay; it starts at a second and doubles
}

// An account's delay is short: strangers who guess at it must not keep its
// owner out. An address's is longer.
var (
	addressRule = rule{free: 5, max: 10 * time.Second}
	accountRule = rule{free: 10, max: 5 * time.Second}
)

const (
	// failureHalfLife is how long it takes to forgive half of the failures.
	failureHalfLife = 10 * time.Minute
	// maxMeters bounds a throttle's memory: about 600 KB.
	maxMeters = 4096
	// maxFailures is enough for the longest delay and soon forgiven.
	maxFailures = 32
)

// A throttle spaces out the logins of each key, the more the more failed.
type throttle struct {
	rule rule

	mu     sync.Mutex
	meters map[string]*meter
}

type meter struct {
	failures int
	since    time.Time // of the last failure or halving
	next     time.Time // when the next login may be looked at
}

func newThrottle(r rule) *throttle { return &throttle{rule: r, meters: map[string]*meter{}} }

// forgive halves the failures for each half-life that has passed.
func (m *meter) forgive(now time.Time) {
	for m.failures > 0 && now.Sub(m.since) >= failureHalfLife {
		m.failures /= 2
		m.since = m.since.Add(failureHalfLife)
	}
}

func (t *throttle) delay(m *meter) time.Duration {
	over := m.failures - t.rule.free
	if over <= 0 {
		return 0
	}
	if over > 16 { // no overflow of the shift
		return t.rule.max
	}
	return min(time.Second<<(over-1), t.rule.max)
}

// reserve returns how long a login of key has to wait, and gives it that
// place in the row; ok is false when the row is too long to stand in.
func (t *throttle) reserve(key string) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.meters[key]
	if m == nil {
		return 0, true
	}
	now := time.Now()
	m.forgive(now)
	delay := t.delay(m)
	if delay == 0 {
		return 0, true
	}
	at := now
	if m.next.After(now) {
		at = m.next
	}
	if wait = at.Sub(now); wait > maxHold {
		return wait, false
	}
	m.next = at.Add(delay)
	return wait, true
}

// fail counts a failure of key.
func (t *throttle) fail(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	m := t.meters[key]
	if m == nil {
		if len(t.meters) >= maxMeters {
			t.makeRoom(now)
		}
		m = &meter{since: now}
		t.meters[key] = m
	}
	m.forgive(now)
	m.failures = min(m.failures+1, maxFailures)
	m.since = now
	if at := now.Add(t.delay(m)); at.After(m.next) {
		m.next = at
	}
}

// failing tells whether failures of key aren't forgiven yet.
func (t *throttle) failing(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.meters[key]
	if m == nil {
		return false
	}
	m.forgive(time.Now())
	return m.failures > 0
}

// forget takes back all failures of key.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.meters, key)
}

// makeRoom drops what is forgiven, or else the least of some: a map's order
// is random, so nobody can aim at a certain one.
func (t *throttle) makeRoom(now time.Time) {
	var victim string
	least, seen := maxFailures+1, 0
	for key, m := range t.meters {
		if m.forgive(now); m.failures == 0 {
			delete(t.meters, key)
			continue
		}
		if seen++; seen <= 64 && m.failures < least {
			victim, least = key, m.failures
		}
	}
	if len(t.meters) >= maxMeters {
		delete(t.meters, victim)
	}
}

// PeerNetwork is whom an address stands for, as an address: one IPv4 address, or
// the first of the /64 that a household has of IPv6.
func PeerNetwork(peer netip.Addr) netip.Addr {
	peer = peer.Unmap().WithZone("")
	if p, err := peer.Prefix(64); err == nil && peer.Is6() {
		return p.Addr()
	}
	return peer
}

// peerPrefix is whom an address stands for: one IPv4 address, or the /64
// that a household has of IPv6.
func peerPrefix(peer netip.Addr) string {
	peer = peer.Unmap().WithZone("")
	if peer.Is6() {
		if p, err := peer.Prefix(64); err == nil {
			return p.String()
		}
	}
	return peer.String()
}
