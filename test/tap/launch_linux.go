//go:build amd64 || arm64

package tap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// launchVariable makes a test binary the launcher of the program to tap.
	launchVariable = "TEST_TAP_LAUNCH"
	// clockVariable: the program has a clock of its own.
	clockVariable = "TEST_TAP_CLOCK"
)

// Launch turns this process into the tapped program, if it was started for
// that; otherwise it returns at once.
func Launch() {
	fd, err := strconv.Atoi(os.Getenv(launchVariable))
	if err != nil {
		return
	}
	fmt.Fprintln(os.Stderr, "tap:", launch(fd))
	os.Exit(1)
}

// launch installs the filter on this thread, hands its listener to the test
// and becomes the program. Its threads inherit the filter.
func launch(socket int) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := filter(os.Getenv(clockVariable) != "")
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	listener, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(socket, []byte{1}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return err
	}
	_ = unix.Close(socket)
	if err := os.Unsetenv(launchVariable); err != nil {
		return err
	}
	return syscall.Exec(os.Args[0], os.Args, os.Environ())
}

// filter asks the test about the calls that change files, and lets all others
// pass: those of the list, opens that may make or empty a file, and, if the
// program has a clock of its own, those that tell the time.
func filter(clock bool) (p []unix.SockFilter) {
	load := func(offset uint32) {
		p = append(p, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
	}
	ask := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF}
	pass := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	load(0) // the call's number
	for nr := range handlers {
		p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1}, ask)
	}
	if clock {
		p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_ADJTIMEX, Jf: 1}, ask)
		p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLOCK_GETTIME, Jf: uint8(2 + 2*len(clockIDs))})
		load(16) // the low half of the first argument is which clock
		for _, id := range clockIDs {
			p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: id, Jf: 1}, ask)
		}
		p = append(p, pass)
	}
	// The low half of the third argument are the flags of openat.
	p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_OPENAT, Jf: 3})
	load(16 + 2*8)
	p = append(p, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.O_CREAT | unix.O_TRUNC, Jf: 1}, ask, pass)
	return p
}

// A Tap is a program under observation.
type Tap struct {
	o      Options
	cmd    *exec.Cmd
	near   int // our end of the launcher's socket
	far    *os.File
	mu     sync.Mutex // for Kill beside Close: both use numbers of descriptors
	pidfd  int
	listen int
	done   chan struct{}
	err    error // of the loop
	killed atomic.Bool
}

// Supported is nil if programs can be tapped here.
func Supported() error { return supported() }

// Wrap changes a command that isn't started so that it starts under a tap.
// After cmd.Start comes Begin, and after cmd.Wait Close.
func Wrap(cmd *exec.Cmd, o Options) (*Tap, error) {
	root, err := filepath.EvalSymlinks(o.Root)
	if err != nil {
		return nil, err
	}
	o.Root = root
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	t := &Tap{o: o, cmd: cmd, near: pair[0], far: os.NewFile(uintptr(pair[1]), "tap"), pidfd: -1, listen: -1, done: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd.Args = append([]string{cmd.Path}, cmd.Args[1:]...) // what the launcher becomes
	cmd.Path = self
	cmd.ExtraFiles = append(cmd.ExtraFiles, t.far)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, launchVariable+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	if o.Clock != nil {
		cmd.Env = append(cmd.Env, clockVariable+"=1")
	}
	return t, nil
}

// Begin takes the listener from the launcher and begins to answer.
func (t *Tap) Begin() error {
	_ = t.far.Close() // so that the launcher's end is seen
	if err := t.receive(); err != nil {
		close(t.done)
		return fmt.Errorf("tap: the launcher gave up: %w", err)
	}
	go t.loop()
	return nil
}

func (t *Tap) receive() (err error) {
	defer func() { err = joinClose(err, t.near) }()
	if t.pidfd, err = unix.PidfdOpen(t.cmd.Process.Pid, 0); err != nil {
		return err
	}
	rights := make([]byte, unix.CmsgSpace(4))
	n, oob, _, _, err := unix.Recvmsg(t.near, make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return fmt.Errorf("no listener came: %w", joinErr(err, unix.EPIPE))
	}
	messages, err := unix.ParseSocketControlMessage(rights[:oob])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("no listener came: %w", joinErr(err, unix.EPROTO))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("no listener came: %w", joinErr(err, unix.EPROTO))
	}
	t.listen = fds[0]
	return nil
}

func joinErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func joinClose(err error, fd int) error {
	if e := unix.Close(fd); err == nil {
		return e
	}
	return err
}

// Close waits until all that the program did was seen. The program must have
// ended. It returns what went wrong in seeing it.
func (t *Tap) Close() error {
	<-t.done
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, fd := range []*int{&t.pidfd, &t.listen} {
		if *fd >= 0 {
			t.err = joinClose(t.err, *fd)
			*fd = -1 // its number is somebody else's from now on
		}
	}
	return t.err
}

// Kill ends the program at once, from Before or After as well.
func (t *Tap) Kill() {
	t.killed.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pidfd >= 0 {
		_ = unix.PidfdSendSignal(t.pidfd, unix.SIGKILL, nil, 0)
	}
}
