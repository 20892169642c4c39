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
