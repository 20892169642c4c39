package storage

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineTime is the machine's clock.
type machineTime struct{}

func (machineTime) Wall() time.Time { return time.Now() }

// Steady is CLOCK_BOOTTIME: Go's monotonic time stands still while the machine
// sleeps, which would look like a jump of the wall clock.
func (machineTime) Steady() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}

// Synchronised is the kernel's word: whoever sets the clock by hand clears it,
// and NTP daemons set it.
func (machineTime) Synchronised() (yes, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return false, false // some sandboxes forbid it
	}
	return state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, true
}

var started = time.Now()
