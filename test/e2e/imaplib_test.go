package e2e

import (
	"path/filepath"
	"testing"
)

// clientImaplib: testdata/imaplib_session.py.
func clientImaplib(t *testing.T, l login) { script(t, l, "python3", "imaplib_session.py") }

// clientPerl: testdata/imapclient_session.pl.
func clientPerl(t *testing.T, l login) {
	if out, err := try(t, t.TempDir(), "perl", "-MMail::IMAPClient", "-e", "1"); err != nil {
		missing(t, "libmail-imapclient-perl is not installed: %s", out)
	}
	script(t, l, "perl", "imapclient_session.pl")
}

// script runs a client written in a language of its own. It exits with an
// error and says why when something is not as it should be.
func script(t *testing.T, l login, interpreter, name string) {
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	run(t, t.TempDir(), interpreter, path, l.host(), l.port(), l.tlsPort(), l.user, l.password)
}
