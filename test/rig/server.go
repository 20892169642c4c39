package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"nestbox/test/raw"
	"nestbox/test/tap"
)

// Nestbox is an installation: a binary and a data folder.
type Nestbox struct {
	Binary string
	Data   string
	Runner []string // what runs the binary, such as qemu-arm-static; none: it runs itself
	Env    []string // more settings, "KEY=value"
	// StartTime bounds how long Start waits; 0: 20 s.
	StartTime time.Duration
	// NoTLSYet: Start doesn't wait for TLS, because the machine's clock isn't set.
	NoTLSYet bool
	// Tap, if set, sees the file calls of servers (package tap).
	Tap *tap.Options
	// RunTap sees those of subcommands.
	RunTap *tap.Options
}

// command is a subcommand of the binary.
func (n *Nestbox) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append(append(append([]string{}, n.Runner...), n.Binary), args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), n.Env...)
	return cmd
}

// A CommandError is a subcommand that failed.
type CommandError struct {
	Args   []string
	Code   int // exit code; -1 when it did not start or was killed
	Stderr string
	err    error
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("nestbox %s: %v\n%s", strings.Join(e.Args, " "), e.err, e.Stderr)
}

func (e *CommandError) Unwrap() error { return e.err }

// Run runs a subcommand on the data folder and returns what it printed.
func (n *Nestbox) Run(ctx context.Context, stdin string, args ...string) (stdout string, err error) {
	args = append(args, "--data", n.Data)
	cmd := n.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := n.runTapped(cmd); err != nil {
		e := &CommandError{Args: args, Code: -1, Stderr: errs.String(), err: err}
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			e.Code = exit.ExitCode()
		}
		return out.String(), e
	}
	return out.String(), nil
}

// runTapped is cmd.Run.
func (n *Nestbox) runTapped(cmd *exec.Cmd) error {
	if n.RunTap == nil {
		return cmd.Run()
	}
	w, err := tap.Wrap(cmd, *n.RunTap)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := w.Begin(); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return errors.Join(cmd.Wait(), w.Close())
}

// AddAccount makes an account.
func (n *Nestbox) AddAccount(ctx context.Context, name, password string) error {
	_, err := n.Run(ctx, password+"\n", "account", "add", name, "--password-stdin")
	return err
}

// A Server is a running nestbox.
type Server struct {
	*Nestbox
	Addr, TLSAddr string // where IMAP and IMAP over TLS are answered
	cmd           *exec.Cmd
	done          chan struct{} // closed when the process has ended
	err           error         // of its end
	tapErr        error         // of seeing its calls
	log           Log
}

// A Log collects what a process prints.
type Log struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed at the next Write, if somebody waits
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// has reports whether text was printed; if not, changed tells when to ask again.
func (l *Log) has(text string) (yes bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return bytes.Contains(l.b.Bytes(), []byte(text)), l.changed
}

// exitTryAgain is how a server ends that finds its port in use.
const exitTryAgain = 75

// Start starts the server on free ports and waits until it is ready. args are
// added to the command line.
func (n *Nestbox) Start(args ...string) (*Server, error) {
	for try := 1; ; try++ {
		s, err := n.start(args)
		exit := new(exec.ExitError)
		if err == nil || try == 3 || !errors.As(err, &exit) || exit.ExitCode() != exitTryAgain {
			return s, err
		}
		// Somebody took a port between FreePorts and the server's own listen.
	}
}

func (n *Nestbox) start(args []string) (*Server, error) {
	s := &Server{Nestbox: n, done: make(chan struct{})}
	plain, secure, err := FreePorts()
	if err != nil {
		return nil, err
	}
	s.Addr, s.TLSAddr = net.JoinHostPort("127.0.0.1", plain), net.JoinHostPort("127.0.0.1", secure)
	args = append([]string{"serve", "--data", n.Data, "--imap", s.Addr, "--imaps", s.TLSAddr}, args...)
	s.cmd = n.command(context.Background(), args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.run(); err != nil {
		return nil, err
	}
	if err := s.awaitStart(); err != nil {
		return nil, errors.Join(fmt.Errorf("nestbox serve: %w\n%s", err, s.Log()), s.Kill())
	}
	return s, nil
}

// run starts the process, and waits for its end in the background.
func (s *Server) run() (err error) {
	var w *tap.Tap
	if s.Tap != nil {
		if w, err = tap.Wrap(s.cmd, *s.Tap); err != nil {
			return err
		}
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if w != nil {
		if err := w.Begin(); err != nil {
			return errors.Join(err, s.cmd.Process.Kill(), s.cmd.Wait())
		}
	}
	go func() {
		s.err = s.cmd.Wait()
		if w != nil {
			s.tapErr = w.Close()
		}
		close(s.done)
	}()
	return nil
}

// FreePorts are two ports of 127.0.0.1 that nobody listens on.
func FreePorts() (first, second string, err error) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", errors.Join(err, a.Close())
	}
	_, first, _ = net.SplitHostPort(a.Addr().String())
	_, second, _ = net.SplitHostPort(b.Addr().String())
	return first, second, errors.Join(a.Close(), b.Close())
}

// started is the event that the server logs when it is ready (docs/logs.md).
const started = "event=server_started"

// awaitStart returns when the server says that it is ready and both ports
// greet, or with the error of its end.
func (s *Server) awaitStart() error {
	limit := s.StartTime
	if limit == 0 {
		limit = 20 * time.Second
	}
	deadline := time.After(limit)
	for {
		ready, changed := s.log.has(started)
		if ready {
			break
		}
		select {
		case <-changed:
		case <-s.done:
			return fmt.Errorf("ended: %w", s.err)
		case <-deadline:
			return fmt.Errorf("not ready within %v", limit)
		}
	}
	for addr, tls := range map[string]bool{s.Addr: false, s.TLSAddr: true} {
		if tls && s.NoTLSYet {
			continue
		}
		c, err := raw.Dial(addr, raw.Options{TLS: tls, Timeout: limit})
		if err != nil {
			return err
		}
		if err := c.Close(); err != nil && !tls { // TLS complains of a peer that is gone
			return err
		}
	}
	return nil
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log is what the server has printed so far.
func (s *Server) Log() string { return s.log.String() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Signal sends it a signal.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Stop ends the server with SIGTERM and waits; it returns how long that took.
// It is an error if the server ends otherwise than with code 0, or not within
// 10 s.
func (s *Server) Stop() (time.Duration, error) {
	select {
	case <-s.done:
		return 0, s.ended()
	default:
	}
	start := time.Now()
	if err := s.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-s.done:
		return time.Since(start), s.ended()
	case <-time.After(10 * time.Second):
		return time.Since(start), errors.Join(errors.New("did not end within 10 s of SIGTERM"), s.Kill())
	}
}

func (s *Server) ended() error {
	if s.err != nil {
		return fmt.Errorf("nestbox serve ended: %w\n%s", s.err, s.Log())
	}
	return nil
}

// Kill ends the server at once, as kill -9 does, and waits for that.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	return s.tapErr
}

// WasKilled reports whether the server has ended by a SIGKILL.
func (s *Server) WasKilled() bool {
	select {
	case <-s.done:
	default:
		return false
	}
	exit := new(exec.ExitError)
	if !errors.As(s.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Connect opens a plain connection and logs in.
func (s *Server) Connect(user, password string) (*raw.Conn, error) {
	return connect(s.Addr, user, password)
}

func connect(addr, user, password string) (*raw.Conn, error) {
	c, err := raw.Dial(addr, raw.Options{})
	if err != nil {
		return nil, err
	}
	if err := c.Login(user, password); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
