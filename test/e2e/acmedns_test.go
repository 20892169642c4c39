package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nestbox/test/rig"
)

// tsigSecret is that of the key "nestbox." of a knot.
const tsigSecret = "c2VjcmV0IG9mIGEgdGVzdCwgMzIgYnl0ZXMgbG9uZyE="

// startKnot starts a real DNS server with the zone example.org, which the key
// may update. It returns its address and its control socket.
func startKnot(t *testing.T) (addr, control string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "knot") // the socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	port, _, err := rig.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	addr, control = net.JoinHostPort("127.0.0.1", port), filepath.Join(dir, "knot.sock")
	write(t, filepath.Join(dir, "example.org.zone"), `$ORIGIN example.org.
@ 60 SOA ns.example.org. hostmaster.example.org. 1 3600 600 86400 60
@ 60 NS ns.example.org.
ns 60 A 127.0.0.1
mail 60 A 127.0.0.1
`)
	conf := write(t, filepath.Join(dir, "knot.conf"), `server:
    rundir: %[1]q
    listen: "127.0.0.1@%[2]s"
control:
    listen: %[3]q
database:
    storage: %[1]q
key:
  - id: nestbox.
    algorithm: hmac-sha256
    secret: %[4]s
acl:
  - id: update
    key: nestbox.
    action: update
zone:
  - domain: example.org
    storage: %[1]q
    file: example.org.zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
    acl: update
`, dir, port, control, tsigSecret)
	log := new(rig.Log)
	cmd := exec.Command("knotd", "-c", conf)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("knot's log:\n%s", log)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if exec.Command("knotc", "-s", control, "zone-read", "example.org").Run() == nil {
			return addr, control
		}
		if time.Now().After(deadline) {
			t.Fatal("knot doesn't answer")
		}
	}
}

// TestACMEDNS: a certificate with nothing but a record in the DNS, which is
// gone afterwards: by dynamic update, and by a program of the administrator's,
// which a server under Landlock can still run.
func TestACMEDNS(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"rfc2136", "exec"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			need(t, "knotd", "knotc")
			addr, control := startKnot(t)
			n, p, args, _ := withPebble(t, addr)
			startPebble(t, p)
			dir := t.TempDir()
			file := write(t, filepath.Join(dir, "dns"), "# the key may update example.org\nserver = %s\nkey = nestbox\nsecret = %s\nresolvers = %s\nwait = 20s\n",
				addr, tsigSecret, addr)
			hook := write(t, filepath.Join(dir, "hook.sh"), `#!/bin/sh
set -e
echo "$1 $2" >>%[2]q
knotc="knotc -s %[1]s"
$knotc zone-begin example.org
case $1 in
present) $knotc zone-set example.org "$2." 60 TXT "$3" ;;
cleanup) $knotc zone-unset example.org "$2." TXT "$3" ;;
esac
$knotc zone-commit example.org
`, control, filepath.Join(dir, "ran"))
			if err := os.Chmod(hook, 0o700); err != nil {
				t.Fatal(err)
			}
			s := start(t, n, append(args, "--acme-dns", provider, "--acme-dns-file", file, "--acme-dns-hook", hook, "--log-level", "debug")...)
			awaitServed(t, s.TLSAddr, p, nil)
			if strings.Contains(s.Log(), tsigSecret) {
				t.Error("the log has the key's secret")
			}
			zone, err := exec.Command("knotc", "-s", control, "zone-read", "example.org").CombinedOutput()
			if err != nil || strings.Contains(string(zone), "_acme-challenge") {
				t.Errorf("the record is left in the zone: %v\n%s", err, zone)
			}
			ran, err := os.ReadFile(filepath.Join(dir, "ran"))
			want := ""
			if provider == "exec" {
				want = fmt.Sprintf("present %[1]s\ncleanup %[1]s\n", "_acme-challenge.mail.example.org")
			}
			if string(ran) != want {
				t.Errorf("the hook ran as %q, %v", ran, err)
			}
		})
	}
}
