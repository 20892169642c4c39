package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"
	"time"
)

// answers is a source that has certificates for some, for all, or an error.
type answers struct {
	own, other *tls.Certificate
	err        error
}

func (a answers) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if a.own == nil {
		return nil, a.err
	}
	return newIndex(a.own).find(hello), a.err
}
func (a answers) Default(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.other, a.err }
func (a answers) Status() []Status                                       { return []Status{{Names: []string{"x"}}} }

func TestConfig(t *testing.T) {
	t.Parallel()
	cert, roots := leafFor(t, "mail.example.org", "127.0.0.1")
	set := NewSet(answers{own: cert, other: cert})
	server := set.Config("1.2", "imap")
	client := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: roots, ServerName: "mail.example.org", NextProtos: []string{"imap"}}
		change(c)
		return c
	}
	for name, change := range map[string]func(*tls.Config){
		"1.3": func(*tls.Config) {}, "no ALPN": func(c *tls.Config) { c.NextProtos = nil },
		"1.2":     func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"address": func(c *tls.Config) { c.ServerName = "127.0.0.1" },
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
		"ACME's ALPN":  func(c *tls.Config) { c.NextProtos = []string{ACMEProtocol} },
		"another name": func(c *tls.Config) { c.ServerName = "other.example.org" },
	} {
		if _, err, _ := handshake(t, server, client(change)); err == nil {
			t.Errorf("%s: the handshake went through", name)
		}
	}
	if _, err, _ := handshake(t, set.Config("1.3"), client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })); err == nil {
		t.Error("min_version 1.3: a handshake of 1.2 went through")
	}
	if _, _, err := handshake(t, NewSet().Config("1.2"), client(func(c *tls.Config) { c.NextProtos = nil })); !errors.Is(err, errNoCertificate) {
		t.Errorf("a handshake without certificate: %v", err)
	}
}

// Tickets resume a session; those of keys that are a week old don't.
func TestTickets(t *testing.T) {
	t.Parallel()
	cert, roots := leafFor(t, "mail.example.org")
	server := NewSet(answers{own: cert}).Config("1.2", "imap")
	now := time.Now()
	server.Time = func() time.Time { return now }
	client := &tls.Config{RootCAs: roots, ServerName: "mail.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, step := range []struct {
		wait    time.Duration
		resumes bool
	}{{0, false}, {time.Hour, true}, {30 * time.Hour, true}, {8 * 24 * time.Hour, false}} {
		now = now.Add(step.wait)
		state, err, _ := handshake(t, server, client)
		if err != nil || state.DidResume != step.resumes {
			t.Errorf("connection %d: resumed %v, %v", i, state.DidResume, err)
		}
	}
}

type challenger struct {
	answers
	proof *tls.Certificate
}

func (c challenger) Challenge(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.proof, nil }

// addrConn is a connection that came to an address.
type addrConn struct {
	net.Conn
	addr string
}

func (c addrConn) LocalAddr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", c.addr)
	return a
}

func TestOrderOfSources(t *testing.T) {
	t.Parallel()
	files, _ := leafFor(t, "mail.example.org")
	wild, _ := leafFor(t, "*.example.net", "a.example.net")
	local, _ := leafFor(t, "box.local", "192.168.1.2", "mail.example.org")
	proof, _ := leafFor(t, "proof")
	set := NewSet(answers{own: files}, challenger{answers{own: wild}, proof}, answers{own: local, other: local})
	for _, c := range []struct {
		sni, at string
		protos  []string
		want    *tls.Certificate
	}{
		{sni: "mail.example.org", want: files},
		{sni: "MAIL.Example.ORG", want: files},
		{sni: "b.example.net", want: wild},
		{sni: "a.b.example.net", want: local},
		{sni: "*.example.net", want: local},
		{sni: "example.net", want: local},
		{sni: "box.local", want: local},
		{sni: "192.168.1.2", at: "10.0.0.1:993", want: local},
		{at: "192.168.1.2:993", want: local},
		{at: "[::ffff:192.168.1.2]:993", want: local},
		{at: "10.9.9.9:993", want: local},
		{sni: "nobody.example.com", want: local},
		{sni: "mail.example.org", protos: []string{ACMEProtocol}, want: proof},
	} {
		hello := &tls.ClientHelloInfo{ServerName: c.sni, SupportedProtos: c.protos, Conn: addrConn{addr: "127.0.0.1:993"}}
		if c.at != "" {
			hello.Conn = addrConn{addr: c.at}
		}
		if got, err := set.Certificate(hello); err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
	if got := len(set.Status()); got != 3 {
		t.Errorf("%d statuses", got)
	}
	acme := &tls.ClientHelloInfo{ServerName: "box.local", SupportedProtos: []string{ACMEProtocol}}
	if cert, err := NewSet(answers{own: local, other: local}).Certificate(acme); err == nil {
		t.Errorf("ACME got %v of the local CA", cert.Leaf.DNSNames)
	}
	bad := errors.New("broken")
	if cert, err := NewSet(answers{err: bad}, answers{other: local}).Certificate(&tls.ClientHelloInfo{}); err != nil || cert != local {
		t.Errorf("a source that fails keeps others from serving: %v, %v", cert, err)
	}
	if _, err := NewSet(answers{err: bad}).Certificate(&tls.ClientHelloInfo{}); !errors.Is(err, bad) {
		t.Error(err)
	}
}

type runner struct {
	answers
	renewed *[]bool
}

func (r runner) Run(ctx context.Context) { <-ctx.Done() }
func (r runner) Renew(force bool) error {
	*r.renewed = append(*r.renewed, force)
	return errors.New("can't")
}

func TestRunAndRenew(t *testing.T) {
	t.Parallel()
	var renewed []bool
	set := NewSet(runner{renewed: &renewed}, answers{}, runner{renewed: &renewed})
	if err := set.Renew(true); err == nil || !slices.Equal(renewed, []bool{true, true}) {
		t.Errorf("%v, %v", renewed, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { set.Run(ctx); close(done) }()
	cancel()
	<-done
}

// FuzzServerName: whatever a client asks for, it gets a certificate, and one
// for a name only if it holds for that name.
func FuzzServerName(f *testing.F) {
	for _, s := range []string{"", "mail.example.org", "*.example.net", "192.168.1.2", "[::1]", "fe80::1%eth0", "a..b", ".", "\x00", "MAIL.example.org."} {
		f.Add(s)
	}
	own, _ := leafFor(f, "mail.example.org", "*.example.net", "192.168.1.2")
	other, _ := leafFor(f, "other")
	set := NewSet(answers{own: own}, answers{other: other})
	f.Fuzz(func(t *testing.T, name string) {
		cert, err := set.Certificate(&tls.ClientHelloInfo{ServerName: name, Conn: addrConn{addr: "127.0.0.1:1"}})
		if err != nil || cert == nil {
			t.Fatal(cert, err)
		}
		if cert == own && isASCII(name) && own.Leaf.VerifyHostname(name) != nil {
			t.Errorf("%q got a certificate of others", name)
		}
	})
}
