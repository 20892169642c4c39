package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// TestManInTheMiddle: somebody in between with a certificate that the client
// took relays all that both say. The password is not his, and neither is the
// session: with channel binding the server sees that the client speaks with
// somebody else, and a client that was made believe there is none is refused
// (RFC 5802 §6).
func TestManInTheMiddle(t *testing.T) {
	t.Parallel()
	need(t, "gsasl")
	n := install(t)
	command(t, n, "", "init")
	if err := n.AddAccount(t.Context(), "anna", "secret"); err != nil {
		t.Fatal(err)
	}
	s := start(t, n)
	gsasl := func(addr string, args ...string) (string, error) {
		return try(t, t.TempDir(), "gsasl", append([]string{"--imap", "--connect", addr, "--starttls", "--x509-ca-file", "",
			"--authentication-id", "anna", "--password", "secret", "--verbose"}, args...)...)
	}
	for _, priority := range []string{"NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"} {
		plus := []string{"--priority", priority, "--mechanism", "SCRAM-SHA-256-PLUS"}
		if out, err := gsasl(s.Addr, plus...); err != nil {
			t.Errorf("%s, nobody in between: %v\n%s", priority, err, out)
		}
		between := interpose(t, s.Addr)
		if out, err := gsasl(between, plus...); err == nil || strings.Contains(out, "logged in") {
			t.Errorf("%s, relayed: %v\n%s", priority, err, out)
		}
		// The client can bind, and was not offered it: GS2's "y".
		if out, err := gsasl(between, "--priority", priority, "--mechanism", "SCRAM-SHA-256"); err == nil || strings.Contains(out, "logged in") {
			t.Errorf("%s, stripped: %v\n%s", priority, err, out)
		}
	}
	if log := s.Log(); !strings.Contains(log, "reason=channel_binding") {
		t.Error("the log doesn't say so")
	}
}

// interpose listens for clients, does STARTTLS with them and with the server,
// and relays what is said within.
func interpose(t *testing.T, server string) (addr string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go relay(client, server, config)
		}
	}()
	return l.Addr().String()
}

// relay ends when one side does.
func relay(client net.Conn, server string, config *tls.Config) {
	defer client.Close()
	far, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer far.Close()
	said, answered := bufio.NewReader(client), bufio.NewReader(far)
	line, err := answered.ReadString('\n') // the greeting
	for secure := false; err == nil && !secure; {
		_, _ = io.WriteString(client, line)
		var command string
		if command, err = said.ReadString('\n'); err != nil {
			return
		}
		tag, _, _ := strings.Cut(command, " ")
		secure = strings.Contains(strings.ToUpper(command), "STARTTLS")
		_, _ = io.WriteString(far, command)
		for line, err = answered.ReadString('\n'); err == nil && !strings.HasPrefix(line, tag+" "); line, err = answered.ReadString('\n') {
			_, _ = io.WriteString(client, line)
		}
	}
	_, _ = io.WriteString(client, line)
	near, upstream := tls.Server(client, config), tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	go func() { _, _ = io.Copy(upstream, near); _ = far.Close() }()
	_, _ = io.Copy(near, upstream)
}
