package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// syncBuffer is written by a running server and read by its test.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// result is what a command did.
type result struct {
	code        int
	out, errout string
}

// nestbox runs the program in this process.
func nestbox(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	m := New()
	var out, errout syncBuffer
	m.Stdin, m.Stdout, m.Stderr, m.Env = strings.NewReader(stdin), &out, &errout, nil
	code := m.Run(context.Background(), args)
	return result{code, out.String(), errout.String()}
}

// must runs a command that has to succeed.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	r := nestbox(t, stdin, args...)
	if r.code != 0 {
		t.Fatalf("nestbox %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.errout)
	}
	return r.out
}

// wantCode runs a command that has to fail.
func wantCode(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	r := nestbox(t, "", args...)
	if r.code != code || !strings.Contains(r.out+r.errout, text) {
		t.Errorf("nestbox %s: exit code %d, want %d and %q in\n%s%s", strings.Join(args, " "), r.code, code, text, r.out, r.errout)
	}
}

// server is a running `nestbox serve`.
type server struct {
	*Main
	out, log syncBuffer
	code     chan int
}

func startServer(t *testing.T, data string, args ...string) *server {
	t.Helper()
	return runServer(t, append([]string{"--data", data, "--imap", "127.0.0.1:0", "--imaps", "127.0.0.1:0"}, args...)...)
}

// runServer is startServer with no settings of its own.
func runServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{Main: New(), code: make(chan int, 1)}
	s.Stdin, s.Stdout, s.Stderr, s.Env = strings.NewReader(""), &s.out, &s.log, nil
	args = append([]string{"serve"}, args...)
	go func() { s.code <- s.Run(context.Background(), args) }()
	select {
	case <-s.Ready():
	case code := <-s.code:
		t.Fatalf("serve ended with %d:\n%s", code, s.log.String())
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// dial connects to the server and reads the greeting.
func (s *server) dial(t *testing.T) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addrs()["imap"][0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	c := &client{t: t, nc: nc, r: bufio.NewReader(nc)}
	if line := c.line(); !strings.HasPrefix(line, "* OK ") {
		t.Fatalf("greeting %q", line)
	}
	return c
}

type client struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func (c *client) line() string {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return line
}

// do sends a command and returns all lines up to the tagged one.
func (c *client) do(command string) string {
	c.t.Helper()
	fmt.Fprintf(c.nc, "a %s\r\n", command)
	var all strings.Builder
	for {
		line := c.line()
		all.WriteString(line)
		if strings.HasPrefix(line, "a ") {
			return all.String()
		}
	}
}

func TestFirstLogin(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data)
	path := filepath.Join(data, firstLoginFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var name, password string
	if _, err := fmt.Sscanf(string(text), "name: %s\npassword: %s\n", &name, &password); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if !strings.Contains(s.log.String(), "event=first_account_made") || !strings.Contains(s.log.String(), path) {
		t.Errorf("the log doesn't name the file:\n%s", s.log.String())
	}
	for _, secret := range []string{s.log.String(), s.out.String()} {
		if strings.Contains(secret, password) {
			t.Errorf("the password is in\n%s", secret)
		}
	}
	for _, want := range []string{"SHA-256", "SSL/TLS", "STARTTLS", "127.0.0.1 port "} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, s.out.String())
		}
	}
	must(t, "another password\n", "account", "add", "other", "--password-stdin", "--data", data)
	c := s.dial(t)
	if got := c.do(`LOGIN other "another password"`); !strings.Contains(got, "a OK") {
		t.Fatal(got)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("another account's login removed the file: %v", err)
	}
	c = s.dial(t)
	if got := c.do("LOGIN " + name + " " + password); !strings.Contains(got, "a OK") {
		t.Fatal(got)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-s.code; code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log.String())
	}
	if line := c.line(); !strings.HasPrefix(line, "* BYE") {
		t.Errorf("at the end %q", line)
	}
}

