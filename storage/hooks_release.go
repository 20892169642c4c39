//go:build !torture

package storage

// testLimits are those of the test build (hooks_torture.go); here there are none.
func (o *Options) testLimits() {}
