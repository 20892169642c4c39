package e2e

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nestbox/storage"
	"nestbox/test/rig"
)

// A disk that has no room for the next backup keeps the former one, and says
// what is wrong.
func TestBackupDiskFull(t *testing.T) {
	n := install(t)
	target := t.TempDir()
	if err := syscall.Mount("tmpfs", target, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	})
	command(t, n, "", "init")
	if err := n.AddAccount(t.Context(), "anna", "a password"); err != nil {
		t.Fatal(err)
	}
	s := start(t, n)
	c, err := s.Connect("anna", "a password")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	random := rand.New(rand.NewSource(5))
	add := func(messages int) {
		for range messages {
			if err := c.Append("INBOX", "", randomMessage(random, "x", 200_000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(30)
	dir := filepath.Join(target, "backup")
	first := takeBackup(t, n, dir)
	add(60)
	_, err = n.Run(t.Context(), "", "backup", dir)
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("on a full disk: %v", err)
	}
	r, err := storage.RestoreDir(t.Context(), dir, filepath.Join(t.TempDir(), "restored"), storage.Options{NoSync: true})
	if err != nil || len(r.Findings) > 0 || r.Messages != 30 {
		t.Errorf("the former backup: %v, %+v", err, r)
	}
	t.Logf("first %+v", first)

	// Nor does what else is written to it: it says so, and goes when there is room.
	elsewhere := filepath.Join(t.TempDir(), "backup")
	takeBackup(t, n, elsewhere)
	full := filepath.Join(target, "full")
	restored := &rig.Nestbox{Binary: n.Binary, Data: full}
	for _, args := range [][]string{{"restore", elsewhere}, {"export", "--account", "anna", full + ".maildir"}, {"backup", full + ".nbx", "--portable"}} {
		from := n
		if args[0] == "restore" {
			from = restored
		}
		_, err := from.Run(t.Context(), "", args...)
		var failed *rig.CommandError
		if !errors.As(err, &failed) || failed.Code != 74 && failed.Code != 1 || !strings.Contains(err.Error(), "disk full") && !strings.Contains(err.Error(), "no space left") {
			t.Errorf("%s onto a full disk: %v", args[0], err)
		}
	}
	for _, old := range []string{dir, full + ".maildir"} {
		if err := os.RemoveAll(old); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("tmpfs", target, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	command(t, restored, "", "restore", elsewhere)
	command(t, restored, "", "check")
}
