package tap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A Clock is what the program takes for the machine's clock (Options.Clock),
// if its binary comes out of AskForTime.
type Clock struct {
	mu     sync.Mutex
	wall   time.Duration // how far the time of the day is off the machine's
	slept  time.Duration // what CLOCK_BOOTTIME has more than the machine's
	synced bool          // somebody keeps the clock right
	asked  int
}

// Set sets the time of the day, as `date -s` does, and says whether an NTP
// daemon did it.
func (c *Clock) Set(to time.Time, synced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.synced = time.Until(to), synced
}

// Pass lets time pass, as if the machine had slept.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.slept = c.wall+d, c.slept+d
}

// Now is the time of the day.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.wall)
}

// Asked is how often the program asked for the time of the day.
func (c *Clock) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// vdsoNames are what Go programs look the kernel's clock_gettime up by, in the
// page that the kernel maps into each process. Without it they make the call.
var vdsoNames = []string{"__vdso_clock_gettime", "__kernel_clock_gettime"}

// AskForTime copies a Go program so that it asks the kernel for the time by a
// system call, which a Clock can answer. In the copy one name is different.
func AskForTime(to, binary string) error {
	b, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	found := 0
	for _, name := range vdsoNames {
		found += bytes.Count(b, []byte(name))
		b = bytes.ReplaceAll(b, []byte(name), []byte("X"+name[1:]))
	}
	if found == 0 {
		return errors.New("tap: " + binary + " doesn't look for the kernel's clock")
	}
	if err := os.WriteFile(to, b, 0o700); err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	return nil
}
