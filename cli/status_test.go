package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nestbox/admin"
)

// statusOf runs status --json and returns its answer and its checks by name.
func statusOf(t *testing.T, code int, args ...string) (r statusReport, checks map[string]check) {
	t.Helper()
	res := nestbox(t, "", append([]string{"status", "--json"}, args...)...)
	if res.code != code {
		t.Fatalf("status: exit code %d, want %d\n%s%s", res.code, code, res.out, res.errout)
	}
	if err := json.Unmarshal([]byte(res.out), &r); err != nil {
		t.Fatalf("%v in %s", err, res.out)
	}
	checks = map[string]check{}
	for _, c := range r.Checks {
		checks[c.Name] = c
	}
	return r, checks
}

func TestStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	r, checks := statusOf(t, 1, "--data", data)
	if r.State != stateFail || !strings.Contains(checks["data"].Text, "nestbox init") {
		t.Errorf("without data: %+v", r)
	}
	must(t, "", "init", "--data", data)
	for _, name := range []string{"anna", "bert"} {
		must(t, "secret words\n", "account", "add", name, "--password-stdin", "--data", data)
	}
	mbox := writeText(t, filepath.Join(dir, "in.mbox"), "From x Mon Nov 23 01:00:00 2026\nSubject: one\n\nbody\n\nFrom x Mon Nov 23 01:00:00 2026\nSubject: two\n\nbody\n")
	must(t, "", "import", "--account", "anna", "--data", data, mbox)

	_, checks = statusOf(t, 0, "--data", data)
	for name, want := range map[string][2]string{
		"server": {stateWarn, "not running"}, "data": {stateOK, "format 1"}, "accounts": {stateOK, "2, 0 in use now; 2 messages"},
		"disk": {stateOK, "free"}, "backup": {stateWarn, "never"}, "last write": {stateOK, "just now"},
	} {
		if c := checks[name]; c.State != want[0] || !strings.Contains(c.Text, want[1]) {
			t.Errorf("%s: %+v, want %v", name, c, want)
		}
	}
	if c := checks["clock"]; c.State == "" {
		t.Error("nothing is said of the clock")
	}

	s := startServer(t, data)
	must(t, "", "backup", filepath.Join(dir, "copy"), "--data", data)
	r, checks = statusOf(t, 0, "--data", data)
	if r.Server == nil || r.Server.PID != os.Getpid() || len(r.Server.Listeners) != 2 ||
		!strings.Contains(checks["listeners"].Text, "imap "+s.Addrs()["imap"][0]) {
		t.Errorf("server: %+v, %+v", r.Server, checks["listeners"])
	}
	if c := checks["backup"]; c.State != stateOK || !strings.Contains(c.Text, filepath.Join(dir, "copy")) {
		t.Errorf("backup: %+v", c)
	}
	res := nestbox(t, "", "status", "--accounts", "--data", data)
	if res.code != 0 || !strings.Contains(res.out, "anna") || !strings.Contains(res.out, "bert") || !strings.Contains(res.out, "MESSAGES") {
		t.Errorf("--accounts: %d\n%s", res.code, res.out)
	}
}

