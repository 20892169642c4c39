package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clientNeomutt: reads a mailbox on a terminal of its own, copies all messages
// into a local mbox, sets flags and saves one message to another mailbox.
func clientNeomutt(t *testing.T, l login) {
	dir := t.TempDir()
	c, all := l.connect(t), mails()
	appendAll(t, c, "INBOX", all)
	if err := c.Do("CREATE Kept", nil); err != nil {
		t.Fatal(err)
	}
	mbox := filepath.Join(dir, "out.mbox")
	rc := write(t, filepath.Join(dir, "rc"), `set imap_user="%s" imap_pass="%s" imap_login="%s"
set folder="imaps://localhost:%s/"
set spoolfile="imaps://localhost:%s/INBOX"
set certificate_file="%s" ssl_verify_dates=no
set record= postponed= header_cache= message_cachedir= mbox_type=mbox sort=mailbox-order
set confirmappend=no confirmcreate=no delete=yes quit=yes mark_old=no move=no wait_key=no auto_tag=yes
push "<tag-pattern>~A<enter><copy-message>%s<enter><untag-pattern>~A<enter><limit>~s attachment<enter><flag-message><save-message>=Kept<enter><limit>all<enter><quit>"
`, l.user, l.password, l.user, l.tlsPort(), l.tlsPort(), l.certificate(t), mbox)
	screen := run(t, dir, "script", "-qfec", "neomutt -n -F "+rc, filepath.Join(dir, "typescript"))
	got, err := os.ReadFile(mbox)
	if err != nil {
		t.Fatalf("%v; the screen:\n%q", err, screen)
	}
	if n := strings.Count(string(got), "\nMessage-ID: "); n != len(all) {
		t.Errorf("%d messages copied of %d; the screen:\n%q", n, len(all), screen)
	}
	same(t, "Kept", contents(t, c, "Kept"), all[3:4])
	if f := flags(t, c, "Kept")["attachment"]; !strings.Contains(f, `\Flagged`) {
		t.Errorf("flags in Kept: %q", f)
	}
	if _, there := flags(t, c, "INBOX")["attachment"]; there {
		t.Error("the saved message is still in INBOX")
	}
}
