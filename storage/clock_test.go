package storage

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// testTime is a clock that a test sets.
type testTime struct {
	mu     sync.Mutex
	wall   time.Time
	steady time.Duration
	synced bool
	known  bool
}

func (c *testTime) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *testTime) Steady() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steady
}

func (c *testTime) Synchronised() (yes, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced, c.known
}

// pass lets the time pass.
func (c *testTime) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.steady = c.wall.Add(d), c.steady+d
}

// set moves the wall clock, as a person or a daemon does.
func (c *testTime) set(wall time.Time, synced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.synced = wall, synced
}

var (
	day      = 24 * time.Hour
	inTest   = time.Date(2027, 5, 1, 12, 0, 0, 0, time.UTC)
	builtDay = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
)

func wantTime(t *testing.T, what string, got, want time.Time) {
	t.Helper()
	if d := got.Sub(want); d < -2*time.Second || d > 2*time.Second {
		t.Errorf("%s: it is %v, want %v", what, got.UTC(), want.UTC())
	}
}

// wantTrust looks twice: looking must not change the answer.
func wantTrust(t *testing.T, what string, c *clock, want bool) {
	t.Helper()
	for range 2 {
		if got := c.trusted(); got != want {
			t.Errorf("%s: trusted %v, want %v (%s)", what, got, want, c.state().Why)
		}
	}
}

func TestClockIsTrustedWhenSynchronised(t *testing.T) {
	t.Parallel()
	src := &testTime{wall: inTest, synced: true, known: true}
	c := openClock(t.TempDir(), src, builtDay)
	wantTrust(t, "synchronised start", c, true)
	src.pass(time.Hour)
	src.set(src.wall, false) // the daemon went away
	wantTrust(t, "synchronised once, and steady since", c, true)
	src.set(src.wall.Add(47*time.Hour), false)
	wantTrust(t, "after 47 h by hand", c, true)
	src.set(src.wall.Add(2*time.Hour), false)
	wantTrust(t, "after 49 h in two steps", c, false)
	src.set(inTest.Add(time.Hour), true)
	wantTrust(t, "synchronised again", c, true)
	wantTime(t, "synchronised again", c.now(), inTest.Add(time.Hour))
}

func TestClockIsTrustedAfterADay(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		src := &testTime{wall: inTest, known: known}
		c := openClock(t.TempDir(), src, builtDay)
		wantTrust(t, "start", c, false)
		src.pass(day - time.Second)
		wantTrust(t, "23:59:59 later", c, false)
		src.pass(time.Second)
		wantTrust(t, "a day later", c, true)
		src.set(src.wall.Add(-49*time.Hour), false)
		wantTrust(t, "after a jump back", c, false)
		src.pass(day)
		wantTrust(t, "a day after the jump", c, true)
	}
}

// A box without a clock chip starts in 1970 each time.
func TestClockStartsIn1970(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := &testTime{wall: time.Unix(0, 0), known: true}
	c := openClock(dir, src, builtDay)
	wantTime(t, "first start", c.now(), builtDay)
	wantTrust(t, "first start", c, false)
	src.pass(5 * time.Hour)
	wantTime(t, "5 h later", c.now(), builtDay.Add(5*time.Hour))
	if err := c.save(true); err != nil {
		t.Fatal(err)
	}
	again := &testTime{wall: time.Unix(9, 0), known: true}
	c = openClock(dir, again, builtDay)
	wantTime(t, "second start", c.now(), builtDay.Add(5*time.Hour))
	again.set(inTest, true)
	wantTime(t, "network came up", c.now(), inTest)
	wantTrust(t, "network came up", c, true)
	if err := c.save(true); err != nil {
		t.Fatal(err)
	}
	c = openClock(dir, &testTime{wall: time.Unix(0, 0), known: true}, builtDay)
	wantTime(t, "third start", c.now(), inTest)
}

func TestClockAheadDoesNotStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := &testTime{wall: inTest, synced: true, known: true}
	c := openClock(dir, src, builtDay)
	c.now()
	year2036 := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	src.set(year2036, false)
	wantTime(t, "in 2036", c.now(), year2036)
	wantTrust(t, "in 2036", c, false)
	if err := c.save(false); err != nil {
		t.Fatal(err)
	}
	if stored := readClock(c.path); stored.After(inTest.Add(time.Minute)) {
		t.Errorf("stored %v while in doubt", stored)
	}
	src.pass(time.Hour)
	src.set(inTest.Add(time.Hour), false)
	wantTime(t, "back", c.now(), inTest.Add(time.Hour))

	// Trusted in 2036 for lack of better: the truth still wins.
	src.set(year2036, false)
	c.now()
	src.pass(25 * time.Hour)
	wantTrust(t, "a day in 2036", c, true)
	c.now()
	src.set(inTest.Add(26*time.Hour), false)
	wantTrust(t, "back by hand", c, false)
	wantTime(t, "back by hand", c.now(), year2036.Add(25*time.Hour)) // not below what was stored
	src.set(inTest.Add(26*time.Hour), true)
	wantTrust(t, "synchronised", c, true)
	wantTime(t, "synchronised", c.now(), inTest.Add(26*time.Hour))
}

func TestClockBeyondItsRange(t *testing.T) {
	t.Parallel()
	src := &testTime{wall: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), known: true, synced: true}
	c := openClock(t.TempDir(), src, builtDay)
	wantTime(t, "in 2200", c.now(), builtDay)
	wantTrust(t, "in 2200", c, false)
	for _, bad := range []string{"", "x", "-5", "99999999999999"} {
		if err := writeInto(filepath.Join(filepath.Dir(c.path), clockFile), []byte(bad)); err != nil {
			t.Fatal(err)
		}
		wantTime(t, "file "+bad, openClock(filepath.Dir(c.path), &testTime{}, builtDay).now(), builtDay)
	}
}

// An account lives through 1970, 2036 and back: nothing is gone, UIDVALIDITY
// only rises, and no message is dated before the program.
func TestAccountThroughClockJumps(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	src := &testTime{wall: time.Unix(100, 0), known: true}
	open := func() (*Store, *Account) {
		st, err := Open(dir, Options{NoSync: true, Built: builtDay, Time: src})
		if err != nil {
			t.Fatal(err)
		}
		info, err := st.FindAccount("anna")
		if err != nil {
			info = mustAccount(t, st, "anna")
		}
		a, err := st.Account(info.ID)
		if err != nil {
			t.Fatal(err)
		}
		return st, a
	}
	var last uint32
	n, messages := 0, 0
	visit := func(what string, a *Account) {
		t.Helper()
		n++
		m, err := a.CreateMailbox("box" + string(rune('a'+n)))
		if err != nil {
			t.Fatal(err)
		}
		if m.UIDValidity <= last {
			t.Errorf("%s: UIDVALIDITY %d after %d", what, m.UIDValidity, last)
		}
		last = m.UIDValidity
		appendTo(t, a, inbox(t, a).ID, message(n))
		messages++
		uids := make([]imap.UID, messages)
		for i := range uids {
			uids[i] = imap.UID(i + 1)
		}
		rows, err := a.Rows(inbox(t, a).Space, uids, nil)
		if err != nil || len(rows) != messages {
			t.Fatalf("%s: %d messages, %v; want %d", what, len(rows), err, messages)
		}
		for _, r := range rows {
			if r.Date < builtDay.Unix() || r.SaveDate < builtDay.Unix() {
				t.Errorf("%s: UID %d has date %d, saved %d", what, r.UID, r.Date, r.SaveDate)
			}
		}
	}
	st, a := open()
	visit("in 1970", a)
	src.set(time.Date(2036, 6, 1, 0, 0, 0, 0, time.UTC), false)
	visit("in 2036", a)
	src.pass(2 * day)
	visit("two days later", a)
	src.set(inTest, true)
	visit("back", a)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	src.set(time.Unix(0, 0), false)
	st, a = open()
	visit("in 1970 again", a)
	wantTime(t, "in 1970 again", st.Now(), inTest)
	sound(t, a)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// The machine's own clock answers something that makes sense.
func TestMachineTime(t *testing.T) {
	t.Parallel()
	var m machineTime
	before := m.Steady()
	wall := m.Wall()
	if now := time.Now(); now.Sub(wall) > time.Minute || wall.After(now) {
		t.Errorf("wall clock %v, time.Now %v", wall, now)
	}
	if after := m.Steady(); before <= 0 || after < before || after > before+time.Minute {
		t.Errorf("steady clock from %v to %v", before, after)
	}
	m.Synchronised()
}
