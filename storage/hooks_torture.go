//go:build torture

package storage

import (
	"bytes"
	"os"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
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
		migrations:  testMigrationsTo(testLimit("TEST_NESTBOX_FORMAT")),
		upkeep:      time.Duration(testLimit("TEST_NESTBOX_UPKEEP_MS")) * time.Millisecond,
		compact:     testLimit("TEST_NESTBOX_COMPACT") > 0,
	}
	if space := testLimit("TEST_NESTBOX_SPACE"); space > 0 {
		o.hooks.maps = smallBudget(space*8/7, fileBudget(), false)
	}
	if o.Time == nil && o.hooks.upkeep > 0 && testLimit("TEST_NESTBOX_CLOCK") == 0 {
		o.Time = trustedTime{}
	}
}

// trustedTime says that somebody keeps the clock right. TEST_NESTBOX_CLOCK is
// for a test that has a clock of its own (test/tap).
type trustedTime struct{ machineTime }

func (trustedTime) Synchronised() (yes, known bool) { return true, true }

// testLimit is a number out of the environment, 0 if it isn't there.
func testLimit(name string) int64 {
	n, _ := strconv.ParseInt(os.Getenv(name), 10, 64)
	return n
}

// testMigrationsTo are migrations to made-up formats, which are as the first
// one: each writes the row of every blob again, 20 a slice.
func testMigrationsTo(format int64) (all []migration) {
	for to := uint16(formatVersion + 1); int64(to) <= format; to++ {
		all = append(all, migration{to: to, minReader: to, slice: rewriteBlobs})
	}
	return all
}

func rewriteBlobs(tx *bolt.Tx, at []byte) ([]byte, error) {
	rows := tx.Bucket(bucketBlobs)
	c := rows.Cursor()
	k, v := c.Seek(at)
	for range 20 {
		if k == nil {
			return nil, nil
		}
		key := bytes.Clone(k)
		if err := rows.Put(key, bytes.Clone(v)); err != nil {
			return nil, err
		}
		c.Seek(key)
		k, v = c.Next()
	}
	return bytes.Clone(k), nil
}
