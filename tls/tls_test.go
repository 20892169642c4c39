package tls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nestbox/storage"
)

func newStore(t *testing.T) *storage.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open(dir, storage.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	cert, fingerprint, err := SelfSigned(st, []string{"mail.example.org", "192.0.2.1", "fe80::1%eth0", "müller.de", ""})
	if err != nil {
		t.Fatal(err)
	}
	leaf := cert.Leaf
	if !slices.Equal(leaf.DNSNames, []string{"mail.example.org"}) || len(leaf.IPAddresses) != 2 || leaf.Subject.CommonName != "mail.example.org" {
		t.Errorf("names %q, %v, CN %q", leaf.DNSNames, leaf.IPAddresses, leaf.Subject.CommonName)
	}
	if leaf.PublicKeyAlgorithm != x509.ECDSA || leaf.IsCA || time.Until(leaf.NotAfter) < 9*365*24*time.Hour || time.Since(leaf.NotBefore) < 23*time.Hour {
		t.Errorf("key %v, CA %v, from %v to %v", leaf.PublicKeyAlgorithm, leaf.IsCA, leaf.NotBefore, leaf.NotAfter)
	}
	if len(fingerprint) != 32*3-1 || strings.Trim(fingerprint, "0123456789ABCDEF:") != "" {
		t.Errorf("fingerprint %q", fingerprint)
	}
	if _, again, err := SelfSigned(st, []string{"other.example.org"}); err != nil || again != fingerprint {
		t.Errorf("second SelfSigned: %q, %v; the certificate changed by itself", again, err)
	}
}

// One that ends soon is replaced, one that can't be read is not.
func TestSelfSignedRenewed(t *testing.T) {
	t.Parallel()
	st := newStore(t)
	old, err := newSelfSigned([]string{"localhost"}, time.Now().Add(renewBefore-lifetime-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetSecret(selfSignedSecret, old); err != nil {
		t.Fatal(err)
	}
	cert, _, err := SelfSigned(st, nil)
	if err != nil || time.Until(cert.Leaf.NotAfter) < lifetime/2 {
		t.Errorf("SelfSigned: until %v, %v; want a new one", cert.Leaf.NotAfter, err)
	}
	if err := cert.Leaf.VerifyHostname("localhost"); err != nil {
		t.Error(err)
	}
	if err := st.SetSecret(selfSignedSecret, []byte("not PEM")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(st, nil); err == nil {
		t.Error("an unreadable certificate was replaced in silence")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	names := Names()
	for _, want := range []string{"localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(names, want) {
			t.Errorf("Names() = %q, lacks %s", names, want)
		}
	}
	if _, err := newSelfSigned(names, time.Now()); err != nil {
		t.Error(err)
	}
}

// handshake connects over a pipe of loopback and returns both ends' errors.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte("x")) // carries the session ticket with it
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	state = c.ConnectionState()
	conn.Close()
	return state, clientErr, <-done
}

func TestServerConfig(t *testing.T) {
	t.Parallel()
	cert, _, err := SelfSigned(newStore(t), []string{"mail.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	server := ServerConfig(func() *tls.Certificate { return &cert }, "imap")
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	client := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: roots, ServerName: "mail.example.org", NextProtos: []string{"imap"}}
		change(c)
		return c
	}
	for name, change := range map[string]func(*tls.Config){
		"1.3": func(*tls.Config) {}, "no ALPN": func(c *tls.Config) { c.NextProtos = nil },
		"1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
	} {
		state, clientErr, serverErr := handshake(t, server, client(change))
		if clientErr != nil || serverErr != nil {
			t.Errorf("%s: client %v, server %v", name, clientErr, serverErr)
		}
		if name != "no ALPN" && state.NegotiatedProtocol != "imap" {
			t.Errorf("%s: protocol %q", name, state.NegotiatedProtocol)
		}
	}
	for name, change := range map[string]func(*tls.Config){
		"1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"CBC only": func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		},
		"another ALPN": func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		"another name": func(c *tls.Config) { c.ServerName = "other.example.org" },
	} {
		if _, err, _ := handshake(t, server, client(change)); err == nil {
			t.Errorf("%s: the handshake went through", name)
		}
	}
	if _, _, err := handshake(t, ServerConfig(func() *tls.Certificate { return nil }), client(func(*tls.Config) {})); err == nil {
		t.Error("a handshake without certificate went through")
	}
	sessions := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		state, err, _ := handshake(t, server, client(func(c *tls.Config) { c.ClientSessionCache = sessions }))
		if err != nil || state.DidResume != (i == 1) {
			t.Errorf("connection %d: resumed %v, %v", i, state.DidResume, err)
		}
	}
}
