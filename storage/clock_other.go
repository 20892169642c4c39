//go:build !linux

package storage

import "time"

// machineTime is the machine's clock.
type machineTime struct{}

var started = time.Now()

func (machineTime) Wall() time.Time { return time.Now() }

func (machineTime) Steady() time.Duration { return time.Since(started) }

// Synchronised is not known here: a clock that ran steadily for a day will do.
func (machineTime) Synchronised() (yes, known bool) { return false, false }
