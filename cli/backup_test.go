package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// backupJSON takes a backup and reads what --json says.
func backupJSON(t *testing.T, args ...string) (r backupResult) {
	t.Helper()
	out := must(t, "", append([]string{"backup", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err, out)
	}
	return r
}

func importMails(t *testing.T, data, account, mailbox string, first, n int) {
	t.Helper()
	var b strings.Builder
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "From x@example.org Mon Nov 23 01:00:00 2026\nFrom: Sender %d <s%d@example.org>\nSubject: mail %d\nMessage-ID: <%d@example.org>\n\nbody %d\n\n", i, i, i, i, i)
	}
	must(t, b.String(), "import", "--data", data, "--account", account, "--mailbox", mailbox, "--format", "mbox", "-")
}

// backup and restore, with and without a running server.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprint("server ", running), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			data, dir := filepath.Join(root, "data"), filepath.Join(root, "backup")
			must(t, "", "init", "--data", data)
			must(t, "a password\n", "account", "add", "anna", "--data", data, "--password-stdin")
			importMails(t, data, "anna", "INBOX", 0, 20)
			if running {
				startServer(t, data)
			}
			r := backupJSON(t, "--data", data, dir)
			if !r.OK || r.Accounts != 1 || r.Octets == 0 {
				t.Errorf("%+v", r)
			}
			importMails(t, data, "anna", "Archive", 100, 5)
			if again := backupJSON(t, "--data", data, dir); !again.OK || again.Accounts != 1 {
				t.Errorf("%+v", again)
			}
			for _, bad := range []string{filepath.Join(data, "backup"), data, root} {
				wantCode(t, 1, "data folder", "backup", "--data", data, bad)
			}
			other := filepath.Join(root, "other")
			if err := os.MkdirAll(filepath.Join(other, "photos"), 0o700); err != nil {
				t.Fatal(err)
			}
			wantCode(t, 1, "not empty", "backup", "--data", data, other)
			wantCode(t, 1, "not empty", "restore", dir, "--data", other)
			wantCode(t, 2, "--data must name", "restore", dir)

			restored := filepath.Join(root, "restored")
			must(t, "", "restore", dir, "--data", restored)
			want := must(t, "", "export", "--data", data, "--account", "anna", "--mailbox", "Archive", "--format", "mbox", "-")
			got := must(t, "", "export", "--data", restored, "--account", "anna", "--mailbox", "Archive", "--format", "mbox", "-")
			if got != want || strings.Count(got, "From x@") == 0 && strings.Count(got, "From ") != 5 {
				t.Errorf("restored %q\nwant %q", got, want)
			}
			_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				info, serr := d.Info()
				if err != nil || serr != nil || info.Mode().Perm()&0o077 != 0 && path != dir {
					t.Errorf("%s: %v, others may read it (%v)", path, err, serr)
				}
				return nil
			})
		})
	}
}

// Single messages come back from a backup, once.
func TestRestoreFromCopy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	data, dir := filepath.Join(root, "data"), filepath.Join(root, "backup")
	must(t, "", "init", "--data", data)
	must(t, "a password\n", "account", "add", "anna", "--data", data, "--password-stdin")
	importMails(t, data, "anna", "INBOX", 0, 20)
	importMails(t, data, "anna", "Work/2026", 50, 4)
	must(t, "", "backup", "--data", data, dir)
	before := fileTimes(t, dir)
	s := startServer(t, data)
	c := s.dial(t)
	c.do(`LOGIN anna "a password"`)
	c.do("SELECT INBOX")
	c.do(`STORE 1:10 +FLAGS (\Deleted)`)
	c.do("EXPUNGE")
	c.do("UNSELECT")
	if got := c.do("DELETE Work/2026"); !strings.Contains(got, "a OK") {
		t.Fatal(got)
	}
	restore := func(args ...string) string {
		return must(t, "", append([]string{"restore", "--data", data, "--account", "anna", "--from", dir}, args...)...)
	}
	list := restore("--list", "--search", `FROM s3@example.org`)
	if strings.Count(list, "\n") < 1 || !strings.Contains(list, "INBOX  UID 4") || strings.Contains(list, "UID 5") {
		t.Errorf("list: %q", list)
	}
	for _, want := range []string{`"added":1,"skipped":0`, `"added":0,"skipped":1`} {
		if got := restore("--json", "--search", `OR HEADER Message-ID "<3@example.org>" SUBJECT "no such"`); !strings.Contains(strings.Join(strings.Fields(got), ""), want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	restore("--mailbox", "Work/2026")
	if got := c.do("STATUS Work/2026 (MESSAGES)"); !strings.Contains(got, "MESSAGES 4") {
		t.Error(got)
	}
	restore("--search", "BODY \"body 7\"")
	if got := c.do("STATUS INBOX (MESSAGES)"); !strings.Contains(got, "MESSAGES 12") {
		t.Error(got)
	}
	wantCode(t, 2, "--search", "restore", "--data", data, "--account", "anna", "--from", dir, "--search", "NONSENSE")
	wantCode(t, 1, "no mailbox Nothing", "restore", "--data", data, "--account", "anna", "--from", dir, "--mailbox", "Nothing", "--list")
	wantCode(t, 1, "no account bob", "restore", "--data", data, "--account", "bob", "--from", dir)
	if after := fileTimes(t, dir); after != before {
		t.Errorf("the backup was changed:\n%s\n%s", before, after)
	}
}

// fileTimes lists a tree with sizes and times.
func fileTimes(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPortable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	data, file, restored := filepath.Join(root, "data"), filepath.Join(root, "mail.nbx"), filepath.Join(root, "restored")
	must(t, "", "init", "--data", data)
	must(t, "a password\n", "account", "add", "anna", "--data", data, "--password-stdin")
	importMails(t, data, "anna", "INBOX", 0, 20)
	startServer(t, data)
	must(t, "", "backup", "--portable", "--data", data, file)
	must(t, "", "backup", "--portable", "--data", data, file) // over the first
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	must(t, "", "restore", file, "--data", restored)
	want := must(t, "", "export", "--data", data, "--account", "anna", "--mailbox", "INBOX", "--format", "mbox", "-")
	got := must(t, "", "export", "--data", restored, "--account", "anna", "--mailbox", "INBOX", "--format", "mbox", "-")
	if got != want {
		t.Errorf("restored %q\nwant %q", got, want)
	}
	stream := must(t, "", "backup", "--portable", "--data", data, "-")
	must(t, stream, "restore", "-", "--data", filepath.Join(root, "second"))
	third := filepath.Join(root, "third")
	if r := nestbox(t, stream[:len(stream)-5], "restore", "-", "--data", third); r.code == 0 || !strings.Contains(r.errout, "cut off") {
		t.Errorf("%+v", r)
	}
	must(t, stream, "restore", "-", "--data", third) // nothing was in the way
	other := filepath.Join(root, "photo.jpg")
	if err := os.WriteFile(other, []byte("not mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, 1, "is another file", "backup", "--portable", "--data", data, other)
	wantCode(t, 1, "is no portable stream", "restore", other, "--data", filepath.Join(root, "fourth"))
}
