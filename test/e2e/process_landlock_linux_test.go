package e2e

import (
	"fmt"
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

// landlocked skips a test where the kernel has no Landlock that we can use;
// the server must say so then, and serve.
func landlocked(t *testing.T, log string) {
	t.Helper()
	if strings.Contains(log, " landlock=0 ") {
		_, why, _ := strings.Cut(log, "landlock_off=")
		why, _, _ = strings.Cut(why, " core_dumps")
		t.Skipf("no Landlock here: %s", why)
	}
}

// TestLandlock: the server, though it is root, can't read a file that isn't
// its own: here one that its configuration became a link to.
func TestLandlock(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"auto", "off"} {
		n := install(t)
		command(t, n, "", "init")
		elsewhere := write(t, filepath.Join(t.TempDir(), "secret.toml"), "landlock = %q\nmax_message = \"1 MB\"\n", mode)
		file := write(t, filepath.Join(t.TempDir(), "n.toml"), "landlock = %q\n", mode)
		s := start(t, n, "--config", file)
		if mode == "auto" {
			landlocked(t, s.Log())
		}
		// In the folder of the file anything may take its place.
		if err := os.Rename(write(t, file+".new", "landlock = %q\nlog_level = \"debug\"\n", mode), file); err != nil {
			t.Fatal(err)
		}
		reload(t, s, "event=config_reloaded")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, file); err != nil {
			t.Fatal(err)
		}
		if mode == "off" {
			reload(t, s, "after_restart=max_message")
			continue
		}
		reload(t, s, "event=config_reload_failed")
		if text := s.Log(); !strings.Contains(text, "n.toml: permission denied") {
			t.Errorf("it read what it should not:\n%s", text)
		}
		if out := command(t, n, "", "status"); !strings.Contains(out, "process     user") || !strings.Contains(out, ", Landlock ") {
			t.Errorf("status:\n%s", out)
		}
	}
}

// TestProtectedServerAtWork: all that goes through a running server works when
// it is another user that may open little: mail in, copies between accounts'
// mailboxes, backup, restore, export, check, purge.
func TestProtectedServerAtWork(t *testing.T) {
	t.Parallel()
	n := installForNobody(t)
	dir := t.TempDir() // where only root may look
	plain, secure, err := rig.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, exec.CommandContext(t.Context(), n.Binary, "serve", "--data", n.Data, "--user", fmt.Sprint(nobody), "--group", fmt.Sprint(nobody+1),
		"--imap", "127.0.0.1:"+plain, "--imaps", "127.0.0.1:"+secure))
	p.await(t, "event=server_started")
	command(t, n, "secret words\n", "account", "add", "ann", "--password-stdin")
	mbox := write(t, filepath.Join(dir, "in.mbox"), "From x Mon Nov 23 01:00:00 2026\nSubject: one\n\nbody\n\nFrom x Mon Nov 23 01:00:00 2026\nSubject: two\n\nbody\n")
	command(t, n, "", "import", "--account", "ann", mbox)
	c, err := raw.Dial("127.0.0.1:"+plain, raw.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("ann", "secret words"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"CREATE Work", "SELECT INBOX", "COPY 1:2 Work", "MOVE 1 Work", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "CREATE Old", "DELETE Old", "SELECT Work"} {
		if err := c.Do(line, nil); err != nil {
			t.Fatal(err)
		}
	}
	command(t, n, "", "backup", filepath.Join(dir, "backup"))
	command(t, n, "", "backup", filepath.Join(dir, "backup")) // the second adds to it
	command(t, n, "", "backup", "--portable", filepath.Join(dir, "portable"))
	command(t, n, "", "restore", "--account", "ann")
	command(t, n, "", "restore", "--account", "ann", "--from", filepath.Join(dir, "backup"), "--mailbox", "Work")
	command(t, n, "", "export", "--account", "ann", "--format", "maildir", filepath.Join(dir, "out"))
	command(t, n, "", "check")
	command(t, n, "", "purge", "--account", "ann", "--yes", "--subject", "two")
	command(t, n, "", "set", "box_name", "Attic")
	p.belongs(t, n.Data)
	if text := p.log.String(); strings.Contains(text, "level=error") || strings.Contains(text, "denied") {
		t.Errorf("the log:\n%s", text)
	}
	// And all over again, from what it left.
	_ = p.Process.Signal(syscall.SIGTERM)
	if code := p.ended(t); code != 0 {
		t.Errorf("ended with %d:\n%s", code, p.log.String())
	}
	p = launch(t, exec.CommandContext(t.Context(), n.Binary, p.Args[1:]...))
	p.await(t, "event=server_started")
}
