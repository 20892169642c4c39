package cli

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "n.toml")
	data := filepath.Join(t.TempDir(), "data")
	must(t, "", "init", "--data", data)
	s := startServer(t, data, "--config", writeText(t, file, "log_level = \"info\"\n"))
	writeText(t, file, "log_level = \"warn\"\nmax_message = \"1 MB\"\n")
	s.Reload()
	if strings.Contains(s.log.String(), "event=config_reloaded") {
		t.Errorf("written below its level:\n%s", s.log.String())
	}
	writeText(t, file, "log_level = \"info\"\nmax_message = \"1 MB\"\nbox_name = \"Attic\"\nmin_free = \"1 MB\"\n")
	s.Reload()
	if !strings.Contains(s.log.String(), `after_restart="max_message box_name"`) {
		t.Errorf("not told of what waits for a restart:\n%s", s.log.String())
	}
	writeText(t, file, "nonsense")
	s.Reload()
	if !strings.Contains(s.log.String(), "event=config_reload_failed") {
		t.Errorf("not told of the bad file:\n%s", s.log.String())
	}
}

// Limits and addresses change while connections stay.
func TestReloadOfLimitsAndAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, data := filepath.Join(dir, "n.toml"), filepath.Join(dir, "data")
	must(t, "", "init", "--data", data)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that was free a moment ago
	if err != nil {
		t.Fatal(err)
	}
	second := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := runServer(t, "--config", writeText(t, file, fmt.Sprintf("data = %q\nimap = [\"127.0.0.1:0\"]\nimaps = []\n", data)))
	first := s.Addrs()["imap"][0]
	c := s.dial(t)
	text := fmt.Sprintf("data = %q\nimap = [%q]\nimaps = []\n", data, second)
	writeText(t, file, text+"max_connections = 1\n")
	s.Reload()
	if strings.Contains(s.log.String(), "after_restart=imap") || strings.Contains(s.log.String(), "after_restart=max") {
		t.Errorf("waits for a restart:\n%s", s.log.String())
	}
	if _, err := net.Dial("tcp", first); err == nil {
		t.Error("the address that is no longer configured answers")
	}
	if greeting := greetingOf(t, second); !strings.Contains(greeting, "BYE") {
		t.Errorf("a connection beyond the limit is greeted with %q", greeting)
	}
	if got := c.do("NOOP"); !strings.Contains(got, "OK") {
		t.Errorf("the connection by the old address: %s", got)
	}
	writeText(t, file, text+"max_connections = 5\n")
	s.Reload()
	if greeting := greetingOf(t, second); !strings.HasPrefix(greeting, "* OK") {
		t.Errorf("a connection within the limit is greeted with %q", greeting)
	}
	if got := s.Addrs()["imap"]; len(got) != 1 || got[0] != second {
		t.Errorf("addresses %v, want %s", got, second)
	}
	// An address that can't be had is told of, and the others go on.
	writeText(t, file, fmt.Sprintf("data = %q\nimap = [%q]\nimaps = [%q]\n", data, second, second))
	s.Reload()
	if !strings.Contains(s.log.String(), "event=listen_failed") || !strings.HasPrefix(greetingOf(t, second), "* OK") {
		t.Errorf("with an address in use:\n%s", s.log.String())
	}
}

func greetingOf(t *testing.T, addr string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// What `nestbox set` switches off is off for the next login, without a restart.
func TestExtensionsAtRunTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	must(t, "", "init", "--data", data)
	must(t, "secret words\n", "account", "add", "anna", "--password-stdin", "--data", data)
	s := startServer(t, data)
	connected := s.dial(t)
	logIn := func(c *client) string { return c.do(`LOGIN anna "secret words"`) + c.do("CAPABILITY") }
	if got := logIn(s.dial(t)); !strings.Contains(got, "MOVE") {
		t.Fatalf("at first: %s", got)
	}
	must(t, "", "set", "extensions_off", "MOVE", "--data", data)
	for what, c := range map[string]*client{"connected before": connected, "new": s.dial(t)} {
		if got := logIn(c); strings.Contains(got, "MOVE") {
			t.Errorf("%s, switched off: %s", what, got)
		}
	}
	must(t, "", "set", "extensions_off", "--default", "--data", data)
	if got := logIn(s.dial(t)); !strings.Contains(got, "MOVE") {
		t.Errorf("on again: %s", got)
	}
}
