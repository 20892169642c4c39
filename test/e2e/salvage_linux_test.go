package e2e

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nestbox/test/rig"
)

// TestSalvageDiskFull: salvage onto a disk that is too small ends with an error
// that says so, and leaves the data as they are; onto another one it brings out
// all of them.
func TestSalvageDiskFull(t *testing.T) {
	t.Parallel()
	n := install(t)
	target := t.TempDir()
	if err := syscall.Mount("tmpfs", target, "tmpfs", 0, "size=4m"); err != nil {
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
	random := rand.New(rand.NewSource(5))
	const messages = 40
	for range messages {
		if err := c.Append("INBOX", "", randomMessage(random, "x", 200_000)); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close()
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	out, err := n.Run(t.Context(), "", "salvage", "--to", filepath.Join(target, "saved"))
	failed := new(rig.CommandError)
	if !errors.As(err, &failed) || failed.Code != 74 || !strings.Contains(failed.Stderr, "no space left") {
		t.Errorf("on a full disk: %v\n%s", err, out)
	}
	to := filepath.Join(t.TempDir(), "saved")
	command(t, n, "", "salvage", "--to", to)
	saved := 0
	err = filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && (filepath.Base(filepath.Dir(path)) == "cur" || filepath.Base(filepath.Dir(path)) == "new") {
			saved++
		}
		return err
	})
	if err != nil || saved != messages {
		t.Errorf("%d messages of %d were brought out, %v", saved, messages, err)
	}
	command(t, n, "", "check")
}
