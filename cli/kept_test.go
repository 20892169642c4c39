package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// ask logs anna in and runs IMAP commands that must succeed.
func ask(t *testing.T, s *server, commands ...string) (answers string) {
	t.Helper()
	c := s.dial(t)
	for _, line := range append([]string{`LOGIN anna "a good password"`}, commands...) {
		out := c.do(line)
		if !strings.Contains(out, " OK ") || strings.Contains(out, " NO ") || strings.Contains(out, " BAD ") {
			t.Fatalf("%s: %s", line, out)
		}
		answers += out
	}
	return answers
}

// houseOfMail is a data folder in which anna has messages of hers.
func houseOfMail(t *testing.T, subjects ...string) (data string) {
	t.Helper()
	dir := t.TempDir()
	data = filepath.Join(dir, "data")
	must(t, "", "init", "--data", data)
	must(t, "a good password\n", "account", "add", "anna", "--data", data, "--password-stdin")
	if err := os.Mkdir(filepath.Join(dir, "src"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, s := range subjects {
		writeText(t, filepath.Join(dir, "src", fmt.Sprintf("%03d.eml", i)),
			fmt.Sprintf("From: Ben <ben@example.org>\r\nSubject: %s\r\nMessage-ID: <%d@example.org>\r\n\r\n%s in the body\r\n", s, i, s))
	}
	if len(subjects) > 0 {
		must(t, "", "import", "--data", data, "--account", "anna", filepath.Join(dir, "src"))
	}
	return data
}

func TestRestoreKept(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple", "pear", "plum")
	s := startServer(t, data)
	ask(t, s, "SELECT INBOX", `STORE 2 +FLAGS (\Deleted \Flagged)`, "EXPUNGE")
	for _, running := range []bool{true, false} {
		if !running {
			ask(t, s, "SELECT INBOX", `UID STORE 4 +FLAGS (\Deleted)`, "EXPUNGE", "LOGOUT")
			_ = s.Close()
		}
		list := must(t, "", "restore", "--data", data, "--account", "anna", "--list")
		if strings.Count(list, "\n") != 1 || !strings.Contains(list, "pear") || !strings.Contains(list, "INBOX") {
			t.Errorf("running %v: list:\n%s", running, list)
		}
		if out := must(t, "", "restore", "--data", data, "--account", "anna", "--list", "--json"); !strings.Contains(out, `"subject":"pear"`) ||
			!strings.Contains(out, `"flags":["\\Flagged","\\Deleted"]`) {
			t.Errorf("running %v: %s", running, out)
		}
		if out := must(t, "", "restore", "--data", data, "--account", "anna", "--mailbox", "Sent"); !strings.Contains(out, "nothing to restore") {
			t.Errorf("running %v: %s", running, out)
		}
		if out := must(t, "", "restore", "--data", data, "--account", "anna", "--since", "1h"); !strings.Contains(out, "1 messages restored") {
			t.Errorf("running %v: %s", running, out)
		}
		if out := must(t, "", "restore", "--data", data, "--account", "anna", "--json"); !strings.Contains(out, `"messages": 0`) {
			t.Errorf("running %v: restored twice: %s", running, out)
		}
	}
	s = startServer(t, data)
	out := ask(t, s, "SELECT INBOX", "UID SEARCH ALL", "FETCH 3 (FLAGS BODY[TEXT])")
	if !strings.Contains(out, "SEARCH 1 3 5") || !strings.Contains(out, "pear in the body") || !strings.Contains(out, `FLAGS (\Flagged`) {
		t.Errorf("after two restores:\n%s", out)
	}
	wantCode(t, exitUsage, "--account is missing", "restore", "--data", data)
	wantCode(t, exitUsage, "--since wants", "restore", "--data", data, "--account", "anna", "--since", "soon")
	wantCode(t, exitFailed, "no such account", "restore", "--data", data, "--account", "otto")
}

func TestParseSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	for in, want := range map[string]time.Time{
		"3d": now.AddDate(0, 0, -3), "2w": now.AddDate(0, 0, -14), "90m": now.Add(-90 * time.Minute),
		"2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local), "2026-11-01T10:30": time.Date(2026, 11, 1, 10, 30, 0, 0, time.Local),
	} {
		if got, err := parseSince(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "d", "-3d", "yesterday", "3.5d", "99999999d"} {
		if got, err := parseSince(in, now); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
}

// bye reads until the server says BYE.
func (c *client) bye(text string) {
	c.t.Helper()
	for {
		if line := c.line(); strings.HasPrefix(line, "* BYE") {
			if !strings.Contains(line, text) {
				c.t.Errorf("%q, want %q in it", line, text)
			}
			return
		}
	}
}

// Sessions of a login that is no longer good end at once, in IDLE and between
// commands.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple")
	s := startServer(t, data)
	open := func(password string) (idle, waiting *client) {
		idle, waiting = s.dial(t), s.dial(t)
		for _, c := range []*client{idle, waiting} {
			if out := c.do(`LOGIN anna "` + password + `"`); !strings.Contains(out, "a OK") {
				t.Fatal(out)
			}
		}
		idle.do("SELECT INBOX")
		fmt.Fprint(idle.nc, "a IDLE\r\n")
		if line := idle.line(); !strings.HasPrefix(line, "+") {
			t.Fatal(line)
		}
		return idle, waiting
	}
	refused := func(password string) {
		t.Helper()
		if out := s.dial(t).do(`LOGIN anna "` + password + `"`); !strings.Contains(out, "a NO") {
			t.Errorf("logged in: %s", out)
		}
	}
	idle, waiting := open("a good password")
	must(t, "another password\n", "account", "passwd", "anna", "--data", data, "--password-stdin")
	idle.bye("password was changed")
	waiting.bye("password was changed")
	refused("a good password")
	idle, waiting = open("another password")
	must(t, "", "account", "disable", "anna", "--data", data)
	idle.bye("disabled")
	waiting.bye("disabled")
	refused("another password")
	must(t, "", "account", "enable", "anna", "--data", data)
	idle, waiting = open("another password")
	must(t, "", "account", "delete", "anna", "--data", data, "--yes")
	idle.bye("deleted")
	waiting.bye("deleted")
	refused("another password")
	if out := must(t, "", "account", "undelete", "--data", data); !strings.Contains(out, "anna") {
		t.Errorf("deleted accounts: %s", out)
	}
	must(t, "", "account", "undelete", "anna", "--data", data)
	c := s.dial(t)
	if out := c.do(`LOGIN anna "another password"`) + c.do("STATUS INBOX (MESSAGES)"); !strings.Contains(out, "MESSAGES 1") {
		t.Errorf("after the undelete: %s", out)
	}
	must(t, "", "account", "delete", "anna", "--data", data, "--yes", "--now")
	c.bye("deleted")
	wantCode(t, exitFailed, "no such deleted account", "account", "undelete", "anna", "--data", data)
}

// wantOut runs a command that must succeed and print all of texts.
func wantOut(t *testing.T, args string, texts ...string) {
	t.Helper()
	out := must(t, "", strings.Split(args, " ")...)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("nestbox %s: no %q in\n%s", args, text, out)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "apple", "pear", "plum")
	for _, running := range []bool{true, false} {
		var s *server
		if running {
			s = startServer(t, data)
		}
		at := " --data " + data
		wantOut(t, "quota anna --bytes 1MB --messages 3"+at, "1.0 MB", "3")
		wantCode(t, exitFailed, "quota of 3 messages exceeded", "import", "--data", data, "--account", "anna",
			writeText(t, filepath.Join(t.TempDir(), "more.eml"), "Subject: more\r\n\r\nmore\r\n"))
		wantOut(t, "quota anna --default --json"+at, `"own": {}`, `"messages": 3`)
		wantOut(t, "kept anna --days 30"+at, "30")
		wantOut(t, "kept anna --mailbox Junk --days 1"+at, "Junk=1")
		wantOut(t, "kept anna --mailbox Junk --default --json"+at, `"kept_days": 30`, `"mailbox_kept_days": {}`)
		wantOut(t, "kept anna --default"+at, "14")
		wantOut(t, "hold add anna --mailbox INBOX"+at)
		wantOut(t, "hold list"+at, "anna", "INBOX")
		wantCode(t, exitFailed, "INBOX", "purge", "--data", data, "--account", "anna", "--all", "--yes")
		wantCode(t, exitFailed, "hold", "account", "delete", "anna", "--data", data, "--yes")
		wantOut(t, "hold delete anna --mailbox INBOX"+at)
		wantOut(t, "hold list --json"+at, "[]")
		wantOut(t, "retention add --account anna --mailbox INBOX --messages 2 --json"+at, `"messages": 2`)
		wantOut(t, "retention run --account anna --dry-run"+at, "INBOX", "runs from")
		wantOut(t, "retention run --account anna --dry-run --json"+at, `"messages": 1`, `"waiting": true`)
		list := must(t, "", strings.Split("retention list"+at, " ")...)
		rule := strings.Fields(strings.Split(list, "\n")[1])[1]
		wantOut(t, "retention delete --account anna "+rule+at)
		all := must(t, "", strings.Split("retention add --all --special-use Junk --age 14d --json"+at, " ")...)
		rule = regexp.MustCompile(`"id": "(\w+)"`).FindStringSubmatch(all)[1]
		wantOut(t, "retention list"+at, "(all)", rule, `\Junk`)
		wantOut(t, "retention list --account anna --json"+at, `"account": ""`, `"all": true`)
		wantOut(t, "retention delete --all "+rule+at)
		wantCode(t, exitFailed, "no such retention rule", "retention", "delete", "--all", rule, "--data", data)
		wantCode(t, exitUsage, "--all", "retention", "add", "--mailbox", "x", "--data", data)
		wantCode(t, exitUsage, "exclude", "retention", "add", "--all", "--account", "anna", "--mailbox", "x", "--data", data)
		wantCode(t, exitFailed, "no such retention rule", "retention", "delete", "--account", "anna", rule, "--data", data)
		wantCode(t, exitUsage, "--age wants", "retention", "add", "--account", "anna", "--mailbox", "x", "--age", "3h", "--data", data)
		wantCode(t, exitFailed, "needs an age", "retention", "add", "--account", "anna", "--mailbox", "x", "--data", data)
		if running {
			_ = s.Close()
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		data := houseOfMail(t, "apple", "pear", "plum")
		if running {
			startServer(t, data)
		}
		at := " --account anna --data " + data
		wantCode(t, exitUsage, "say which", "purge", "--data", data, "--account", "anna")
		wantCode(t, exitUsage, "say which", "purge", "--data", data, "--account", "anna", "--all", "--subject", "x")
		wantCode(t, exitUsage, "--uid wants", "purge", "--data", data, "--account", "anna", "--uid", "1")
		wantCode(t, exitUsage, "--yes", "purge", "--data", data, "--account", "anna", "--subject", "pear")
		wantOut(t, "purge --subject PEAR --dry-run"+at, "1 messages and 0 expunged ones")
		wantOut(t, "purge --subject PEAR --yes --json"+at, `"messages": 1`, `"shared": 0`)
		wantOut(t, "purge --subject PEAR --yes"+at, "0 messages and 0 expunged ones")
		wantOut(t, "purge --mailbox INBOX --uid 2:9 --dry-run --json"+at, `"messages": 1`)
		wantCode(t, 0, oldCopies, "purge", "--subject", "PLUM", "--yes", "--account", "anna", "--data", data)
		wantOut(t, "restore --list --json"+at)
	}
}
