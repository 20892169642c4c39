package e2e

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"syscall"
	"testing"

	"nestbox/test/raw"
)

// TestDiskFull: on a full disk new mail is refused with a clear answer, all
// that makes room goes on, and nothing that was acknowledged is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	n, l := install(t), login{user: "ann", password: "secret"}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	n.Data = dir + "/data"
	command(t, n, "", "init")
	if err := n.AddAccount(t.Context(), l.user, l.password); err != nil {
		t.Fatal(err)
	}
	s := start(t, n, "--min-free", "0") // to the last block
	c := l.at(s).connect(t)
	acked := fillDisk(t, c)
	t.Logf("%d messages of 200 KB fit on 48 MB", len(acked))

	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{`STORE 1:5 +FLAGS (\Seen)`, `STORE 1 +FLAGS.SILENT (\Flagged)`, "MOVE 1:3 Archive", `STORE 1:10 +FLAGS.SILENT (\Deleted)`, "EXPUNGE"} {
		if err := c.Do(command, func([]byte) {}); err != nil {
			t.Errorf("on a full disk: %v", err)
		}
	}
	same(t, "on the full disk", append(contents(t, c, "Archive"), contents(t, c, "INBOX")...), append(acked[:3:3], acked[13:]...))
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	c = l.at(s).connect(t)
	same(t, "after a restart", append(contents(t, c, "Archive"), contents(t, c, "INBOX")...), append(acked[:3:3], acked[13:]...))
}

// fillDisk appends messages that do not compress until one is refused.
func fillDisk(t *testing.T, c *raw.Conn) (acked [][]byte) {
	t.Helper()
	random := rand.New(rand.NewSource(1))
	for i := range 1000 {
		var body strings.Builder
		fmt.Fprintf(&body, "Subject: number %d\r\n\r\n", i)
		for body.Len() < 200_000 {
			fmt.Fprintf(&body, "%016x%016x%016x%016x\r\n", random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
		}
		err := c.Append("INBOX", "", []byte(body.String()))
		var status *raw.StatusError
		if errors.As(err, &status) {
			if !strings.HasPrefix(status.Text, "NO [UNAVAILABLE]") {
				t.Errorf("the answer was %q", status.Text)
			}
			return acked
		}
		if err != nil {
			t.Fatal(err)
		}
		acked = append(acked, []byte(body.String()))
	}
	t.Fatal("the disk is never full")
	return nil
}
