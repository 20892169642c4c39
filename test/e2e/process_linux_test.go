package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// A process is a server that the test starts in its own way, with what a
// service manager gives it.
type process struct {
	*exec.Cmd
	log  rig.Log
	done chan error
}

// launch starts a command and ends it with the test.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("did not end:\n%s", p.log.String())
		}
	})
	return p
}

// await waits until the log holds a text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.log.String(), text); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-p.done:
			p.done <- err
			t.Fatalf("ended without %q: %v\n%s", text, err, p.log.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in a minute:\n%s", text, p.log.String())
		}
	}
}

// ended waits for the end and returns the exit code.
func (p *process) ended(t *testing.T) int {
	t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		exit := new(exec.ExitError)
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0
	case <-time.After(time.Minute):
		t.Fatalf("did not end:\n%s", p.log.String())
	}
	return -1
}

// passing is a command that gets listening sockets as systemd passes them.
func passing(t *testing.T, n *rig.Nestbox, names string, listeners []net.Listener, args ...string) *exec.Cmd {
	t.Helper()
	// The number of the process is known to itself only.
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, n.Binary, "serve", "--data", n.Data}, args...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(listeners)), "LISTEN_FDNAMES="+names)
	for _, l := range listeners {
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	return cmd
}

func listenOn(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func greets(t *testing.T, addr string, tls bool) {
	t.Helper()
	c, err := raw.Dial(addr, raw.Options{TLS: tls, Timeout: time.Minute})
	if err != nil {
		t.Errorf("%s, TLS %v: %v", addr, tls, err)
		return
	}
	_ = c.Close()
}

// TestPassedSockets: systemd's sockets are served, and no others where the
// configuration names none; what is configured comes in addition.
func TestPassedSockets(t *testing.T) {
	t.Parallel()
	n := install(t)
	plain, secure := listenOn(t, "tcp", "127.0.0.1:0"), listenOn(t, "tcp", "127.0.0.1:0")
	p := launch(t, passing(t, n, "imap:nestbox-imaps.socket", []net.Listener{plain, secure}))
	p.await(t, "event=server_started")
	greets(t, plain.Addr().String(), false)
	greets(t, secure.Addr().String(), true)
	if got := strings.Count(p.log.String(), "event=listening "); got != 2 {
		t.Errorf("%d addresses are served, want those 2:\n%s", got, p.log.String())
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.await(t, `after_restart=""`)
	greets(t, plain.Addr().String(), false)
	if text := p.log.String(); strings.Contains(text, "listening_ended") || strings.Contains(text, "listen_failed") {
		t.Errorf("the reload changed sockets of systemd:\n%s", text)
	}
}

func TestPassedSocketBesideConfigured(t *testing.T) {
	t.Parallel()
	n := install(t)
	plain := listenOn(t, "tcp", "127.0.0.1:0")
	p := launch(t, passing(t, n, "imap", []net.Listener{plain},
		"--imap", plain.Addr().String(), "--imap", "127.0.0.1:0", "--imaps", "127.0.0.1:0"))
	p.await(t, "event=server_started")
	greets(t, plain.Addr().String(), false)
	if got := strings.Count(p.log.String(), "event=listening "); got != 3 {
		t.Errorf("%d addresses are served, want 3:\n%s", got, p.log.String())
	}
}

// TestPassedSocketsUnfit: what can't be served ends the server with the reason.
func TestPassedSocketsUnfit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ network, name, why string }{
		{"tcp", "unknown", "Set FileDescriptorName= to imap, imaps"},
		{"unix", "imap", "is not a TCP address"},
	} {
		n, addr := install(t), "127.0.0.1:0"
		if c.network == "unix" {
			addr = filepath.Join(t.TempDir(), "s")
		}
		p := launch(t, passing(t, n, c.name, []net.Listener{listenOn(t, c.network, addr)}))
		if code := p.ended(t); code != 78 || !strings.Contains(p.log.String(), c.why) {
			t.Errorf("%s: code %d, want 78 and %q:\n%s", c.name, code, c.why, p.log.String())
		}
	}
}

// TestSystemdSocketActivate: with systemd's own tool.
func TestSystemdSocketActivate(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not there (Debian: systemd)")
	}
	n := install(t)
	plain, secure, err := rig.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, exec.CommandContext(t.Context(), tool, "--fdname=imap:imaps", "--listen=127.0.0.1:"+plain, "--listen=127.0.0.1:"+secure,
		n.Binary, "serve", "--data", n.Data))
	p.await(t, "Listening on 127.0.0.1:"+secure)
	greets(t, "127.0.0.1:"+secure, true) // this starts it
	greets(t, "127.0.0.1:"+plain, false)
	p.await(t, "event=server_started")
}

// TestServiceManagerIsTold: of the start, signs of life, reloads and the end.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	n := install(t)
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	n.Env = append(n.Env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	s := start(t, n)
	wait := func(want string) string {
		t.Helper()
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
		for b := make([]byte, 4096); ; {
			k, err := manager.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if text := string(b[:k]); strings.HasPrefix(text, want) {
				return text
			}
		}
	}
	if text := wait("READY=1\n"); !strings.Contains(text, "\nSTATUS=Serving imap on "+s.Addr) {
		t.Errorf("told %q", text)
	}
	wait("WATCHDOG=1")
	wait("WATCHDOG=1")
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if text := wait("RELOADING=1\n"); !strings.Contains(text, "MONOTONIC_USEC=") {
		t.Errorf("told %q", text)
	}
	wait("READY=1\n")
	if _, err := s.Stop(); err != nil {
		t.Error(err)
	}
	wait("STOPPING=1\n")
}
