package e2e

import (
	"errors"
	"os"
	"os/exec"
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
	t.Run("folder", func(t *testing.T) {
		stick := t.TempDir()
		pulledStick(t, func(dir string) error { return syscall.Mount(stick, dir, "", syscall.MS_BIND, "") })
	})
	t.Run("device", func(t *testing.T) {
		need(t, "mkfs.ext4")
		need(t, "losetup")
		image := filepath.Join(t.TempDir(), "stick.img")
		run := func(args ...string) string {
			t.Helper()
			out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
			if err != nil {
				t.Skipf("no loop device here: %v: %s", err, out)
			}
			return strings.TrimSpace(string(out))
		}
		run("truncate", "-s", "48M", image)
		run("mkfs.ext4", "-q", "-F", image)
		device := run("losetup", "--find", "--show", image)
		t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
		pulledStick(t, func(dir string) error { return syscall.Mount(device, dir, "ext4", 0, "") })
	})
}

func pulledStick(t *testing.T, mountAt func(dir string) error) {
	n, l := install(t), login{user: "ann", password: "secret"}
	top := t.TempDir()
	dir := filepath.Join(top, "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mount := func() error { return mountAt(dir) }
	if err := mount(); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	n.Data = filepath.Join(dir, "nestbox")
	if err := os.Mkdir(n.Data, 0o700); err != nil {
		t.Fatal(err)
	}
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
