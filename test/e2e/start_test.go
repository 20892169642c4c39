package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// TestFirstStart: one command, as in the README: the data folder, an account
// and a certificate are made, and the output says how to connect.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	n := install(t)
	s := start(t, n)
	path := filepath.Join(n.Data, "first-login.txt")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v", path, info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`^name: (\S+)\npassword: (\S+)\n$`).FindStringSubmatch(string(text))
	if m == nil {
		t.Fatalf("%s has %q", path, text)
	}
	for _, port := range []string{s.Addr, s.TLSAddr} {
		_, port, _ = net.SplitHostPort(port)
		if !strings.Contains(s.Log(), "127.0.0.1 port "+port) {
			t.Errorf("port %s is not told:\n%s", port, s.Log())
		}
	}
	if !strings.Contains(s.Log(), path) || strings.Contains(s.Log(), m[2]) {
		t.Errorf("the output must name %s and not the password:\n%s", path, s.Log())
	}
	if fingerprint := servedFingerprint(t, s.TLSAddr); !strings.Contains(strings.ReplaceAll(strings.ToLower(s.Log()), ":", ""), fingerprint) {
		t.Errorf("the certificate's fingerprint %s is not told:\n%s", fingerprint, s.Log())
	}

	firstLogin(t, s, path, m[1], m[2])

	// The second start keeps account and certificate.
	before := servedFingerprint(t, s.TLSAddr)
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	if after := servedFingerprint(t, s.TLSAddr); after != before {
		t.Errorf("the certificate changed from %s to %s", before, after)
	}
	if c, err := s.Connect(m[1], m[2]); err != nil {
		t.Error(err)
	} else if err := c.Logout(); err != nil {
		t.Error(err)
	}
}

// firstLogin logs in with what the file at path said; then it must be gone.
func firstLogin(t *testing.T, s *rig.Server, path, name, password string) {
	t.Helper()
	c, err := raw.Dial(s.Addr, raw.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(name, "wrong"); err == nil {
		t.Error("a wrong password was taken")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("after a failed login: %v", err)
	}
	if err := c.Login(name, password); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there after the first login: %v", path, err)
	}
	hasFirstMailboxes(t, c)
}

func hasFirstMailboxes(t *testing.T, c *raw.Conn) {
	t.Helper()
	var boxes []string
	if err := c.Do(`LIST "" *`, func(line []byte) { boxes = append(boxes, string(line)) }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash"} {
		if !strings.Contains(strings.Join(boxes, "\n"), want) {
			t.Errorf("%s is not in %q", want, boxes)
		}
	}
}

func servedFingerprint(t *testing.T, addr string) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return fmt.Sprintf("%x", sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw))
}

// TestExitCodes: a script can tell from its exit code why a command failed.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	n := install(t)
	s := start(t, n)
	empty := &rig.Nestbox{Binary: n.Binary, Data: t.TempDir()}
	port := s.Addr[strings.LastIndexByte(s.Addr, ':')+1:]
	for _, c := range []struct {
		n    *rig.Nestbox
		args []string
		code int
		says string
	}{
		{n, []string{"account", "list"}, 0, ""},
		{n, []string{"acount"}, 2, "account"},
		{n, []string{"account", "add"}, 2, "NAME"},
		{n, []string{"serve", "--imap", "127.0.0.1:0", "--imaps", "127.0.0.1:0"}, 75, fmt.Sprint(s.PID())},
		{&rig.Nestbox{Binary: n.Binary, Data: filepath.Join(t.TempDir(), "new")}, []string{"serve", "--imap", "127.0.0.1:" + port, "--imaps", ""}, 75, port},
		{empty, []string{"account", "list"}, 78, "nestbox init"},
		{n, []string{"account", "delete", "nobody", "--yes"}, 1, "nobody"},
		{n, []string{"import", "--account", "nobody", "/nowhere"}, 74, "/nowhere"},
	} {
		out, err := c.n.Run(t.Context(), "", c.args...)
		code, text := 0, out
		if e := new(rig.CommandError); errors.As(err, &e) {
			code, text = e.Code, out+e.Stderr
		}
		if code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%q: exit code %d, want %d, with %q in\n%s", c.args, code, c.code, c.says, text)
		}
	}
}

// TestCommandsWithAndWithoutServer: the same commands do the same, whether a
// server has the data open or not.
func TestCommandsWithAndWithoutServer(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "", "init")
	box := write(t, filepath.Join(t.TempDir(), "in.mbox"), "From a@example.org Mon Jan  2 15:04:05 2023\nSubject: one\n\nbody\n\n")
	work := func(name string) string {
		command(t, n, "pass word\n", "account", "add", name, "--password-stdin")
		command(t, n, "", "address", "add", name, name+"@example.org")
		command(t, n, "", "import", "--account", name, "--mailbox", "Old/Mail", box)
		command(t, n, "", "import", "--account", name, "--mailbox", "Old/Mail", box) // nothing twice
		list := command(t, n, "", "account", "list", "--json")
		if !strings.Contains(list, `"`+name+`"`) || !strings.Contains(list, name+"@example.org") {
			t.Errorf("account list --json: %s", list)
		}
		return name
	}
	offline := work("offline")
	s := start(t, n)
	online := work("online")
	for _, name := range []string{offline, online, online + "@example.org"} {
		c, err := s.Connect(name, "pass word")
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, c, "Old/Mail"); len(got) != 1 || string(got[0]) != "Subject: one\r\n\r\nbody\r\n" {
			t.Errorf("%s: %q", name, got)
		}
		if err := c.Logout(); err != nil {
			t.Error(err)
		}
	}
	command(t, n, "other\n", "account", "passwd", online, "--password-stdin")
	if _, err := s.Connect(online, "pass word"); err == nil {
		t.Error("the old password is still taken")
	}
	if c, err := s.Connect(online, "other"); err != nil {
		t.Error(err)
	} else if err := c.Logout(); err != nil {
		t.Error(err)
	}
}
