package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

// withCA is a server called box.local, with an account, and the file of its CA.
func withCA(t *testing.T) (n *rig.Nestbox, s *rig.Server, ca string) {
	t.Helper()
	n = install(t)
	command(t, n, "", "init")
	command(t, n, "", "set", "host_names", "box.local localhost 127.0.0.1")
	if err := n.AddAccount(t.Context(), "anna", "secret"); err != nil {
		t.Fatal(err)
	}
	s = start(t, n)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	writeCA(t, n, ca)
	return n, s, ca
}

func writeCA(t *testing.T, n *rig.Nestbox, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(command(t, n, "", "cert", "ca")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLocalCA: programs that have the CA connect without a warning, by name
// and by address; those that haven't, or ask for another name, don't.
func TestLocalCA(t *testing.T) {
	t.Parallel()
	need(t, "openssl", "curl", "python3")
	_, s, ca := withCA(t)
	_, port, _ := strings.Cut(s.TLSAddr, ":")
	_, plain, _ := strings.Cut(s.Addr, ":")
	python := `import imaplib,ssl,sys
c=imaplib.IMAP4_SSL("127.0.0.1",int(sys.argv[2]),ssl_context=ssl.create_default_context(cafile=sys.argv[1]))
c.login("anna","secret");c.logout()`
	pythonByName := `import socket,ssl,sys
c=ssl.create_default_context(cafile=sys.argv[1]).wrap_socket(socket.create_connection(("127.0.0.1",int(sys.argv[2]))),server_hostname=sys.argv[3])
c.recv(100);c.close()`
	client := func(extra ...string) []string {
		return append([]string{"openssl", "s_client", "-connect", s.TLSAddr, "-verify_return_error", "-brief"}, extra...)
	}
	curl := []string{"curl", "-sS", "--user", "anna:secret", "--connect-to", "::127.0.0.1:" + port}
	for _, c := range []struct {
		good bool
		args []string
	}{
		{true, client("-CAfile", ca, "-verify_hostname", "box.local", "-servername", "box.local")},
		{true, client("-CAfile", ca, "-verify_ip", "127.0.0.1", "-noservername")},
		{true, client("-CAfile", ca, "-alpn", "imap", "-tls1_2")},
		{true, []string{"openssl", "s_client", "-connect", s.Addr, "-starttls", "imap", "-CAfile", ca, "-verify_return_error", "-verify_hostname", "box.local"}},
		{true, append(curl, "--cacert", ca, "imaps://box.local:"+port+"/")},
		{true, append(curl, "--cacert", ca, "imaps://127.0.0.1:"+port+"/")},
		{true, []string{"curl", "-sS", "--user", "anna:secret", "--ssl-reqd", "--cacert", ca, "imap://127.0.0.1:" + plain + "/"}},
		{true, []string{"python3", "-c", python, ca, port}},
		{true, []string{"python3", "-c", pythonByName, ca, port, "box.local"}},
		{false, []string{"python3", "-c", pythonByName, ca, port, "other.local"}},
		{false, client("-verify_hostname", "box.local")},
		{false, client("-CAfile", ca, "-verify_hostname", "other.local")},
		{false, client("-CAfile", ca, "-alpn", "http/1.1")},
		{false, append(curl, "imaps://box.local:"+port+"/")},
		{false, append(curl, "--cacert", ca, "imaps://other.local:"+port+"/")},
	} {
		cmd := exec.CommandContext(t.Context(), c.args[0], c.args[1:]...)
		cmd.Stdin = strings.NewReader("")
		if out, err := cmd.CombinedOutput(); (err == nil) != c.good {
			t.Errorf("%s: %v\n%s", strings.Join(c.args, " "), err, out)
		}
	}
}

// TestLocalCAOfMbsync: mbsync, which knows names only, has the CA as
// CertificateFile.
func TestLocalCAOfMbsync(t *testing.T) {
	t.Parallel()
	need(t, "mbsync")
	_, s, ca := withCA(t)
	_, port, _ := strings.Cut(s.TLSAddr, ":")
	dir := t.TempDir()
	near := filepath.Join(dir, "near")
	rc := mbsyncConfigOf(t, dir, near, port, "anna", "secret", ca)
	run(t, dir, "mbsync", "-c", rc, "-a")
	if _, err := os.Stat(filepath.Join(near, "INBOX")); err != nil {
		t.Error(err)
	}
}

// TestLocalCAOfNSS: the library of Firefox, Thunderbird and Chromium trusts the
// box once it has the CA, by its name only.
func TestLocalCAOfNSS(t *testing.T) {
	t.Parallel()
	need(t, "certutil", "tstclnt", "vfychain", "openssl")
	_, s, ca := withCA(t)
	host, port, _ := strings.Cut(s.TLSAddr, ":")
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	leaf := write(t, filepath.Join(dir, "leaf.pem"), run(t, dir, "sh", "-c", "openssl s_client -connect "+s.TLSAddr+" </dev/null 2>/dev/null | openssl x509"))
	run(t, dir, "certutil", "-N", "-d", db, "--empty-password")
	run(t, dir, "certutil", "-A", "-d", db, "-n", "leaf", "-t", ",,", "-i", leaf)
	if out, err := try(t, dir, "certutil", "-V", "-d", db, "-n", "leaf", "-u", "V"); err == nil {
		t.Errorf("without the CA:\n%s", out)
	}
	run(t, dir, "certutil", "-A", "-d", db, "-n", "box", "-t", "C,,", "-i", ca)
	run(t, dir, "certutil", "-V", "-d", db, "-n", "leaf", "-u", "V")
	run(t, dir, "vfychain", "-d", db, "-pp", "-u", "1", "-a", leaf)
	typed := write(t, filepath.Join(dir, "typed"), "\n")
	connect := func(name string) (string, error) { // exec: who kills it kills tstclnt
		return try(t, dir, "sh", "-c", "exec <"+typed+" tstclnt -Q -d "+db+" -h "+host+" -p "+port+" -a "+name)
	}
	if out, err := connect("box.local"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := connect("other.local"); err == nil || !strings.Contains(out, "BAD_CERT_DOMAIN") {
		t.Errorf("by another name: %v\n%s", err, out)
	}
}

// TestNoRenegotiation: OpenSSL's R is refused.
func TestNoRenegotiation(t *testing.T) {
	t.Parallel()
	need(t, "openssl")
	_, s, ca := withCA(t)
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", s.TLSAddr, "-tls1_2", "-CAfile", ca)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := new(rig.Log)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the greeting", func() bool { return strings.Contains(out.String(), "* OK") })
	if _, err := io.WriteString(in, "R\n"); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "RENEGOTIATING") || !strings.Contains(out.String(), "alert") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCertificateSwapped: a connection that is up stays when the certificate
// changes; the next one gets the new one. A new CA is another one.
func TestCertificateSwapped(t *testing.T) {
	t.Parallel()
	n, s, ca := withCA(t)
	before := servedFingerprint(t, s.TLSAddr)
	c, err := s.Connect("anna", "secret")
	if err != nil {
		t.Fatal(err)
	}
	command(t, n, "", "cert", "renew")
	second := servedFingerprint(t, s.TLSAddr)
	command(t, n, "", "set", "host_names", "nas.lan 127.0.0.1")
	third := dialVerified(t, s.TLSAddr, ca, "nas.lan")
	if second == before || third == second {
		t.Errorf("the certificate didn't change: %s, %s, %s", before, second, third)
	}
	command(t, n, "", "set", "host_names", "nas.lan mail.example.org")
	var all []struct{ Names, Next, Error any }
	if err := json.Unmarshal([]byte(command(t, n, "", "cert", "status", "--json")), &all); err != nil || len(all) != 2 || all[1].Error == nil {
		t.Errorf("%v: %v", err, all)
	}
	command(t, n, "", "cert", "ca", "--renew")
	writeCA(t, n, ca)
	dialVerified(t, s.TLSAddr, ca, "mail.example.org")
	// It moves to another box with its key.
	key := command(t, n, "", "cert", "ca", "export")
	other := install(t)
	command(t, other, "", "init")
	command(t, other, key, "cert", "ca", "import", "-")
	if a, b := command(t, n, "", "cert", "ca"), command(t, other, "", "cert", "ca"); a != b || strings.Contains(a, "PRIVATE") {
		t.Errorf("the CA did not move:\n%s%s", a, b)
	}
	checkAlive(t, c)
}

func checkAlive(t *testing.T, c *raw.Conn) {
	t.Helper()
	if err := c.Do("NOOP", nil); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
}

// dialVerified connects as somebody who installed the CA.
func dialVerified(t *testing.T, addr, ca, name string) (fingerprint string) {
	t.Helper()
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return servedFingerprint(t, addr)
}

// TestCertificateInContainer: there the box guesses nothing, and says what to
// set; then it is done.
func TestCertificateInContainer(t *testing.T) {
	t.Parallel()
	n := install(t)
	n.Env = []string{"container=podman"}
	command(t, n, "", "init")
	s := start(t, n)
	type status struct {
		Names []string
		Next  string
	}
	certificate := func() (all []status) {
		if err := json.Unmarshal([]byte(command(t, n, "", "cert", "status", "--json")), &all); err != nil || len(all) != 1 {
			t.Fatalf("%v: %+v", err, all)
		}
		return all
	}
	if all := certificate(); !slices.Equal(all[0].Names, []string{"localhost", "127.0.0.1", "::1"}) || !strings.Contains(all[0].Next, "nestbox set host_names") {
		t.Errorf("nothing set: %+v", all)
	}
	command(t, n, "", "set", "host_names", "mail.lan 192.168.1.2")
	if all := certificate(); !slices.Equal(all[0].Names, []string{"mail.lan", "192.168.1.2"}) || strings.Contains(all[0].Next, "host_names") {
		t.Errorf("set: %+v", all)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeCA(t, n, ca)
	dialVerified(t, s.TLSAddr, ca, "192.168.1.2")
}