// An account that can't be opened fails the status when somebody has met it,
// or --accounts looks.
func TestStatusOfADamagedAccount(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	must(t, "", "init", "--data", data)
	must(t, "secret words\n", "account", "add", "anna", "--password-stdin", "--data", data)
	must(t, "secret words\n", "account", "add", "bert", "--password-stdin", "--data", data)
	files, err := filepath.Glob(filepath.Join(data, "accounts", "*", "mail.db"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("no mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := statusOf(t, 1, "--accounts", "--data", data)
	bad := 0
	for _, a := range r.Accounts {
		if a.Trouble != "" {
			bad++
		} else if a.Known == nil || a.Used.Mailboxes == 0 {
			t.Errorf("the good account: %+v", a)
		}
	}
	if bad != 1 {
		t.Errorf("%d accounts in trouble, want 1: %+v", bad, r.Accounts)
	}
}

func TestStatusJudges(t *testing.T) {
	t.Parallel()
	r := &statusReport{State: stateOK}
	for _, c := range []struct {
		free int64
		want string
	}{{500, stateOK}, {150, stateWarn}, {50, stateFail}} {
		h := healthy()
		h.Disk.Free, h.Disk.MinFree = c.free<<20, 100<<20
		r = &statusReport{State: stateOK, Health: &h}
		r.judge(nil)
		if r.State != c.want {
			t.Errorf("%d MB free: %s, want %s: %+v", c.free, r.State, c.want, r.Checks)
		}
	}
	h := healthy()
	h.Away = true
	r = &statusReport{State: stateOK, Health: &h}
	if r.judge(nil); r.State != stateFail {
		t.Errorf("away: %s", r.State)
	}
	h = healthy()
	h.Accounts[0].Quota.Octets, h.Accounts[0].Used.Octets = 1000, 960
	r = &statusReport{State: stateOK, Health: &h}
	if r.judge(nil); r.State != stateWarn {
		t.Errorf("quota nearly full: %+v", r)
	}
	wantWarning := func(what, text string, change func(*admin.Health)) {
		h := healthy()
		change(&h)
		r := &statusReport{State: stateOK, Health: &h}
		r.judge(nil)
		if r.State != stateWarn || !slices.ContainsFunc(r.Checks, func(c check) bool { return c.State == stateWarn && strings.Contains(c.Text, text) }) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	long, lately := time.Now().Add(-9*24*time.Hour), time.Now().Add(-13*24*time.Hour)
	wantWarning("an old backup", "9 days ago", func(h *admin.Health) { h.Backup.At, h.Backup.Good = &long, &long })
	wantWarning("a failed backup", "the last good one: "+long.Local().Format(time.DateOnly), func(h *admin.Health) { h.Backup.Error, h.Backup.Good = "disk full", &long })
	wantWarning("rolled back", "older than they should be", func(h *admin.Health) { h.Accounts[0].RolledBack = &lately })
	wantWarning("mailboxes used up", "48 of 50 mailboxes", func(h *admin.Health) { h.Accounts[0].Quota.Mailboxes, h.Accounts[0].Used.Mailboxes = 50, 48 })
	h = healthy()
	h.Accounts[0].Quota.Mailboxes, h.Accounts[0].Used.Mailboxes = 50, 1
	h.Deleted = []admin.DeletedHealth{{Octets: 3 << 20, Until: time.Now()}, {Octets: 2 << 20, Until: long}}
	r = &statusReport{State: stateOK, Health: &h}
	if r.judge(nil); r.State != stateOK || !slices.ContainsFunc(r.Checks, func(c check) bool {
		return strings.Contains(c.Text, "2 kept, 5.0 MB") && strings.Contains(c.Text, day(long))
	}) {
		t.Errorf("deleted accounts: %+v", r)
	}
	h = healthy()
	h.Clock.Trusted, h.Clock.Why = false, "not synchronised"
	r = &statusReport{State: stateOK, Health: &h}
	if r.judge(nil); r.State != stateWarn {
		t.Errorf("clock in doubt: %+v", r)
	}
}

// healthy is a server without a warning.
func healthy() admin.Health {
	now := time.Now()
	return admin.Health{
		Server:   &admin.ServerHealth{Listeners: []admin.Listener{{Protocol: "imaps", Address: ":993"}}},
		Disk:     admin.DiskHealth{Size: 1 << 40, Free: 1 << 39, MinFree: 2 << 30},
		Clock:    admin.ClockHealth{Now: now, Wall: now, Trusted: true, Why: "synchronised"},
		Written:  &now,
		Backup:   admin.BackupHealth{At: &now, Good: &now, To: "/backup"},
		Accounts: []admin.AccountHealth{{Name: "anna", Known: &now}},
	}
}
