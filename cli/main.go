// Package cli is the program nestbox: its commands, what they print and how
// they end. Main runs one command, so that tests start the real program in
// their own process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// A Main runs the program. Set the fields before Run; New fills them with
// what the process has.
type Main struct {
	Stdin  io.Reader
	Stdout io.Writer // results
	Stderr io.Writer // progress, questions, errors, and the log
	Env    []string  // "NAME=value", as os.Environ
	// OwnProcess says that the process is this program's alone: a server may
	// then give up for good what the process can do.
	OwnProcess bool

	table table

	mu      sync.Mutex
	cancel  context.CancelFunc
	done    chan struct{}
	ready   chan struct{}
	serving *serving
}

// New makes a Main with the standard streams and the environment.
func New() *Main {
	return &Main{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Environ(),
		table: commands(), ready: make(chan struct{}),
	}
}

// Run runs the command that args name and returns the exit code. It returns
// when the command has ended, which the end of ctx or Close makes it do.
func (m *Main) Run(ctx context.Context, args []string) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	m.mu.Lock()
	m.cancel, m.done = cancel, done
	m.mu.Unlock()

	err := m.run(ctx, args)
	if err == nil {
		return exitDone
	}
	code := exitCode(err)
	if !errors.Is(err, errReported) {
		fmt.Fprintf(m.Stderr, "nestbox: %v\n", err)
	}
	if hint := exitHint(err); hint != "" {
		fmt.Fprintf(m.Stderr, "nestbox: %s\n", hint)
	}
	return code
}

// Close ends the command that is running, as SIGTERM does, and waits for its end.
func (m *Main) Close() error {
	m.mu.Lock()
	cancel, done := m.cancel, m.done
	m.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
	return nil
}

// Ready is closed when `serve` accepts connections; Addrs has the addresses then.
func (m *Main) Ready() <-chan struct{} { return m.ready }

// Addrs are the addresses that `serve` listens on, by protocol: "imap", "imaps".
func (m *Main) Addrs() map[string][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.serving == nil {
		return nil
	}
	return m.serving.addrs()
}

// Reload makes `serve` read its configuration again, as SIGHUP does. It does
// nothing when another command runs.
func (m *Main) Reload() {
	m.mu.Lock()
	s := m.serving
	m.mu.Unlock()
	if s != nil {
		s.reload()
	}
}

// run finds the command in args, reads its flags and runs it.
func (m *Main) run(ctx context.Context, args []string) error {
	c, rest, err := m.table.find(args)
	if err != nil {
		return err
	}
	if c == nil {
		return m.overview(args, rest)
	}
	fs := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SortFlags = false
	run := c.setup(fs)
	help := fs.BoolP("help", "h", false, "show this help")
	if err := fs.Parse(rest); err != nil {
		if *help || errors.Is(err, pflag.ErrHelp) {
			return c.writeHelp(m.Stdout)
		}
		return &usageError{command: c.name, text: err.Error()}
	}
	if *help {
		return c.writeHelp(m.Stdout)
	}
	if n := fs.NArg(); n < c.minArgs() || n > c.maxArgs() {
		return &usageError{command: c.name, text: fmt.Sprintf("takes %s", c.argsText())}
	}
	return run(ctx, &env{Main: m, flags: fs}, fs.Args())
}

// overview answers what isn't a command: `nestbox`, `nestbox --help`,
// `nestbox account`.
func (m *Main) overview(args, rest []string) error {
	prefix := strings.Join(args[:len(args)-len(rest)], " ")
	for _, a := range rest {
		switch a {
		case "-h", "--help":
			return m.table.writeOverview(m.Stdout, prefix)
		case "--version":
			return writeVersion(m.Stdout, false)
		}
	}
	if len(rest) > 0 {
		return &usageError{command: prefix, text: fmt.Sprintf("unknown command or flag %q", rest[0])}
	}
	if err := m.table.writeOverview(m.Stderr, prefix); err != nil {
		return err
	}
	return &usageError{command: prefix, text: "name a command"}
}

// env is what a command has from the process, and its flags.
type env struct {
	*Main
	flags *pflag.FlagSet
}

// say writes a line for people to standard error.
func (m *Main) say(format string, args ...any) {
	fmt.Fprintf(m.Stderr, format+"\n", args...)
}

// getenv is os.Getenv for Env: the last of a name counts.
func (m *Main) getenv(name string) string {
	value := ""
	for _, e := range m.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
