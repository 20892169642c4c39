package auth

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nestbox/storage"
)

// A Ban is an address that isn't served, because too many of its logins failed.
type Ban struct {
	Address  string    `json:"address"` // an IPv4 address, or a /64 of IPv6
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Failures int       `json:"failures"` // that led to it
}

const (
	// defaultBanAfter is how many failures within banWindow ban an address. The
	// same wrong password again doesn't count: a phone with an old one bans nobody.
	defaultBanAfter = 20
	banWindow       = time.Hour
	// firstBan is how long the first ban lasts; each further one twice as long
	// as the one before, up to longestBan, unless there was peace for so long.
	firstBan   = 15 * time.Minute
	longestBan = 24 * time.Hour
	// knownFor is how long an address from which somebody has logged in is not
	// banned, only slowed down: it may be a whole household's.
	knownFor = 7 * 24 * time.Hour
	// maxSuspects bounds the memory: about 700 KB.
	maxSuspects = 4096
	// sample is how many are looked at when one has to go.
	sample = 64
)

// bans are the addresses that are banned or on their way there. Bans are stored;
// who was only on the way begins anew after a restart, with the delays of throttle.
type bans struct {
	log    *slog.Logger
	after  int // failures; 0: nobody is banned
	exempt []netip.Prefix
	now    func() time.Time
	// changed is told of a ban that begins, and of one that is lifted (nil).
	changed func(key string, ban *storage.BanRow)
	known   *lately // addresses, with their last good login

	mu       sync.Mutex
	suspects map[string]*suspect
}

type suspect struct {
	failures int
	since    time.Time // of the first of them
	times    int       // how often it was banned
	ban      Ban       // Until is zero when there was none; over when it lies in the past
	told     bool      // that it is over
}

// loopback is exempt if nothing else is.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func newBans(log *slog.Logger, after int, exempt []netip.Prefix) *bans {
	if len(exempt) == 0 {
		exempt = loopback
	}
	return &bans{
		log: log, after: after, exempt: exempt, now: time.Now, changed: func(string, *storage.BanRow) {},
		known: newLately(), suspects: map[string]*suspect{},
	}
}

// banned is a *ThrottledError for as long as an address is banned.
func (b *bans) banned(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.suspects[key]
	if s == nil || s.ban.Until.IsZero() {
		return nil
	}
	if now := b.now(); now.Before(s.ban.Until) {
		return &ThrottledError{Wait: s.ban.Until.Sub(now)}
	}
	b.over(s)
	return nil
}

// over tells once that a ban has ended by itself.
func (b *bans) over(s *suspect) {
	if !s.told {
		s.told = true
		b.log.Info("ban_over", "peer", s.ban.Address)
	}
}

// fail counts a failure of an address, and bans it if it was one too many.
func (b *bans) fail(key string, peer netip.Addr) {
	if b.after <= 0 || b.isExempt(peer) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if at, ok := b.known.get(key); ok && now.Sub(at) < knownFor {
		return
	}
	s := b.suspects[key]
	if s == nil {
		b.makeRoom(now)
		s = &suspect{since: now}
		b.suspects[key] = s
	}
	if now.Before(s.ban.Until) {
		return // a connection from before the ban
	}
	if now.Sub(s.since) >= banWindow {
		s.failures, s.since = 0, now
	}
	if s.failures++; s.failures < b.after {
		return
	}
	if !s.ban.Until.IsZero() {
		b.over(s)
		if now.Sub(s.ban.Until) >= longestBan {
			s.times = 0
		}
	}
	lasts := min(firstBan<<min(s.times, 16), longestBan)
	s.ban = Ban{Address: key, Since: now, Until: now.Add(lasts), Failures: s.failures}
	s.failures, s.told = 0, false
	s.times++
	b.log.Warn("ban_begun", "peer", key, "failures", s.ban.Failures, "seconds", int(lasts.Seconds()))
	b.changed(key, &storage.BanRow{Address: key, Since: s.ban.Since, Until: s.ban.Until, Failures: s.ban.Failures, Times: s.times})
}

// good notes that somebody logged in from an address.
func (b *bans) good(key string) {
	b.known.add(key, b.now())
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.suspects, key)
}

func (b *bans) isExempt(peer netip.Addr) bool {
	peer = peer.Unmap().WithZone("")
	return slices.ContainsFunc(b.exempt, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// makeRoom looks at a few by chance, and drops who is at peace, or else who has
// failed least: neither a ban nor the way to one is forgotten because others come.
func (b *bans) makeRoom(now time.Time) {
	if len(b.suspects) < maxSuspects {
		return
	}
	victim, least, seen := "", 0, 0
	for key, s := range b.suspects {
		if now.Sub(s.since) >= banWindow && (s.ban.Until.IsZero() || now.Sub(s.ban.Until) >= longestBan) {
			delete(b.suspects, key)
			continue
		}
		weight := s.failures
		if !s.ban.Until.IsZero() {
			weight += b.after * s.times
		}
		if victim == "" || weight < least {
			victim, least = key, weight
		}
		if seen++; seen == sample {
			break
		}
	}
	if len(b.suspects) >= maxSuspects {
		delete(b.suspects, victim)
	}
}

// list is who is banned now, who is free soonest first.
func (b *bans) list() []Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []Ban{}
	for _, s := range b.suspects {
		if b.now().Before(s.ban.Until) {
			all = append(all, s.ban)
		}
	}
	slices.SortFunc(all, func(x, y Ban) int { return cmp.Or(x.Until.Compare(y.Until), cmp.Compare(x.Address, y.Address)) })
	return all
}

// lift ends the ban of an address, and forgets what led to it.
func (b *bans) lift(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.suspects[key]
	if s == nil || !b.now().Before(s.ban.Until) {
		return false
	}
	delete(b.suspects, key)
	b.log.Info("ban_lifted", "peer", key)
	b.changed(key, nil)
	return true
}

// Banned is a *ThrottledError if an address is banned: its connections aren't
// worth a handshake.
func (a *Authenticator) Banned(peer netip.Addr) error { return a.bans.banned(peerPrefix(peer)) }

// Bans lists the addresses that are banned.
func (a *Authenticator) Bans() []Ban { return a.bans.list() }

// LiftBan ends the ban of an address, or of the /64 of IPv6 that it is in; it
// tells whether there was one.
func (a *Authenticator) LiftBan(peer netip.Addr) bool { return a.bans.lift(peerPrefix(peer)) }
