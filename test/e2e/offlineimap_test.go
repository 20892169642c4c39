package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clientOfflineIMAP: two-way synchronization; a run without news does nothing.
func clientOfflineIMAP(t *testing.T, l login) {
	dir := t.TempDir()
	near := filepath.Join(dir, "mail")
	rc := offlineIMAPConfig(t, l, dir, near)
	sync := func() string {
		t.Helper()
		out := run(t, dir, "offlineimap", "-c", rc, "-o")
		if strings.Contains(out, "ERROR") {
			t.Fatal(out)
		}
		return out
	}
	c, all := l.connect(t), mails()
	if err := c.Do("CREATE Lists", nil); err != nil {
		t.Fatal(err)
	}
	appendAll(t, c, "INBOX", all[:4])
	appendAll(t, c, "Lists", all[4:])
	sync()
	got, names := maildir(t, filepath.Join(near, "INBOX"))
	sameTexts(t, "INBOX after the first run", got, all[:4])
	if lists, _ := maildir(t, filepath.Join(near, "Lists")); len(lists) != len(all[4:]) {
		t.Errorf("Lists has %d messages", len(lists))
	}

	name := filepath.Join(near, "INBOX", "cur", filepath.Base(names[0]))
	if err := os.Rename(names[0], name[:strings.LastIndex(name, ":2,")]+":2,RS"); err != nil {
		t.Fatal(err)
	}
	news := []byte("From: near@example.org\r\nSubject: news\r\nMessage-ID: <news@example.org>\r\n\r\nfrom the Maildir\r\n")
	deliver(t, filepath.Join(near, "INBOX"), "1700000000.near.host", news)
	sync()
	found := false
	for subject, f := range flags(t, c, "INBOX") {
		found = found || f == `\Answered \Seen` && subject != "news"
	}
	if n := len(contents(t, c, "INBOX")); !found || n != 5 {
		t.Errorf("there are %d messages; answered one found: %v", n, found)
	}
	if out := sync(); strings.Contains(out, "Copy message") || strings.Contains(out, "Adding") || strings.Contains(out, "Deleting") {
		t.Errorf("the third run transferred:\n%s", out)
	}
}

func offlineIMAPConfig(t *testing.T, l login, dir, near string) (path string) {
	t.Helper()
	return write(t, filepath.Join(dir, "rc"), `[general]
accounts = a
metadata = %s/meta
ui = basic

[Account a]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = %s
sep = /

[Repository far]
type = IMAP
remotehost = localhost
remoteport = %s
remoteuser = %s
remotepass = %s
ssl = yes
sslcacertfile = %s
`, dir, near, l.tlsPort(), l.user, l.password, l.certificate(t))
}

// sameTexts compares the bodies alone: offlineimap rewrites header fields.
func sameTexts(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	bodies := func(messages [][]byte) (all [][]byte) {
		for _, m := range messages {
			_, body, _ := strings.Cut(strings.ReplaceAll(string(m), "\r\n", "\n"), "\n\n")
			all = append(all, []byte(body))
		}
		return all
	}
	same(t, what, bodies(got), bodies(want))
}
