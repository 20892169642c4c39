package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clientNeomuttCache: with imap_condstore and imap_qresync, neomutt keeps
// headers and flags, and asks only for what changed when it comes back.
func clientNeomuttCache(t *testing.T, l login) {
	dir := t.TempDir()
	c, all := l.connect(t), mails()
	appendAll(t, c, "INBOX", all)
	cache := filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	cert := l.certificate(t)
	visit := func(n int, keys string) (log string) {
		t.Helper()
		debug := filepath.Join(dir, fmt.Sprint("debug", n))
		rc := write(t, filepath.Join(dir, "rc"), `set imap_user="%s" imap_pass="%s" imap_login="%s"
set folder="imaps://localhost:%s/"
set spoolfile="imaps://localhost:%s/INBOX"
set certificate_file="%s" ssl_verify_dates=no
set imap_condstore=yes imap_qresync=yes header_cache="%s"
set record= postponed= mbox_type=mbox sort=mailbox-order
set confirmappend=no confirmcreate=no delete=yes quit=yes mark_old=no move=no wait_key=no auto_tag=yes
push "%s<quit>"
`, l.user, l.password, l.user, l.tlsPort(), l.tlsPort(), cert, cache, keys)
		screen := run(t, dir, "script", "-qfec", "neomutt -n -d 3 -l "+debug+" -F "+rc, filepath.Join(dir, "typescript"))
		logs, err := filepath.Glob(debug + "*")
		if err != nil || len(logs) == 0 {
			t.Fatalf("neomutt wrote no log; the screen:\n%q", screen)
		}
		b, err := os.ReadFile(logs[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	log := visit(1, "<limit>~s attachment<enter><flag-message><limit>all<enter>")
	if !strings.Contains(log, "ENABLE QRESYNC") {
		t.Errorf("neomutt did not enable QRESYNC:\n%s", log)
	}
	if f := flags(t, c, "INBOX")["attachment"]; !strings.Contains(f, `\Flagged`) {
		t.Errorf("flags of what neomutt flagged: %q", f)
	}
	// While it is away: one message goes, one comes, flags change.
	news := []byte("From: Bob <bob@example.org>\r\nSubject: news\r\nMessage-ID: <news@example.org>\r\n\r\nnew\r\n")
	appendAll(t, c, "INBOX", [][]byte{news})
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{`STORE 1 +FLAGS (\Deleted)`, "EXPUNGE", `STORE 2 +FLAGS (\Flagged)`, `STORE 3 -FLAGS (\Flagged)`} {
		if err := c.Do(cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := append(append([][]byte{}, all[1:]...), news)
	everything, flagged := filepath.Join(dir, "all.mbox"), filepath.Join(dir, "flagged.mbox")
	log = visit(2, "<tag-pattern>~A<enter><copy-message>"+everything+"<enter><untag-pattern>~A<enter>"+
		"<tag-pattern>~F<enter><copy-message>"+flagged+"<enter><untag-pattern>~A<enter>")
	if !strings.Contains(log, " VANISHED)") { // UID FETCH 1:7 (FLAGS) (CHANGEDSINCE 13 VANISHED)
		t.Errorf("neomutt did not resynchronize with QRESYNC:\n%s", log)
	}
	for path, n := range map[string]int{everything: len(want), flagged: 1} {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if have := strings.Count(string(got), "\nMessage-ID: "); have != n {
			t.Errorf("%s: %d messages, want %d", filepath.Base(path), have, n)
		}
		if path == flagged && !strings.Contains(string(got), "Subject: two parts") {
			t.Errorf("flagged is another message:\n%s", got)
		}
	}
	same(t, "INBOX", contents(t, c, "INBOX"), want)
}
