package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"nestbox/config"
)

// Hooks are programs of the administrator's. A server under Landlock starts
// none itself: what it starts would be restricted as it is. A second process
// of this program, started before the restriction, does it for the server,
// and ends when the server's end of their socket closes. It runs the programs
// that it was started for and no others: whoever takes over the server gets no
// further by it.

// hookSocket is the descriptor by which that process is asked.
const hookSocket = 3

const (
	maxHookOutput = 64 << 10 // the rest is thrown away
	maxHooks      = 4        // that run at a time; others wait
)

// A hook is a program to run.
type hook struct {
	Path    string        `json:"path"`
	Args    []string      `json:"args"`
	Env     []string      `json:"env"` // in addition to the server's; all are NESTBOX_...
	Timeout time.Duration `json:"timeout"`
}

// A hookResult is what became of it.
type hookResult struct {
	Output []byte `json:"output"` // standard output and error, cut
	Code   int    `json:"code"`   // its exit code; -1 if it was killed or never ran
	Error  string `json:"error"`  // "" if it ended with code 0
}

func (r hookResult) outcome(of hook) ([]byte, error) {
	if r.Error != "" {
		return r.Output, fmt.Errorf("%s: %s", of.Path, r.Error)
	}
	return r.Output, nil
}

type hookMessage struct {
	ID     uint64      `json:"id"`
	Run    *hook       `json:"run,omitempty"`
	Cancel bool        `json:"cancel,omitempty"`
	Result *hookResult `json:"result,omitempty"`
}

// hooks is the server's end.
type hooks struct {
	c   net.Conn
	cmd *exec.Cmd

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan hookResult
	gone    error // why no more can be run
}

// startHooks starts the process that runs hooks, those at paths; argv is how.
func startHooks(argv, environ, paths []string) (*hooks, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "hooks"), os.NewFile(uintptr(fds[1]), "server")
	defer ours.Close()
	defer theirs.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	h := &hooks{c: c, waiting: map[uint64]chan hookResult{}, cmd: exec.Command(argv[0], slices.Concat(argv[1:], paths)...)}
	h.cmd.ExtraFiles, h.cmd.Env = []*os.File{theirs}, hookEnv(environ)
	// A signal that a terminal sends is for the server.
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.cmd.Start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	go h.read()
	return h, nil
}

// startHooks starts the process for the hooks of the configuration, if it has
// any: the keys with the tag hook.
func (s *serving) startHooks() error {
	paths := config.HookPaths(s.cfg)
	if len(paths) == 0 || !s.OwnProcess {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.hooks, err = startHooks([]string{self, cmdHooks.name}, s.Env, paths)
	return err
}

// hookEnv leaves out what is for the server only.
func hookEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return strings.HasPrefix(name, "NESTBOX_") || strings.HasPrefix(name, "LISTEN_") || strings.HasPrefix(name, "WATCHDOG_") || name == "NOTIFY_SOCKET"
	})
}

// Run runs a program and returns what it printed. An error is one of the
// program, of starting it, or of ctx. Without a process for hooks this one
// runs it.
func (h *hooks) Run(ctx context.Context, what hook) ([]byte, error) {
	if h == nil {
		return runHook(ctx, what).outcome(what)
	}
	answer := make(chan hookResult, 1)
	h.mu.Lock()
	if h.gone != nil {
		defer h.mu.Unlock()
		return nil, h.gone
	}
	h.last++
	id := h.last
	h.waiting[id] = answer
	err := h.send(hookMessage{ID: id, Run: &what})
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		return r.outcome(what)
	case <-ctx.Done():
		h.mu.Lock()
		defer h.mu.Unlock()
		return nil, errors.Join(ctx.Err(), h.send(hookMessage{ID: id, Cancel: true}))
	}
}

// send writes a message; h.mu is held.
func (h *hooks) send(m hookMessage) error {
	_ = h.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return json.NewEncoder(h.c).Encode(m)
}

func (h *hooks) read() {
	in := json.NewDecoder(h.c)
	for {
		var m hookMessage
		err := in.Decode(&m)
		h.mu.Lock()
		if err != nil {
			h.gone = errors.New("the process that runs hooks has ended: restart nestbox")
			for id, answer := range h.waiting {
				answer <- hookResult{Code: -1, Error: h.gone.Error()}
				delete(h.waiting, id)
			}
			h.mu.Unlock()
			return
		}
		if answer := h.waiting[m.ID]; answer != nil && m.Result != nil {
			answer <- *m.Result
			delete(h.waiting, m.ID)
		}
		h.mu.Unlock()
	}
}

