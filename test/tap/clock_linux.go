//go:build amd64 || arm64

package tap

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clocks are the calls that tell the time. The filter asks about them if the
// program has a clock of its own, about clock_gettime for these clocks only.
var clocks = map[int]func(*call) (int64, error){
	unix.SYS_CLOCK_GETTIME: (*call).gettime,
	unix.SYS_ADJTIMEX:      (*call).adjtimex,
}

var clockIDs = []uint32{unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME}

func (c *call) gettime() (int64, error) {
	clock := c.t.o.Clock
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(c.args[0]), &ts); err != nil {
		return 0, err
	}
	clock.mu.Lock()
	off := clock.slept
	if int32(c.args[0]) == unix.CLOCK_REALTIME {
		off = clock.wall
		clock.asked++
	}
	clock.mu.Unlock()
	ts = unix.NsecToTimespec(ts.Nano() + int64(off))
	return 0, c.put(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)))
}

// adjtimex tells only how the clock is.
func (c *call) adjtimex() (int64, error) {
	clock := c.t.o.Clock
	var x unix.Timex
	at := unsafe.Slice((*byte)(unsafe.Pointer(&x)), unsafe.Sizeof(x))
	asked, err := c.bytes(c.args[0], uint64(len(at)))
	if err != nil {
		return 0, err
	}
	copy(at, asked)
	if x.Modes != 0 {
		return 0, unix.EPERM
	}
	if _, err := unix.Adjtimex(&x); err != nil {
		return 0, err
	}
	now := clock.Now()
	x.Time = unix.NsecToTimeval(now.Round(time.Microsecond).UnixNano())
	clock.mu.Lock()
	synced := clock.synced
	clock.mu.Unlock()
	if x.Status &^= unix.STA_UNSYNC; synced {
		return unix.TIME_OK, c.put(at)
	}
	x.Status |= unix.STA_UNSYNC
	return unix.TIME_ERROR, c.put(at)
}

// put writes into the memory of the caller, at its last argument.
func (c *call) put(b []byte) error {
	at := c.args[0]
	if int(c.nr) == unix.SYS_CLOCK_GETTIME {
		at = c.args[1]
	}
	n, err := unix.ProcessVMWritev(int(c.pid), []unix.Iovec{iovec(b)}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	return err
}
