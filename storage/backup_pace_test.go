package storage

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A copy finds the slices that a disk takes in a moment, and leaves it to others
// half of the time.
func TestCopyPace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		second int // octets that the disk takes in one
		most   time.Duration
	}{
		{"SSD", 400 << 20, sliceTime + time.Millisecond},
		{"hard disk", 100 << 20, sliceTime + time.Millisecond},
		{"SD card", 10 << 20, 110 * time.Millisecond}, // minSlice
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := copyPace{slice: firstSlice}
				var busy, longest time.Duration
				begun, waiting, syncs := time.Now(), 0, 0
				const all, part = 64 << 20, 256 << 10
				for range all / part {
					waiting += part
					if err := p.wrote(t.Context(), part, func() error {
						took := time.Duration(waiting) * time.Second / time.Duration(c.second)
						time.Sleep(took)
						waiting, syncs, busy = 0, syncs+1, busy+took
						if syncs > 1 {
							longest = max(longest, took)
						}
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				if longest > c.most || waiting >= maxSlice {
					t.Errorf("a sync took %v, %d octets wait", longest, waiting)
				}
				if all := time.Since(begun); all < busy*3/2 {
					t.Errorf("the disk was busy %v of %v", busy, all)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := copyPace{slice: 1}
	if err := p.wrote(ctx, minSlice, func() error { time.Sleep(time.Millisecond); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}
