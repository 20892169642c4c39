// Package e2e runs the real binary and lets real clients work with it.
package e2e

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// peerVariable names another server, "ADDR,TLSADDR", that the clients' tests
// run against, with the users user1, user2, ... and the password testpass. It
// shows whether a failure is the server's or the test's:
//
//	TEST_IMAP_PEER=127.0.0.1:10143,127.0.0.1:10993 go test -run Client ./test/e2e
const peerVariable = "TEST_IMAP_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(peerVariable) != "" {
		os.Exit(m.Run())
	}
	os.Exit(rig.Main(m.Run))
}

// install makes an installation with an empty data folder.
func install(t *testing.T) *rig.Nestbox {
	t.Helper()
	if os.Getenv(peerVariable) != "" {
		t.Skip("needs nestbox itself")
	}
	binary, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return &rig.Nestbox{Binary: binary, Data: filepath.Join(t.TempDir(), "data")}
}

// command runs a subcommand that must succeed.
func command(t *testing.T, n *rig.Nestbox, stdin string, args ...string) (stdout string) {
	t.Helper()
	out, err := n.Run(t.Context(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// start runs a server that the test's end stops.
func start(t *testing.T, n *rig.Nestbox, args ...string) *rig.Server {
	t.Helper()
	s, err := n.Start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.Log())
		}
	})
	return s
}

// A login is what a client needs to know.
type login struct {
	addr, tlsAddr  string
	user, password string
}

func (l login) host() string    { host, _, _ := net.SplitHostPort(l.addr); return host }
func (l login) port() string    { _, port, _ := net.SplitHostPort(l.addr); return port }
func (l login) tlsPort() string { _, port, _ := net.SplitHostPort(l.tlsAddr); return port }

// connect is a plain connection that is logged in and that the test's end closes.
func (l login) connect(t *testing.T) *raw.Conn {
	t.Helper()
	c, err := raw.Dial(l.addr, raw.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login(l.user, l.password); err != nil {
		t.Fatal(err)
	}
	return c
}

// certificate writes the server's certificate into a file.
func (l login) certificate(t *testing.T) (path string) {
	t.Helper()
	c, err := tls.Dial("tcp", l.tlsAddr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path = filepath.Join(t.TempDir(), "server.pem")
	var chain []byte // with the root, for clients that trust no certificate by itself
	for _, c := range c.ConnectionState().PeerCertificates {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(path, chain, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// await waits for what happens by itself.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// reload sends SIGHUP and waits until the log holds an event.
func reload(t *testing.T, s *rig.Server, event string) {
	t.Helper()
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(s.Log(), event); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s:\n%s", event, s.Log())
		}
	}
}

// A house gives each test a login of its own.
type house struct {
	server *rig.Server
	peer   []string // instead of server
	logins atomic.Int32
}

func openHouse(t *testing.T) *house {
	t.Helper()
	if peer := os.Getenv(peerVariable); peer != "" {
		h := &house{peer: strings.Split(peer, ",")}
		h.logins.Store(int32(time.Now().Unix() % 40)) // another user each time
		return h
	}
	n := install(t)
	command(t, n, "", "init")
	return &house{server: start(t, n)}
}

func (h *house) login(t *testing.T) login {
	t.Helper()
	n := h.logins.Add(1)
	if h.peer != nil {
		l := login{h.peer[0], h.peer[1], fmt.Sprintf("user%d", n), "testpass"}
		l.clear(t)
		return l
	}
	l := login{h.server.Addr, h.server.TLSAddr, fmt.Sprintf("client%d", n), fmt.Sprintf("pass word-%d", n)}
	if err := h.server.AddAccount(t.Context(), l.user, l.password); err != nil {
		t.Fatal(err)
	}
	return l
}

// clear deletes what an earlier run has left with a peer's user.
func (l login) clear(t *testing.T) {
	t.Helper()
	c := l.connect(t)
	var boxes []string
	if err := c.Do(`LIST "" *`, func(line []byte) {
		if _, name, ok := strings.Cut(string(line), `" `); ok && name != "INBOX" {
			boxes = append(boxes, name)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, box := range boxes {
		_ = c.Do("DELETE "+box, nil) // a parent may have no mailbox of its own
	}
	if n, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	} else if n > 0 {
		if err := c.Do(`STORE 1:* +FLAGS.SILENT (\Deleted)`, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Do("CLOSE", nil); err != nil {
		t.Fatal(err)
	}
}

// need skips the test when a program is missing; in CI that is a failure.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing(t, "%s is not installed", p)
		}
	}
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format+" (CI=true: nothing may be left out)", args...)
	}
	t.Skipf(format, args...)
}

// run runs a client's program to its end and returns what it printed.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return out
}

// try is run for programs that may fail.
func try(t *testing.T, dir, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // at the end of the time its children end too
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for children that keep the pipe open
	cmd.Env = append(os.Environ(), "HOME="+dir, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write makes a file that only its owner reads, as the clients want it.
func write(t *testing.T, path, format string, args ...any) string {
	t.Helper()
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	if err := os.WriteFile(path, []byte(format), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