func TestAccountsWithAndWithoutServer(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), strings.Repeat("long-name-", 12), "data") // beyond a socket's path
	must(t, "", "init", "--data", data)
	for _, running := range []bool{false, true} {
		if running {
			startServer(t, data)
		}
		on := func(args ...string) []string { return append(args, "--data", data) }
		password := strings.TrimSpace(must(t, "", on("account", "add", "anna", "--generate")...))
		if len(password) < 20 {
			t.Errorf("password %q", password)
		}
		must(t, "", on("address", "add", "anna", "anna@example.org")...)
		wantCode(t, 1, "exists", on("account", "add", "anna", "--generate")...)
		wantCode(t, 1, "no such account", on("account", "passwd", "nobody", "--generate")...)
		wantCode(t, 2, "--password-stdin", on("account", "add", "bob")...)
		wantCode(t, 2, "empty", on("account", "add", "bob", "--password-stdin")...)
		wantCode(t, 1, "has addresses", on("domain", "delete", "example.org")...)
		must(t, "secret for anna\n", on("account", "passwd", "anna@example.org", "--password-stdin")...)
		var list []struct {
			Name      string
			Addresses []string
		}
		if err := json.Unmarshal([]byte(must(t, "", on("account", "list", "--json")...)), &list); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 || list[0].Name != "anna" || strings.Join(list[0].Addresses, " ") != "anna@example.org" {
			t.Errorf("accounts %+v", list)
		}
		if got := must(t, "", on("address", "list", "anna")...); !strings.Contains(got, "anna@example.org  anna") {
			t.Errorf("addresses:\n%s", got)
		}
		must(t, "", on("address", "delete", "anna@example.org")...)
		must(t, "", on("domain", "delete", "example.org")...)
		must(t, "", on("domain", "add", "example.net")...)
		if got := must(t, "", on("domain", "list")...); got != "example.net\n" {
			t.Errorf("domains %q", got)
		}
		must(t, "", on("domain", "delete", "example.net")...)
		must(t, "", on("set", "box_name", " Attic ")...)
		if got := must(t, "", on("set", "box_name")...); got != "Attic\n" {
			t.Errorf("box_name %q", got)
		}
		must(t, "", on("set", "box_name", "--default")...)
		wantCode(t, 2, "box_name", on("set", "boxname", "x")...)
		wantCode(t, 2, "the machine's", on("set", "imap", "x")...)
		wantCode(t, 2, "--yes", on("account", "delete", "anna")...)
		must(t, "", on("account", "delete", "anna", "--yes")...)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	s := startServer(t, data)
	addr := s.Addrs()["imap"][0]
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte("imap = [\":143\"]\nmax_mesage = \"1 MB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(dir, "named.toml")
	if err := os.WriteFile(named, []byte(fmt.Sprintf("data = %q\nimap = []\nimaps = []\n", filepath.Join(dir, "unmounted"))), 0o600); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantCode(t, 2, "did you mean", "acount")
	wantCode(t, 2, "name a command", "account")
	wantCode(t, 2, "unknown flag", "version", "--nosuch")
	wantCode(t, 2, "takes NAME", "account", "add")
	wantCode(t, 2, "--account", "import", dir)
	wantCode(t, 2, "--format", "import", "--account", "x", "--format", "pst", dir)
	wantCode(t, 69, "no server", "account", "list", "--control", filepath.Join(dir, "nothing.sock"))
	wantCode(t, 74, "no such file", "import", "--account", "mail", "--data", data, filepath.Join(dir, "nothing"))
	wantCode(t, 75, "in use by nestbox", "serve", "--data", data, "--imap", "127.0.0.1:0", "--imaps", "")
	wantCode(t, 75, "another program", "serve", "--data", filepath.Join(dir, "other"), "--imap", addr)
	wantCode(t, 78, "max_message", "config", "check", "--config", bad)
	wantCode(t, 78, "bad.toml:2", "account", "list", "--config", bad)
	wantCode(t, 78, "nestbox init", "account", "list", "--data", filepath.Join(dir, "nothing"))
	wantCode(t, 78, "is the disk mounted?", "serve", "--config", named)
	wantCode(t, 78, "no nestbox.id", "serve", "--data", full, "--imap", "127.0.0.1:0", "--imaps", "")
	if _, err := os.Stat(filepath.Join(dir, "unmounted")); err == nil {
		t.Error("a data folder that the configuration names was made")
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "n.toml")
	if err := os.WriteFile(file, []byte("box_name = \"Cellar\"\nlog_level = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := nestbox(t, "", "config", "check", "--config", file)
	if r.code != 78 || !strings.Contains(r.out, file+":2: log_level") {
		t.Errorf("%d %q", r.code, r.out)
	}
	if err := os.WriteFile(file, []byte("box_name = \"Cellar\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "", "config", "check", "--config", file)
	// What stands in the file is fixed.
	data := filepath.Join(t.TempDir(), "data")
	must(t, "", "init", "--data", data)
	if got := must(t, "", "set", "--data", data, "--config", file); !strings.Contains(got, "Cellar") || !strings.Contains(got, "fixed there") {
		t.Errorf("%s", got)
	}
	wantCode(t, 77, "fixed in the file", "set", "--data", data, "--config", file, "box_name", "Attic")
}

func writeText(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
