package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nestbox/test/rig"
)

// TestSalvage brings mail out of a data folder that no server can open.
func TestSalvage(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "", "init")
	s := start(t, n)
	if err := s.AddAccount(t.Context(), "anna", "pass word"); err != nil {
		t.Fatal(err)
	}
	l := login{s.Addr, s.TLSAddr, "anna", "pass word"}
	c := l.connect(t)
	if err := c.Do("CREATE Letters", nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for i := range 60 {
		text := fmt.Sprintf("From: b@example.com\r\nSubject: letter %d\r\n\r\n%s\r\n", i, strings.Repeat(fmt.Sprintf("line %d\r\n", i), 40*i))
		want[strings.ReplaceAll(text, "\r\n", "\n")] = true
		if err := c.Append([]string{"INBOX", "Letters"}[i%2], `(\Seen) "01-Feb-2023 10:00:00 +0000" `, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	// Not beside a server, and not into the data.
	to := filepath.Join(t.TempDir(), "saved")
	refused := func(code int, args ...string) {
		t.Helper()
		_, err := n.Run(t.Context(), "", append([]string{"salvage"}, args...)...)
		var failed *rig.CommandError
		if !errors.As(err, &failed) || failed.Code != code {
			t.Fatalf("%v: %v, want exit code %d", args, err, code)
		}
	}
	refused(75, "--to", to)
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	refused(2, "--to", filepath.Join(n.Data, "saved"))
	out := command(t, n, "", "salvage", "--to", to, "--account", "anna", "--json")
	var counts struct {
		ID       string
		Exported int
		Missing  bool
	}
	if err := json.Unmarshal([]byte(out), &counts); err != nil || counts.Exported != len(want) || counts.Missing {
		t.Errorf("undamaged: %v, %s", err, out)
	}
	sameMail(t, to, want, len(want))

	// Everything that leads to the mail goes: system.db, the meta pages, a page.
	for _, name := range []string{"system.db", "system.db.1"} {
		if err := os.Remove(filepath.Join(n.Data, name)); err != nil {
			t.Fatal(err)
		}
	}
	folder := filepath.Join(n.Data, "accounts", counts.ID)
	index := filepath.Join(folder, "mail.db")
	f, err := os.OpenFile(index, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 2*4096), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	to = filepath.Join(t.TempDir(), "saved")
	command(t, n, "", "salvage", folder, "--to", to)
	sameMail(t, to, want, len(want))
	// An import takes what came out.
	again := install(t)
	command(t, again, "", "init")
	command(t, again, "pass word\n", "account", "add", "anna", "--password-stdin")
	command(t, again, "", "import", "--account", "anna", filepath.Join(to, "anna"))

	if err := os.Truncate(index, 24<<10); err != nil {
		t.Fatal(err)
	}
	to = filepath.Join(t.TempDir(), "mbox")
	out, err = n.Run(t.Context(), "", "salvage", "--to", to, "--format", "mbox", "--json")
	var failed *rig.CommandError
	if !errors.As(err, &failed) || failed.Code != 1 {
		t.Fatalf("a truncated file: %v\n%s", err, out)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		var f struct{ Kind, Why, ID string }
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Kind == "" && f.ID == "" {
			t.Fatalf("%v: %s", err, line)
		}
		kinds[f.Kind]++
	}
	if kinds["page"] == 0 || kinds[""] != 2 {
		t.Errorf("found %v:\n%s", kinds, out)
	}
}

// sameMail compares the messages in Maildirs below dir.
func sameMail(t *testing.T, dir string, want map[string]bool, n int) {
	t.Helper()
	got := 0
	for name, text := range files(t, dir) {
		if filepath.Base(filepath.Dir(name)) != "cur" {
			continue
		}
		got++
		if !want[text] || !strings.HasSuffix(name, ":2,S") {
			t.Errorf("%s is no message that was there", name)
		}
	}
	if got != n {
		t.Errorf("%d messages of %d", got, n)
	}
}
