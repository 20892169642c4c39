package e2e

import (
	"math/rand"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nestbox/storage"
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
}