// Close ends the process, and with it the hooks that run.
func (h *hooks) Close() error {
	if h == nil {
		return nil
	}
	return errors.Join(h.c.Close(), h.cmd.Wait())
}

var cmdHooks = command{
	name:   "hooks",
	args:   "PATH [PATH...]",
	short:  "Run hooks for a server (it starts this itself)",
	long:   "Runs the programs that a server asks for over descriptor 3, with the rights that the server had before it gave up those to start programs.",
	hidden: true,
	examples: []example{
		{"nestbox hooks /etc/nestbox/dns.sh 3<>/run/nestbox/hooks.sock", "what a server does, but with a pair of sockets"},
	},
	setup: func(*pflag.FlagSet) runFunc {
		return func(_ context.Context, _ *env, paths []string) error {
			// SIGTERM to the whole service is for the server to act on.
			return serveHooks(os.NewFile(hookSocket, "server"), paths)
		}
	},
}

// hookServer is the other end.
type hookServer struct {
	c       net.Conn
	paths   []string
	slots   chan struct{}
	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc
}

// serveHooks runs hooks until the server closes its end, or ends.
func serveHooks(f *os.File, paths []string) error {
	c, err := net.FileConn(f)
	if err != nil {
		return failWith(exitUsage, "only a server starts this: %w", err)
	}
	err = f.Close()
	s := &hookServer{c: c, paths: paths, slots: make(chan struct{}, maxHooks), cancels: map[uint64]context.CancelFunc{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	in := json.NewDecoder(c)
	for err == nil {
		var m hookMessage
		if err = in.Decode(&m); err != nil {
			break
		}
		s.mu.Lock()
		switch {
		case m.Cancel && s.cancels[m.ID] != nil:
			s.cancels[m.ID]()
		case m.Run != nil:
			one, end := context.WithCancel(ctx)
			s.cancels[m.ID] = end
			running.Go(func() { s.run(one, m.ID, *m.Run) })
		}
		s.mu.Unlock()
	}
	cancel()
	running.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return errors.Join(err, c.Close())
}

func (s *hookServer) run(ctx context.Context, id uint64, what hook) {
	result := hookResult{Code: -1, Error: "canceled"}
	if err := s.refuse(what); err != nil {
		result.Error = err.Error()
	} else {
		select {
		case s.slots <- struct{}{}:
			result = runHook(ctx, what)
			<-s.slots
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancels[id]()
	delete(s.cancels, id)
	_ = s.c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_ = json.NewEncoder(s.c).Encode(hookMessage{ID: id, Result: &result}) // who asked may be gone
}

// refuse is an error for what the server has no reason to ask for.
func (s *hookServer) refuse(what hook) error {
	if !slices.Contains(s.paths, what.Path) {
		return errors.New("not a hook of the configuration that the server started with: restart nestbox")
	}
	for _, e := range what.Env {
		if !strings.HasPrefix(e, "NESTBOX_") { // LD_PRELOAD and the like
			return fmt.Errorf("the variable %.40q is not for hooks", e)
		}
	}
	return nil
}

// runHook runs a program to its end, or to that of its time.
func runHook(ctx context.Context, what hook) hookResult {
	ctx, cancel := context.WithTimeout(ctx, what.Timeout)
	defer cancel()
	var out boundedBuffer
	cmd := exec.CommandContext(ctx, what.Path, what.Args...)
	cmd.Env = append(os.Environ(), what.Env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	// What it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	r := hookResult{Output: out.b, Code: -1}
	if cmd.ProcessState != nil {
		r.Code = cmd.ProcessState.ExitCode()
	}
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it left something behind that holds its output
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Error = fmt.Sprintf("did not end within %v", what.Timeout)
	case ctx.Err() != nil:
		r.Error = "canceled"
	default:
		r.Error = err.Error()
	}
	return r
}

// boundedBuffer keeps the beginning of what is written.
type boundedBuffer struct{ b []byte }

func (w *boundedBuffer) Write(p []byte) (int, error) {
	w.b = append(w.b, p[:min(len(p), maxHookOutput-len(w.b))]...)
	return len(p), nil
}
