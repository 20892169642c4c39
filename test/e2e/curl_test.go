package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clientCurl: list, append, fetch, search, flags and expunge, over every kind
// of connection and login.
func clientCurl(t *testing.T, l login) {
	dir := t.TempDir()
	curl := func(args ...string) string {
		t.Helper()
		return run(t, dir, "curl", append([]string{"-sS", "--max-time", "30", "-k", "-u", l.user + ":" + l.password}, args...)...)
	}
	plain, secure := "imap://"+l.addr, "imaps://"+l.tlsAddr
	curl(plain, "-X", "CREATE curlbox")
	for _, args := range [][]string{
		{plain + "/"},
		{secure + "/", "--login-options", "AUTH=PLAIN"},
		{plain + "/", "--ssl-reqd", "--login-options", "AUTH=PLAIN", "--sasl-ir"},
	} {
		if list := curl(args...); !strings.Contains(list, "curlbox") || !strings.Contains(list, "INBOX") {
			t.Errorf("%q: list has %q", args, list)
		}
	}
	curlMessages(t, dir, curl, plain, secure)
	if got := curl(plain + "/curlbox/;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)"); got != "Subject: plain\r\n\r\n" {
		t.Errorf("header fields: %q", got)
	}
	if got := curl(plain + "/curlbox/;UID=3;SECTION=1"); got != "plain xylophone" {
		t.Errorf("section 1: %q", got)
	}
	if got := curl(plain + "/curlbox?SUBJECT%20attachment"); strings.TrimSpace(got) != "* SEARCH 4" {
		t.Errorf("search: %q", got)
	}
	if got := curl(secure + "/curlbox?TEXT%20xylophone"); strings.TrimSpace(got) != "* SEARCH 3" {
		t.Errorf("search: %q", got)
	}
	if got := curl(plain+"/curlbox", "-X", `STORE 2:3 +FLAGS (\Deleted)`); !strings.Contains(got, `\Deleted`) {
		t.Errorf("store: %q", got)
	}
	if got := curl(plain+"/curlbox", "-X", "EXPUNGE"); strings.Count(got, "EXPUNGE") != 2 {
		t.Errorf("expunge: %q", got)
	}
	if got := curl(plain, "-X", "STATUS curlbox (MESSAGES)"); !strings.Contains(got, "MESSAGES 5") {
		t.Errorf("status: %q", got)
	}
	if out, err := try(t, dir, "curl", "-sS", "-u", l.user+":wrong", plain+"/"); err == nil || !strings.Contains(out, "denied") {
		t.Errorf("a wrong password: %q, %v", out, err)
	}
}

// curlMessages appends all kinds of messages and reads them back.
func curlMessages(t *testing.T, dir string, curl func(args ...string) string, plain, secure string) {
	t.Helper()
	all := mails()
	for i, m := range all {
		path := filepath.Join(dir, "mail")
		if err := os.WriteFile(path, m, 0o600); err != nil {
			t.Fatal(err)
		}
		url := plain
		if i%2 == 1 {
			url = secure
		}
		curl("-T", path, url+"/curlbox")
	}
	for i, want := range all {
		out := filepath.Join(dir, "out")
		curl("-o", out, secure+"/curlbox/;MAILINDEX="+string(rune('1'+i)))
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
			t.Errorf("message %d: %d bytes, %v; want %d", i, len(got), err, len(want))
		}
	}
}
