//go:build !linux

package auth

// machineMemory is what a machine of today has that is no small box.
func machineMemory() int64 { return leastMemory }
