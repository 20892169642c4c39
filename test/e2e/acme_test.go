package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nestbox/test/rig"
)

// withPebble is an installation called mail.example.org, and a CA that isn't
// started yet. args are what the server wants to know of it; the CA looks for
// it at addr, or by the DNS server at dns.
func withPebble(t *testing.T, dns ...string) (n *rig.Nestbox, p *rig.Pebble, args []string, addr string) {
	t.Helper()
	need(t, rig.PebblePrograms...)
	n = install(t)
	command(t, n, "", "init")
	command(t, n, "", "set", "host_names", "mail.example.org 127.0.0.1")
	if err := n.AddAccount(t.Context(), "anna", "secret"); err != nil {
		t.Fatal(err)
	}
	web, secure, err := rig.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	p = &rig.Pebble{Dir: t.TempDir(), DNS: strings.Join(dns, "")}
	p.HTTPPort, _ = strconv.Atoi(web)
	p.TLSPort, _ = strconv.Atoi(secure)
	if err := p.Prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("pebble's log:\n%s", p.Log())
		}
	})
	return n, p, []string{"--acme", p.Directory, "--acme-root", p.Root}, net.JoinHostPort("127.0.0.1", secure)
}

func startPebble(t *testing.T, p *rig.Pebble) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
}

// awaitServed waits until the server shows a certificate of the CA for
// mail.example.org, other than before.
func awaitServed(t *testing.T, addr string, p *rig.Pebble, before *x509.Certificate) *x509.Certificate {
	t.Helper()
	roots, err := p.Roots()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "mail.example.org"}); err != nil {
			continue
		}
		cert := c.ConnectionState().PeerCertificates[0]
		_ = c.Close()
		if before == nil || !cert.Equal(before) {
			return cert
		}
	}
	t.Fatalf("no new certificate: %v", err)
	return nil
}

// certStatus are the lines of `cert status` for a source.
func certStatus(t *testing.T, n *rig.Nestbox, source string) (lines []certLine) {
	t.Helper()
	var all []certLine
	if err := json.Unmarshal([]byte(command(t, n, "", "cert", "status", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Source == source {
			lines = append(lines, l)
		}
	}
	return lines
}

type certLine struct {
	Names               []string
	Source, Next, Error string
	Ready               bool
}

// TestACMEOwnPort: a certificate over a port that only the CA uses; renewed by
// command and on the CA's advice while a connection stays up; a restart serves
// it at once and asks the CA for nothing.
func TestACMEOwnPort(t *testing.T) {
	t.Parallel()
	n, p, args, addr := withPebble(t)
	startPebble(t, p)
	args = append(args, "--acme-tls", addr)
	s := start(t, n, args...)
	first := awaitServed(t, s.TLSAddr, p, nil)
	if lines := certStatus(t, n, "acme"); len(lines) != 1 || !lines[0].Ready || lines[0].Error != "" || lines[0].Names[0] != "mail.example.org" {
		t.Errorf("%+v", lines)
	}
	c, err := s.Connect("anna", "secret")
	if err != nil {
		t.Fatal(err)
	}
	command(t, n, "", "cert", "renew")
	second := awaitServed(t, s.TLSAddr, p, first)
	if err := p.AdviseRenewal(second); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	third := awaitServed(t, s.TLSAddr, p, second)
	checkAlive(t, c)
	// The address has one of the local CA.
	if servedFingerprint(t, s.TLSAddr) == fmt.Sprintf("%x", sha256.Sum256(third.Raw)) {
		t.Error("a client that asks for no name gets the CA's certificate for a name")
	}
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := strings.Count(p.Log(), "calling handler()")
	s = start(t, n, args...)
	roots, err := p.Roots()
	if err != nil {
		t.Fatal(err)
	}
	again, err := tls.Dial("tcp", s.TLSAddr, &tls.Config{RootCAs: roots, ServerName: "mail.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if cert := again.ConnectionState().PeerCertificates[0]; !cert.Equal(third) {
		t.Error("another certificate after the restart")
	}
	_ = again.Close()
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if now := strings.Count(p.Log(), "calling handler()"); now != asked {
		t.Errorf("the restart asked the CA %d times", now-asked)
	}
}

// TestACMEHTTP: a certificate over the web server, beside its other pages.
func TestACMEHTTP(t *testing.T) {
	t.Parallel()
	n, p, args, _ := withPebble(t)
	startPebble(t, p)
	web := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.HTTPPort))
	s := start(t, n, append(args, "--http", web)...)
	awaitServed(t, s.TLSAddr, p, nil)
	if !strings.Contains(p.Log(), "/.well-known/acme-challenge/") {
		t.Error("pebble didn't ask by HTTP")
	}
	resp, err := http.Get("http://" + web + "/.well-known/acme-challenge/x")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a proof that nobody waits for: %s", resp.Status)
	}
}

// TestACMESharedPort: the CA's handshakes come to the port of IMAP with TLS.
// The CA is away when the server starts: it serves with the local CA at once,
// and goes over to the CA's certificate by itself, without ending connections.
func TestACMESharedPort(t *testing.T) {
	t.Parallel()
	n, p, args, addr := withPebble(t)
	s := start(t, n, append(args, "--imaps", addr)...)
	ca := t.TempDir() + "/ca.pem"
	command(t, n, "", "cert", "ca", "--renew") // for a name that is not of a home
	writeCA(t, n, ca)
	dialVerified(t, addr, ca, "mail.example.org")
	c, err := s.Connect("anna", "secret")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		lines := certStatus(t, n, "acme")
		if len(lines) == 1 && lines[0].Error != "" && strings.Contains(lines[0].Next, "tried again at") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", lines)
		}
	}
	startPebble(t, p)
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitServed(t, addr, p, nil)
	checkAlive(t, c)
	// Who comes as a CA gets nothing else.
	if _, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", NextProtos: []string{"acme-tls/1"}}); err == nil {
		t.Error("a challenge was answered that nobody waits for")
	}
}
