package storage

import (
	"context"
	"time"
)

// A copyPace brings a copy to the disk a slice at a time. Who commits on the
// same disk waits for the slice that is on its way, so slices are as large as
// the disk takes in a moment, and between two it is the others' for as long.
type copyPace struct {
	slice    int // octets
	unsynced int
}

const (
	firstSlice = 4 << 20
	minSlice   = 1 << 20 // below it the syncs would take more than the copy
	maxSlice   = 8 << 20
	// sliceTime is what one may take, well below the 50 ms that a session may
	// wait for a backup.
	sliceTime = 15 * time.Millisecond
	maxRest   = 200 * time.Millisecond
)

// wrote counts what was written, and syncs it once it is a slice.
func (p *copyPace) wrote(ctx context.Context, n int, sync func() error) error {
	p.slice = max(p.slice, minSlice)
	if p.unsynced += n; p.unsynced < p.slice {
		return nil
	}
	start := time.Now()
	if err := sync(); err != nil {
		return err
	}
	took := time.Since(start)
	p.slice = nextSlice(p.unsynced, took)
	p.unsynced = 0
	select {
	case <-time.After(min(took, maxRest)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nextSlice is how much the disk takes in sliceTime, if it goes on like that;
// at most double of what went before.
func nextSlice(last int, took time.Duration) int {
	fits := int(float64(last) * min(2, float64(sliceTime)/float64(max(took, time.Microsecond))))
	return min(max(fits, minSlice), maxSlice)
}
