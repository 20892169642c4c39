package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func uidValidityOf(t *testing.T, s *server) string {
	t.Helper()
	out := ask(t, s, "STATUS INBOX (UIDVALIDITY)")
	_, out, _ = strings.Cut(out, "UIDVALIDITY ")
	out, _, _ = strings.Cut(out, ")")
	return out
}

// check --restored renews the mailboxes, with and without a server; sessions
// that have one open end.
func TestCheckRestored(t *testing.T) {
	t.Parallel()
	data := houseOfMail(t, "one", "two")
	if out := must(t, "", "check", "--data", data); out != "" {
		t.Errorf("check: %s", out)
	}
	s := startServer(t, data)
	first := uidValidityOf(t, s)
	c := s.dial(t)
	c.do(`LOGIN anna "a good password"`)
	c.do("SELECT INBOX")
	if r := nestbox(t, "", "check", "--data", data, "--restored", "anna"); r.code != 0 || !strings.Contains(r.errout, "account anna: every mailbox has a new UIDVALIDITY") {
		t.Errorf("it says %+v", r)
	}
	if out := c.do("NOOP"); !strings.Contains(out, "OK") {
		t.Error(out)
	}
	c.bye("BYE")
	second := uidValidityOf(t, s)
	if out := ask(t, s, "SELECT INBOX", "FETCH 1:* BODY[TEXT]"); !strings.Contains(out, "one in the body") || !strings.Contains(out, "two in the body") {
		t.Errorf("the messages: %s", out)
	}
	_ = s.Close()
	must(t, "", "check", "--data", data, "--restored")
	s = startServer(t, data)
	third := uidValidityOf(t, s)
	if len(first) != len(second) || !(first < second && second < third) {
		t.Errorf("UIDVALIDITY %s, %s, %s", first, second, third)
	}
	wantCode(t, exitFailed, "no such account", "check", "--data", data, "--restored", "nobody")
}

// raiseFormat makes a file say that it needs a later nestbox. A value of
// system.db has a key id and a checksum in front.
func raiseFormat(t *testing.T, path string, sealed bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, found := []byte("min_reader"), 0
	for at := 0; ; found++ {
		i := bytes.Index(b[at:], key)
		if i < 0 {
			break
		}
		at += i + len(key)
		value := []byte{99, 0}
		if sealed {
			sum := crc32.Checksum(append(append([]byte(nil), key...), value...), crc32.MakeTable(crc32.Castagnoli))
			value = append(binary.LittleEndian.AppendUint32([]byte{0}, sum), value...)
		}
		copy(b[at:], value)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil || found == 0 {
		t.Fatal(found, err)
	}
}

// A file of a later format is refused by name, with both versions and exit
// code 78, and nothing is changed.
func TestLaterFormats(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mail.db", "system.db"} {
		data := houseOfMail(t, "one")
		path := filepath.Join(data, name)
		if name == "mail.db" {
			all, err := filepath.Glob(filepath.Join(data, "accounts", "*", name))
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			path = all[0]
		}
		raiseFormat(t, path, name == "system.db")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"export", "--data", data, "--account", "anna", filepath.Join(t.TempDir(), "out")},
			{"check", "--data", data, "--restored", "anna"},
		} {
			r := nestbox(t, "", args...)
			if r.code != exitUnfit || !strings.Contains(r.errout, path) || !strings.Contains(r.errout, "format 99") || !strings.Contains(r.errout, "up to 1") {
				t.Errorf("%s: %q: exit code %d, %s", name, args, r.code, r.errout)
			}
		}
		if name == "system.db" {
			wantCode(t, exitUnfit, path+" needs a nestbox that reads format 99; this one reads up to 1", "serve", "--data", data,
				"--imap", "127.0.0.1:0", "--imaps", "")
		} else if out := func() string {
			s := startServer(t, data)
			defer s.Close()
			c := s.dial(t)
			return c.do(`LOGIN anna "a good password"`) + c.do("SELECT INBOX")
		}(); !strings.Contains(out, "NO [UNAVAILABLE]") {
			t.Errorf("the account answers %s", out)
		}
		if after, err := os.ReadFile(path); err != nil || sha256.Sum256(after) != sha256.Sum256(before) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}
