package e2e

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"nestbox/test/rig"
)

var machines = flag.Bool("machines", os.Getenv("CI") == "true", "build for other machines and run that too: a minute when nothing is built yet")

// TestOtherMachines: the binaries for small machines, under emulation, through
// start, import, login and FETCH.
func TestOtherMachines(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	if !*machines {
		t.Skip("takes long without a warm build cache; go test -machines, or CI=true")
	}
	for _, m := range []struct {
		name, runner string
		env          []string
	}{
		{"armv7", "qemu-arm-static", []string{"GOARCH=arm", "GOARM=7"}},
		{"mipsle", "qemu-mipsel-static", []string{"GOARCH=mipsle", "GOMIPS=softfloat"}},
		{"386", "", []string{"GOARCH=386"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			n := install(t)
			if m.runner != "" {
				need(t, m.runner)
				n.Runner = []string{m.runner}
			} else if runtime.GOARCH != "amd64" {
				t.Skip("no machine for it")
			}
			binary, err := rig.Build(t.TempDir(), m.env...)
			if err != nil {
				t.Fatal(err)
			}
			n.Binary, n.StartTime = binary, time.Minute
			smallMachine(t, n)
		})
	}
}

func smallMachine(t *testing.T, n *rig.Nestbox) {
	command(t, n, "", "init")
	command(t, n, "secret\n", "account", "add", "ann", "--password-stdin")
	tree := filepath.Join(t.TempDir(), "maildir")
	makeMaildir(t, tree)
	all := mails()
	for i, m := range all {
		deliver(t, tree, "1700000000."+string(rune('a'+i))+".host", m)
	}
	command(t, n, "", "import", "--account", "ann", tree)
	s := start(t, n)
	c := login{addr: s.Addr, user: "ann", password: "secret"}.connect(t)
	same(t, "INBOX", contents(t, c, "INBOX"), all)
	if err := c.Append("INBOX", `(\Flagged) `, []byte("Subject: appended\r\n\r\nhere\r\n")); err != nil {
		t.Error(err)
	}
	if f := flags(t, c, "INBOX"); f["appended"] != `\Flagged` || len(f) != len(all)+1 {
		t.Errorf("flags: %q", f)
	}
	var found string
	if err := c.Do("SEARCH BODY xylophone", func(line []byte) { found += string(line) }); err != nil || len(strings.Fields(found)) != 3 {
		t.Errorf("search: %q, %v", found, err)
	}
	if out, err := exec.Command("file", "-b", n.Binary).Output(); err == nil {
		t.Logf("%s", out)
	}
}
