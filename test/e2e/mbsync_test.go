package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"nestbox/test/raw"
)

// clientMbsync: two-way synchronization; a run without news transfers nothing.
func clientMbsync(t *testing.T, l login) {
	dir := t.TempDir()
	near := filepath.Join(dir, "mail")
	rc := mbsyncConfig(t, l, dir, near)
	sync := func() { t.Helper(); run(t, dir, "mbsync", "-c", rc, "-V", "-a") }
	c, all := l.connect(t), mails()
	box := "Gr&APwA3w-e-2023" // Grüße-2023
	if err := c.Do("CREATE "+box, nil); err != nil {
		t.Fatal(err)
	}
	appendAll(t, c, "INBOX", all[:4])
	appendAll(t, c, box, all[4:])
	sync()
	got, names := maildir(t, filepath.Join(near, "INBOX"))
	sameTexts(t, "INBOX after the first run", got, all[:4])
	lists, _ := maildir(t, filepath.Join(near, box))
	sameTexts(t, "the other mailbox after the first run", lists, all[4:])

	// News on both sides: a flag and a message here, a flag and an expunge there.
	for i, m := range got {
		if bytes.Contains(m, []byte("Subject: plain")) {
			name := filepath.Join(near, "INBOX", "cur", filepath.Base(names[i]))
			if err := os.Rename(names[i], regexp.MustCompile(`:2,[A-Z]*$`).ReplaceAllString(name, "")+":2,FS"); err != nil {
				t.Fatal(err)
			}
		}
	}
	news := []byte("From: near@example.org\r\nSubject: news\r\n\r\nfrom the Maildir\r\n")
	deliver(t, filepath.Join(near, "INBOX"), "1700000000.near.host", news)
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{`STORE 2 +FLAGS (\Answered)`, `STORE 3 +FLAGS (\Deleted)`, "EXPUNGE"} {
		if err := c.Do(cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	sync()
	want := [][]byte{all[0], all[1], all[3], news}
	got, _ = maildir(t, filepath.Join(near, "INBOX"))
	sameTexts(t, "INBOX here after the second run", got, want)
	sameTexts(t, "INBOX there after the second run", contents(t, c, "INBOX"), want)
	f := flags(t, c, "INBOX")
	if f["plain"] != `\Flagged \Seen` || f["=?utf-8?q?Gr=C3=BC=C3=9Fe?="] != `\Answered` || f["news"] != "" {
		t.Errorf("flags there: %q", f)
	}

	nearBefore, farBefore := files(t, near), states(t, c, "INBOX", box)
	sync()
	if after := files(t, near); !maps.Equal(after, nearBefore) {
		t.Errorf("the third run changed the Maildir from\n%v\nto\n%v", nearBefore, after)
	}
	if after := states(t, c, "INBOX", box); after != farBefore {
		t.Errorf("the third run changed the server from\n%s\nto\n%s", farBefore, after)
	}
}

// mbsyncConfig makes the configuration, and the folder near.
func mbsyncConfig(t *testing.T, l login, dir, near string) (path string) {
	t.Helper()
	return mbsyncConfigOf(t, dir, near, l.tlsPort(), l.user, l.password, l.certificate(t))
}

func mbsyncConfigOf(t *testing.T, dir, near, port, user, password, certificate string) (path string) {
	t.Helper()
	if err := os.Mkdir(near, 0o700); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, "mbsyncrc"), `IMAPAccount far
Host localhost
Port %s
User %s
Pass "%s"
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account far

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
`, port, user, password, certificate, near, near)
}

// files are the files below dir with their contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// states is what a change of a mailbox at the server would change.
func states(t *testing.T, c *raw.Conn, mailboxes ...string) (all string) {
	t.Helper()
	for _, box := range mailboxes {
		if err := c.Do("STATUS "+box+" (MESSAGES UIDNEXT UNSEEN)", func(line []byte) { all += string(line) + "\n" }); err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprintln(flags(t, c, box))
	}
	return all
}
