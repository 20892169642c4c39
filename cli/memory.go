package cli

import (
	"bufio"
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// Bounds of the default memory limit (PLATFORM.md §1.3): an eighth of the
// machine's memory, so that mail leaves room for what else a small box does.
const (
	memoryLimitMin = 16 << 20
	memoryLimitMax = 64 << 20
	memoryShare    = 8
)

// memoryLimit is the limit of a profile, 0 for a share of the machine's memory.
func memoryLimit(profile string) int64 {
	switch profile {
	case "small":
		return memoryLimitMin
	case "normal":
		return memoryLimitMax
	}
	return 0
}

// setMemoryLimit sets the Go heap's soft limit: limit, or when it is 0 a share
// of the machine's memory. GOMEMLIMIT wins: the runtime has read it already.
func setMemoryLimit(limit int64, getenv func(string) string) {
	if getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit <= 0 {
		limit = memoryLimitMax
		if ram := machineMemory(); ram > 0 {
			limit = max(min(ram/memoryShare, memoryLimitMax), memoryLimitMin)
		}
	}
	debug.SetMemoryLimit(limit)
}

// machineMemory reads MemTotal of /proc/meminfo, or 0 where there is none.
func machineMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemTotal:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, " kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

const (
	// restInterval is how often the watchdog looks, and how long the server
	// must have rested.
	restInterval = 10 * time.Second
	// restObjects is how many allocations in that time still count as rest.
	restObjects = 2000
	// restWorth is how much memory must be there to give back.
	restWorth = 1 << 20
)

// returnMemory gives the memory of past work back to the system when the
// server rests: the runtime alone takes minutes (PLATFORM.md §1.3: 70 MB
// instead of 7 after a burst).
func returnMemory(ctx context.Context) {
	sample := []metrics.Sample{
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
	}
	tick := time.NewTicker(restInterval)
	defer tick.Stop()
	var last, freedAt uint64 // allocations counted
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		objects := sample[0].Value.Uint64()
		rested := objects-last < restObjects
		last = objects
		// What was worked since the last time may be garbage still, which is
		// in none of the figures: give back once after each stretch of work.
		worked := objects-freedAt > 10*restObjects
		idle := sample[1].Value.Uint64() + sample[2].Value.Uint64()
		if rested && worked && idle+sample[3].Value.Uint64() > restWorth {
			debug.FreeOSMemory()
			metrics.Read(sample[:1])
			last = sample[0].Value.Uint64()
			freedAt = last
		}
	}
}
