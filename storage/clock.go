package storage

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// clockJump is how far the clock may move by itself before nobody believes
	// it any more.
	clockJump = 48 * time.Hour
	// clockSteady is how long it must run after a start or a jump until it is
	// believed although nobody synchronised it.
	clockSteady = 24 * time.Hour
	// clockSaved is how often the time is written down.
	clockSaved = time.Hour
)

// A TimeSource is where the time comes from.
type TimeSource interface {
	// Wall is the time of the day, right or wrong.
	Wall() time.Time
	// Steady is the time since some moment that stays the same. It runs on
	// while the machine sleeps, and never jumps.
	Steady() time.Duration
	// Synchronised says whether somebody keeps Wall right. known is false
	// where that can't be told.
	Synchronised() (yes, known bool)
}

// A clock is the one clock of a data folder (DESIGN §5). Boxes without a clock
// chip start in 1970, others have an empty battery and start anywhere. So the
// time is never below the last one stored nor the day the program was built
// (the floor, which moves on with the steady time); and what goes away by its
// age goes only while the clock is trusted.
type clock struct {
	source TimeSource
	path   string
	built  time.Time

	mu    sync.Mutex
	floor moment // the time is this or later
	start moment // of the steady run: a wall clock that left it by clockJump has jumped
	proof string // why the clock is trusted; "" while it isn't

	saving sync.Mutex
	said   bool // its file can't be written, and that was logged
	timer  *time.Timer
}

// A moment ties the time of the day to the steady time.
type moment struct {
	wall   time.Time
	steady time.Duration
}

func (m moment) at(steady time.Duration) time.Time { return m.wall.Add(steady - m.steady) }

// ClockState is what can be said of the clock.
type ClockState struct {
	Now     time.Time     // as the data folder sees it
	Wall    time.Time     // as the machine says
	Trusted bool          // messages may expire by age
	Why     string        // "synchronised", "steady for 24 h", or why it isn't trusted
	Steady  time.Duration // since the start, or the last jump
	Built   time.Time     // when the program was built: no right clock is before it
	Early   bool          // Wall is before Built
}

const (
	clockSynchronised = "synchronised"
	clockRanSteady    = "it ran steadily for a day"
)

// openClock makes the clock of a data folder.
func openClock(dir string, source TimeSource, built time.Time) *clock {
	if source == nil {
		source = machineTime{}
	}
	c := &clock{source: source, path: filepath.Join(dir, clockFile), built: built}
	steady := source.Steady()
	c.floor = moment{built, steady}
	c.start = moment{source.Wall(), steady}
	if stored := readClock(c.path); stored.After(c.floor.wall) {
		c.floor.wall = stored
	}
	return c
}

// readClock reads the last time stored. It is only a floor: one that can't be
// read costs nothing but that.
func readClock(path string) time.Time {
	b, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 || n > lastSecond {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// lastSecond is the last that UIDVALIDITY can hold, in 2106. A clock beyond it
// is broken.
const lastSecond = math.MaxUint32

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, _ := c.look()
	return now
}

// look reads the clock and sees whether it jumped, or has earned trust. The
// lock is held.
func (c *clock) look() (now time.Time, steady time.Duration) {
	wall, steady := c.source.Wall(), c.source.Steady()
	if off := wall.Sub(c.start.at(steady)); off > clockJump || off < -clockJump {
		c.start, c.proof = moment{wall, steady}, ""
	}
	yes, known := c.source.Synchronised()
	believable := wall.Unix() <= lastSecond && !wall.Before(c.built)
	ran := steady-c.start.steady >= clockSteady
	switch {
	case !believable:
	case yes:
		c.floor, c.proof = moment{wall, steady}, clockSynchronised // the floor may go back: it was ahead
	case ran && !known:
		c.floor = moment{wall, steady}
	}
	if ran && c.proof == "" {
		c.proof = clockRanSteady // of a wall clock behind the floor, that: it can only be late
	}
	now = c.floor.at(steady)
	if believable && wall.After(now) {
		now = wall
		if c.proof != "" {
			c.floor = moment{wall, steady}
		}
	}
	return now.Round(0), steady // without Go's monotonic reading, which is not steady enough
}

// trusted reports whether what is old may go.
func (c *clock) trusted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.proof != ""
}

func (c *clock) state() ClockState {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, steady := c.look()
	s := ClockState{Now: now, Wall: c.source.Wall(), Trusted: c.proof != "", Why: c.proof, Steady: steady - c.start.steady}
	s.Built = c.built
	s.Early = s.Wall.Before(c.built)
	switch _, known := c.source.Synchronised(); {
	case s.Trusted:
	case s.Early:
		s.Why = "it is before the day this program was built"
	case s.Wall.Unix() > lastSecond:
		s.Why = "it is after 2106"
	case s.Wall.Before(c.floor.at(steady).Add(-time.Minute)):
		s.Why = "it is behind the last time stored"
	case known:
		s.Why = "not synchronised"
	default:
		s.Why = "not long enough since the start or a jump"
	}
	return s
}

// sure is a time that is surely not ahead: a clock that was wrong for a moment
// must not set the floor for years.
func (c *clock) sure() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, steady := c.look()
	return c.floor.at(steady)
}

// save writes the time down, with a sync that its folder's files have. It is
// done seldom: the floor is rough.
func (c *clock) save(sync bool) error {
	at := c.sure()
	text := []byte(strconv.FormatInt(at.Unix(), 10) + "\n")
	if !sync {
		return os.WriteFile(c.path, text, 0o600)
	}
	return writeInto(c.path, text)
}

// now is the time that is stored: never below the last one stored.
func (st *Store) now() time.Time { return st.clock.now() }

// Now is the time to store and to compare stored times with (DESIGN §5, one clock).
func (st *Store) Now() time.Time { return st.clock.now() }

// clockTrusted reports whether something may be deleted because of its age.
// Whoever expires, purges, bounces or deletes at a source by age asks it each time.
func (st *Store) clockTrusted() bool { return st.clock.trusted() }

// ClockTrusted is clockTrusted for the packages above.
func (st *Store) ClockTrusted() bool { return st.clockTrusted() }

// Clock tells how the clock is.
func (st *Store) Clock() ClockState { return st.clock.state() }

// saveClock writes the time down, now and once an hour.
func (st *Store) saveClock() {
	c := st.clock
	c.saving.Lock()
	defer c.saving.Unlock()
	err := st.here()
	if err == nil {
		err = c.save(!st.opts.NoSync)
	}
	if err != nil && !c.said && !errors.Is(err, ErrDiskFull) && !errors.Is(err, ErrUnavailable) {
		c.said = true
		st.log.Warn("clock_not_saved", "path", c.path, "error", err)
	}
	if !st.isClosed() {
		c.timer = time.AfterFunc(clockSaved, st.saveClock)
	}
}

// stopClock writes the time down for the last time.
func (st *Store) stopClock() {
	c := st.clock
	c.saving.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.saving.Unlock()
	st.saveClock()
}
