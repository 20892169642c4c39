//go:build torture

package storage

import (
	"os"
	"strconv"
	"time"
)

// testLimits make the test build of the binary (-tags torture) do within
// seconds what takes years: test/crash kills it in the middle. No release is
// built with it.
func (o *Options) testLimits() {
	if o.hooks != nil {
		return
	}
	o.hooks = &hooks{
		volume:      testLimit("TEST_NESTBOX_VOLUME"),
		firstBodies: testLimit("TEST_NESTBOX_FIRST_BODIES"),
		upkeep:      time.Duration(testLimit("TEST_NESTBOX_UPKEEP_MS")) * time.Millisecond,
	}
	if o.Time == nil && o.hooks.upkeep > 0 {
		o.Time = trustedTime{}
	}
}

// trustedTime says that somebody keeps the clock right.
type trustedTime struct{ machineTime }

func (trustedTime) Synchronised() (yes, known bool) { return true, true }

// testLimit is a number out of the environment, 0 if it isn't there.
func testLimit(name string) int64 {
	n, _ := strconv.ParseInt(os.Getenv(name), 10, 64)
	return n
}
