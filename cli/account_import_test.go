package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAccountImport: the passwd-file of another server, without a server and with
// one; it can be given again.
func TestAccountImport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	on := func(args ...string) []string { return append(args, "--data", data) }
	must(t, "", on("init")...)
	must(t, "secret for anna\n", on("account", "add", "anna", "--password-stdin")...)
	must(t, "", on("domain", "add", "example.org")...)
	must(t, "", on("address", "add", "anna", "anna@example.org")...)
	const ssha = "{SSHA}pMLKbbdlJQCpJjaHsNO2a00yhGPficSQ" // of "Grüße zuhause 7"
	file := filepath.Join(dir, "users")
	lines := []string{
		"# the users of before", "", "bert:" + ssha + ":1000:1000::/home/bert::userdb_mail=maildir:~/Maildir",
		"carl:$6$saltstringsaltst$NTxqV9R2UVvWK2lg05U6SrgdqeX7ftuZEzt8ogT/xIpUkh2nxJRCUCeP54NSjao9.S.hk/1CQ1I8J1D.toeAb0",
		"Anna@Example.org:" + ssha, "dora:x:1:1", "emil:{MD5}secretmd5", "no colon",
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, 1, "line 6: \"dora\" has no hash", on("account", "import", file)...)
	s := startServer(t, data)
	for _, want := range []string{"line 7: ", "line 8: ", "0 accounts made, 2 given the file's password, 1 had one already, 3 lines not taken"} {
		wantCode(t, 1, want, on("account", "import", file)...)
	}
	wantCode(t, 1, "is not one of", on("account", "add", "fred", "--hash", "{MD5}secretmd5")...)
	wantCode(t, 1, "neither", on("account", "passwd", "bert", "--hash", "secretmd5")...)
	must(t, "", on("account", "add", "fred", "--hash", ssha)...)
	column := func(name string) string {
		t.Helper()
		for line := range strings.Lines(must(t, "", on("account", "list")...)) {
			if strings.HasPrefix(line, name+" ") {
				return strings.TrimSpace(line)
			}
		}
		t.Fatalf("no account %s", name)
		return ""
	}
	if line := column("bert"); !strings.Contains(line, "after a login") {
		t.Error(line)
	}
	s.dial(t).do(`LOGIN anna "secret for anna"`)
	for _, name := range []string{"bert", "carl", "fred"} {
		c := s.dial(t)
		if out := c.do(`LOGIN ` + name + " {17+}\r\nGrüße zuhause 7"); !strings.Contains(out, "a OK") {
			t.Error(out)
		}
		if line := column(name); !strings.Contains(line, " yes") {
			t.Error(line)
		}
	}
	// Only who says so changes what people have.
	wantCode(t, 1, "0 given the file's password, 3 had one already", on("account", "import", file)...)
	wantCode(t, 1, "3 given the file's password, 0 had one already", on("account", "import", "--replace", file)...)
	if out := s.dial(t).do("LOGIN anna {17+}\r\nGrüße zuhause 7"); !strings.Contains(out, "a OK") {
		t.Error(out)
	}
}

// FuzzPasswdLine: a name and a hash are taken, or it is said why not, without the
// hash.
func FuzzPasswdLine(f *testing.F) {
	for _, s := range []string{"", "# x", "a:b", "a:{SSHA}x:1:2", ":x", "a", "a:*", "a::", "\x00:\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		name, hash, err := passwdLine(line)
		if err == nil && (name == "") != (hash == "") || err != nil && name+hash != "" {
			t.Errorf("%q: %q, %q, %v", line, name, hash, err)
		}
		if _, rest, _ := strings.Cut(line, ":"); err != nil && len(rest) > 20 && strings.Contains(err.Error(), rest) {
			t.Errorf("%q: %v", line, err)
		}
	})
}
