package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nestbox/test/rig"
)

// nobody is a number that no user of the machine has.
const nobody = 64321

// installForNobody makes a data folder where only root and nobody may look.
func installForNobody(t *testing.T) *rig.Nestbox {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	n := install(t)
	// The folders of tests are for root only.
	dir, err := os.MkdirTemp("", "nestbox-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n.Data = filepath.Join(dir, "data")
	return n
}

func status(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

// TestUser: a server that root starts binds its ports, then all its threads
// become the configured user, with nothing left of root.
func TestUser(t *testing.T) {
	n := installForNobody(t)
	port := lowPort(t)
	file := write(t, filepath.Join(filepath.Dir(n.Data), "n.toml"), "data = %q\nuser = \"%d\"\ngroup = \"%d\"\nimap = [\"127.0.0.1:%d\"]\nimaps = []\n", n.Data, nobody, nobody+1, port)
	command(t, n, "", "init", "--config", file)
	p := launch(t, exec.CommandContext(t.Context(), n.Binary, "serve", "--config", file))
	p.await(t, "event=server_started")
	greets(t, fmt.Sprintf("127.0.0.1:%d", port), false)

	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	id := func(n int) string { return strings.TrimSpace(strings.Repeat(fmt.Sprint(n)+" ", 4)) }
	for _, task := range tasks {
		have := status(t, task)
		for name, want := range map[string]string{
			"Uid": id(nobody), "Gid": id(nobody + 1), "Groups": "", "CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1",
		} {
			if have[name] != want {
				t.Errorf("%s: %s is %q, want %q", task, name, have[name], want)
			}
		}
	}
	p.belongs(t, n.Data)

	// What needs root waits for a restart; the others go on.
	write(t, file, "data = %q\nuser = \"%d\"\ngroup = \"%d\"\nimap = [\"127.0.0.1:%d\", \"127.0.0.1:%d\"]\nimaps = []\n", n.Data, nobody, nobody+1, port, lowPort(t))
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.await(t, "event=config_relo")
	if text := p.log.String(); !strings.Contains(text, "restart nestbox to serve it") || !strings.Contains(text, "after_restart=imap") {
		t.Errorf("not told that it waits for a restart:\n%s", text)
	}
	greets(t, fmt.Sprintf("127.0.0.1:%d", port), false)
}

// belongs checks that the user owns all files below dir, and nobody else may look.
func (p *process) belongs(t *testing.T, dir string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		seen++
		stat := info.Sys().(*syscall.Stat_t)
		if stat.Uid != nobody || stat.Gid != nobody+1 {
			t.Errorf("%s belongs to %d:%d", path, stat.Uid, stat.Gid)
		}
		want := fs.FileMode(0)
		if filepath.Base(path) == "control.sock" {
			want = 0o060 // its group may
		}
		if got := info.Mode() & 0o077; got != want {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || seen < 8 {
		t.Errorf("%d files, %v", seen, err)
	}
}

// lowPort is a port below 1024 that nobody listens on.
func lowPort(t *testing.T) int {
	t.Helper()
	for port := 1023; port > 600; port-- {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port below 1024 is free")
	return 0
}

// TestUserAndForeignData: data that the user couldn't write are refused, with
// what to do, and stay as they are.
func TestUserAndForeignData(t *testing.T) {
	n := installForNobody(t)
	command(t, n, "", "init")
	cmd := exec.CommandContext(t.Context(), n.Binary, "serve", "--data", n.Data, "--user", fmt.Sprint(nobody), "--group", fmt.Sprint(nobody), "--imap", "127.0.0.1:0", "--imaps", "127.0.0.1:0")
	p := launch(t, cmd)
	want := fmt.Sprintf("%s belongs to root, but nestbox is to serve as %d", n.Data, nobody)
	if code := p.ended(t); code != 77 || !strings.Contains(p.log.String(), want) || !strings.Contains(p.log.String(), "chown -R") {
		t.Errorf("code %d, want 77 and %q:\n%s", code, want, p.log.String())
	}
	// The advice works.
	if out, err := exec.CommandContext(t.Context(), "chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), n.Data).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	p = launch(t, exec.CommandContext(t.Context(), n.Binary, cmd.Args[1:]...))
	p.await(t, "event=server_started")
	// Commands of root go through the server then.
	if out, err := exec.CommandContext(t.Context(), n.Binary, "account", "list", "--data", n.Data).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("mail")) {
		t.Errorf("account list: %v\n%s", err, out)
	}
}
