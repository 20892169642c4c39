package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nestbox/storage"
)

// check finds what is wrong beside a running server and without one, and
// mends it.
func TestCheckAndRepair(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple", "pear", "plum")
	s := startServer(t, data)
	for _, args := range [][]string{{"check", "--data", data}, {"check", "--data", data, "anna"}, {"check", "--quick", "--json", "--data", data}} {
		if out := must(t, "", args...); out != "" {
			t.Errorf("%v: %s", args, out)
		}
	}
	if r := nestbox(t, "", "check", "--rebuild", "--data", data); r.code != exitTryAgain || !strings.Contains(r.errout, "in use") {
		t.Errorf("rebuild beside a server: %+v", r)
	}
	_ = s.Close()
	// The copy of system.db is damaged.
	copied := filepath.Join(data, "system.db.1")
	b, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[2*4096:], strings.Repeat("x", len(b))) // all but bbolt's two first pages
	if err := os.WriteFile(copied, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := nestbox(t, "", "check", "--json", "--data", data)
	var f storage.Finding
	if r.code != exitFailed || strings.Count(r.out, "\n") != 1 || json.Unmarshal([]byte(r.out), &f) != nil || f.State != storage.Found || !strings.Contains(r.errout, "--repair") {
		t.Errorf("%+v", r)
	}
	if out := must(t, "", "check", "--repair", "--data", data); !strings.Contains(out, "mended") {
		t.Error(out)
	}
	if out := must(t, "", "check", "--data", data); out != "" {
		t.Error(out)
	}
	wantCode(t, exitFailed, "nobody", "check", "--data", data, "nobody")
}

func TestRebuildCommand(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple")
	for _, name := range []string{"system.db", "system.db.1"} {
		if err := os.Remove(filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
	out := must(t, "", "check", "--rebuild", "--data", data)
	if !strings.Contains(out, "1 accounts") {
		t.Error(out)
	}
	must(t, "another password\n", "account", "passwd", "anna", "--data", data, "--password-stdin")
	if out := must(t, "", "account", "list", "--data", data); !strings.Contains(out, "anna") {
		t.Error(out)
	}
	if out := must(t, "", "check", "--data", data); out != "" {
		t.Error(out)
	}
}
