//go:build !linux

package cli

import "time"

// monotonicNow is not known: nobody asks for it here.
func monotonicNow() (time.Duration, bool) { return 0, false }
