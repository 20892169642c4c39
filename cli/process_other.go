//go:build !linux

package cli

import (
	"errors"
	"syscall"
	"time"
)

// monotonicNow is not known: nobody asks for it here.
func monotonicNow() (time.Duration, bool) { return 0, false }

// leftCapabilities has nothing to look at: there are none.
func leftCapabilities() error { return nil }

func noCoreDumps() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }

// noNewPrivileges is Linux's.
func noNewPrivileges() error { return errors.ErrUnsupported }

// landlock is Linux's.
func landlock(string, []wantedPath) (int, error) { return 0, errors.New("Linux has it") }

// aboveMount is for landlock.
func aboveMount(string) string { return "" }
