package cli

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonicNow is the machine's clock that nobody sets.
func monotonicNow() (time.Duration, bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
