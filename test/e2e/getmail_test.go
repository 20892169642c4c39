package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeMaildir makes an empty Maildir.
func makeMaildir(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// agent makes a program that delivers a message into a Maildir.
func agent(t *testing.T, dir, maildir string) (path string) {
	t.Helper()
	path = write(t, filepath.Join(dir, "agent"), "#!/bin/sh\nexec cat >%s/new/$$\n", maildir)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// clientGetmail: collects a mailbox into a Maildir and deletes it at the server.
func clientGetmail(t *testing.T, l login) {
	dir := t.TempDir()
	md := filepath.Join(dir, "md")
	makeMaildir(t, md)
	c, all := l.connect(t), mails()
	appendAll(t, c, "INBOX", all)
	write(t, filepath.Join(dir, "getmailrc"), `[retriever]
type = SimpleIMAPSSLRetriever
server = %s
port = %s
username = %s
password = %s
mailboxes = ("INBOX",)
ssl_version = tlsv1_2

[destination]
type = MDA_external
path = %s
allow_root_commands = true
unixfrom = false

[options]
delete = true
verbose = 2
`, l.host(), l.tlsPort(), l.user, l.password, agent(t, dir, md))
	out := run(t, dir, "getmail", "--getmaildir", dir)
	got, _ := maildir(t, md)
	sameTexts(t, "the Maildir", got, all)
	if left := contents(t, c, "INBOX"); len(left) > 0 {
		t.Errorf("%d messages were left at the server:\n%s", len(left), out)
	}
	if out := run(t, dir, "getmail", "--getmaildir", dir); !strings.Contains(out, "0 messages") {
		t.Errorf("the second run:\n%s", out)
	}
}

// clientFetchmail: hands each message to a program and deletes it at the server.
func clientFetchmail(t *testing.T, l login) {
	dir := t.TempDir()
	md := filepath.Join(dir, "md")
	makeMaildir(t, md)
	c, all := l.connect(t), mails()[:6] // it breaks long lines
	appendAll(t, c, "INBOX", all)
	rc := write(t, filepath.Join(dir, "rc"), `poll "%s" protocol imap service %s
  username "%s" password "%s" ssl no sslcertck
  mda "%s" nokeep fetchall no rewrite
`, l.host(), l.tlsPort(), l.user, l.password, agent(t, dir, md))
	out := run(t, dir, "fetchmail", "-f", rc, "-i", filepath.Join(dir, "ids"), "--pidfile", filepath.Join(dir, "pid"), "--nosyslog", "-v")
	got, _ := maildir(t, md)
	sameTexts(t, "what fetchmail delivered", got, all)
	if left := contents(t, c, "INBOX"); len(left) > 0 {
		t.Errorf("%d messages were left at the server:\n%s", len(left), out)
	}
}
