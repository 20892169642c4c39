//go:build amd64 || arm64

package tap

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel and the listener exchange, linux/seccomp.h.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	answer struct {
		id    uint64
		val   int64
		err   int32
		flags uint32
	}
	addFD struct {
		id       uint64
		flags    uint32
		source   uint32
		newFD    uint32
		newFlags uint32
	}
)

const (
	ioctlReceive  = 0xc0502100
	ioctlSend     = 0xc0182101
	ioctlAddFD    = 0x40182103
	flagContinue  = 1
	flagAddAndEnd = 2
)

func (t *Tap) ioctl(request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.listen), request, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// loop answers the kernel until the program has ended.
func (t *Tap) loop() {
	defer close(t.done)
	if err := noSignals(); err != nil {
		t.err = err
		t.Kill() // nobody would answer it
		return
	}
	for {
		poll := []unix.PollFd{{Fd: int32(t.listen), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			t.err = err
			return
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return // nobody is left who could ask
		}
		c := &call{t: t}
		err := t.ioctl(ioctlReceive, unsafe.Pointer(&c.notification))
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // who asked is dead
		}
		if err != nil {
			t.err = err
			return
		}
		if err := c.answer(); err != nil && !gone(err) {
			t.err = errors.Join(t.err, err)
		}
	}
}

// noSignals keeps this goroutine's thread for it alone, and signals from that
// thread; it ends with the goroutine. A signal that comes while the kernel
// hands over a file (give), such as the runtime's to preempt the goroutine,
// would take the file back but end the program's call with the result 0: its
// standard input. What it writes then fails with EBADF.
func noSignals() error {
	runtime.LockOSThread()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	for _, own := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP} {
		all.Val[(own-1)/64] &^= 1 << ((own - 1) % 64)
	}
	return unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil)
}

// gone reports whether an answer came too late, for a program that was killed.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINPROGRESS)
}

// A call is one system call that waits for its answer.
type call struct {
	t *Tap
	notification
	answered bool
}

// errPass lets the program do the call itself: it is none of ours.
var errPass = errors.New("not below the root")

func (c *call) answer() error {
	// A process that is started meanwhile would have copies of the program's
	// open files until it runs, and with them their locks: on a busy machine
	// for longer than the next server waits for them.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	do := handlers[int(c.nr)]
	if int(c.nr) == unix.SYS_OPENAT {
		do = (*call).open
	} else if tell, ok := clocks[int(c.nr)]; ok {
		do = tell
	}
	val, err := do(c)
	a := answer{id: c.id, val: val}
	var errno unix.Errno
	switch {
	case c.answered:
		return err
	case errors.Is(err, errPass):
		a.flags = flagContinue
	case errors.As(err, &errno):
		a.val, a.err = 0, -int32(errno)
	case err != nil:
		a.val, a.err = 0, -int32(unix.EIO)
		return errors.Join(err, c.t.ioctl(ioctlSend, unsafe.Pointer(&a)))
	}
	return c.t.ioctl(ioctlSend, unsafe.Pointer(&a))
}

// below is a path as events have it.
func (t *Tap) below(path string) (string, bool) {
	path = strings.TrimSuffix(path, " (deleted)")
	if path == t.o.Root {
		return ".", true
	}
	return strings.CutPrefix(path, t.o.Root+"/")
}

// before reports the call that is about to be done; an error means that the
// program was killed and does it no more.
func (c *call) before(e Event) error {
	if c.t.o.Before != nil {
		c.t.o.Before(c.t, e)
	}
	if c.t.killed.Load() {
		return unix.EINTR
	}
	return nil
}

func (c *call) after(e Event) {
	if c.t.o.After != nil {
		c.t.o.After(c.t, e)
	}
}

// bytes reads the program's memory.
func (c *call) bytes(at, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if n == 0 {
		return b, nil
	}
	got, err := unix.ProcessVMReadv(c.t.cmd.Process.Pid, []unix.Iovec{iovec(b)}, []unix.RemoteIovec{{Base: uintptr(at), Len: int(n)}}, 0)
	if err == nil && got != len(b) {
		err = unix.EFAULT
	}
	return b, err
}

func iovec(b []byte) (v unix.Iovec) {
	v.Base = &b[0]
	v.SetLen(len(b))
	return v
}

// text reads a path out of the program's memory, a page's rest at a time.
func (c *call) text(at uint64) (string, error) {
	var all []byte
	for len(all) < unix.PathMax {
		b, err := c.bytes(at, 256-at%256)
		if err != nil {
			return "", err
		}
		if n := strings.IndexByte(string(b), 0); n >= 0 {
			return string(append(all, b[:n]...)), nil
		}
		all = append(all, b...)
		at += uint64(len(b))
	}
	return "", unix.ENAMETOOLONG
}

// path is the absolute path that a call names by a folder and a name.
func (c *call) path(dir uint64, at uint64) (string, error) {
	name, err := c.text(at)
	if err != nil || filepath.IsAbs(name) {
		return filepath.Clean(name), err
	}
	base := fmt.Sprintf("/proc/%d/cwd", c.t.cmd.Process.Pid)
	if int32(dir) != unix.AT_FDCWD {
		base = fmt.Sprintf("/proc/%d/fd/%d", c.t.cmd.Process.Pid, int32(dir))
	}
	if base, err = readlink(base); err != nil {
		return "", err
	}
	return filepath.Join(base, name), nil
}

func readlink(path string) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlink(path, b)
	return string(b[:max(n, 0)]), err
}

// file is a file descriptor of the program's, as our own, and its path below
// the root; errPass if it isn't there.
func (c *call) file() (fd int, path string, err error) {
	full, err := readlink(fmt.Sprintf("/proc/%d/fd/%d", c.t.cmd.Process.Pid, int32(c.args[0])))
	if err != nil {
		return -1, "", errPass // a bad one: the kernel shall say so
	}
	if full == c.t.o.Marks && full != "" {
		path = full
	} else {
		var ok bool
		if path, ok = c.t.below(full); !ok {
			return -1, "", errPass
		}
	}
	if fd, err = unix.PidfdGetfd(c.t.pidfd, int(int32(c.args[0])), 0); errors.Is(err, unix.EBADF) && !c.t.killed.Load() {
		// The program waits in this call, and a moment ago the descriptor was
		// there: whoever reads a failure must see that the tap was part of it.
		c.t.err = errors.Join(c.t.err, fmt.Errorf("tap: descriptor %d (%s) of process %d by pidfd %d: %w",
			int32(c.args[0]), path, c.t.cmd.Process.Pid, c.t.pidfd, err))
	}
	return fd, path, err
}

func inode(fd int) (ino uint64, size int64, err error) {
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Ino, st.Size, err
}

// give ends the call with our file in the program's table.
func (c *call) give(fd int, flags uint32) error {
	c.answered = true
	err := c.t.ioctl(ioctlAddFD, unsafe.Pointer(&addFD{id: c.id, flags: flagAddAndEnd, source: uint32(fd), newFlags: flags}))
	if errors.Is(err, unix.EINPROGRESS) { // it was interrupted, and done again
		return errors.New("tap: the program got 0 for the file that it opened") // not gone
	}
	return err
}
