package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nestbox/test/raw"
)

// TestPulledStick: the disk is unmounted under the server. Every session gets
// a clear answer, nothing is written into the empty mount point, and all goes
// on, in the same sessions, when the disk is back.
func TestPulledStick(t *testing.T) {
	t.Parallel()
	n, l := install(t), login{user: "ann", password: "secret"}
	top := t.TempDir()
	stick, dir := filepath.Join(top, "stick"), filepath.Join(top, "mnt")
	for _, d := range []string{stick, dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mount := func() error { return syscall.Mount(stick, dir, "", syscall.MS_BIND, "") }
	if err := mount(); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	n.Data = dir
	command(t, n, "", "init")
	if err := n.AddAccount(t.Context(), l.user, l.password); err != nil {
		t.Fatal(err)
	}
	control := filepath.Join(top, "control.sock")
	s := start(t, n, "--control", control)
	c, other := l.at(s).connect(t), l.at(s).connect(t)
	first := []byte("Subject: first\r\n\r\none\r\n")
	if err := c.Append("INBOX", "", first); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*raw.Conn{c, other} {
		if _, err := c.Select("INBOX"); err != nil {
			t.Fatal(err)
		}
	}

	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	unavailable := func(err error) bool {
		var status *raw.StatusError
		return errors.As(err, &status) && strings.HasPrefix(status.Text, "NO [UNAVAILABLE]")
	}
	await(t, "the end of service", func() bool { return unavailable(c.Do("UID STORE 1 +FLAGS (\\Flagged)", func([]byte) {})) })
	for what, err := range map[string]error{
		"APPEND":         c.Append("INBOX", "", []byte("Subject: lost\r\n\r\n")),
		"FETCH":          other.Do("FETCH 1 BODY.PEEK[]", func([]byte) {}),
		"CREATE":         other.Do("CREATE new", func([]byte) {}),
		"STATUS":         other.Do("STATUS Archive (MESSAGES)", func([]byte) {}),
		"SELECT":         c.Do("SELECT Archive", func([]byte) {}),
		"UID SEARCH ALL": other.Do("UID SEARCH BODY one", func([]byte) {}),
	} {
		if !unavailable(err) {
			t.Errorf("%s without the disk: %v", what, err)
		}
	}
	time.Sleep(3 * time.Second) // copies of system.db are made 2 s after a change
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("in the empty mount point: %v, %v", names, err)
	}

	if err := mount(); err != nil {
		t.Fatal(err)
	}
	await(t, "the return", func() bool { return other.Do("UID STORE 1 +FLAGS (\\Seen)", func([]byte) {}) == nil })
	second := []byte("Subject: second\r\n\r\ntwo\r\n")
	if err := c.Append("INBOX", "", second); err != nil {
		t.Fatal(err)
	}
	same(t, "after the return", contents(t, l.at(s).connect(t), "INBOX"), [][]byte{first, second})
	if !strings.Contains(s.Log(), "event=data_folder_gone") || !strings.Contains(s.Log(), "event=data_folder_back") {
		t.Errorf("not in the log")
	}
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
