package imap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestGreetingAndCapabilities(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.dial()
	caps := strings.Join(c.ok("CAPABILITY"), " ")
	for _, name := range []string{"IMAP4rev1", "IMAP4rev2", "AUTH=PLAIN", "SASL-IR", "LITERAL+", "ID", "ENABLE", "IDLE", "NAMESPACE",
		"UNSELECT", "UIDPLUS", "ESEARCH", "SEARCHRES", "LIST-EXTENDED", "LIST-STATUS", "MOVE", "BINARY", "STATUS=SIZE", "CHILDREN",
		"SPECIAL-USE", "CREATE-SPECIAL-USE"} {
		if !strings.Contains(caps+" ", " "+name+" ") {
			t.Errorf("%s is not announced in %s", name, caps)
		}
	}
	_, status := c.do(`LOGIN ann "` + testPassword + `"`)
	if !strings.HasPrefix(status, "OK [CAPABILITY IMAP4rev1 ") || strings.Contains(status, "AUTH=") {
		t.Errorf("login: %s", status)
	}
	wantLines(t, c.ok("ID NIL"), `"version" "1.0"`)
	wantLines(t, c.ok("NAMESPACE"), `* NAMESPACE (("" "/")) (("Users/" "/")) (("Shared/" "/"))`)
	wantLines(t, c.ok("LOGOUT"), "* BYE")
	if rest := c.gone(); len(rest) > 0 {
		t.Errorf("after LOGOUT: %q", rest)
	}
}

func TestSwitchedOff(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.Off = []string{"IDLE", "NONSENSE"} })
	must(t, b.st.SetExtensions(b.account.ID(), []string{"MOVE"}))
	c := b.dial()
	if caps := c.ok("CAPABILITY"); contains(caps, "IDLE") || !contains(caps, " MOVE") {
		t.Errorf("before login: %q", caps)
	}
	c.ok(`LOGIN ann "` + testPassword + `"`)
	if caps := c.ok("CAPABILITY"); contains(caps, "IDLE") || contains(caps, " MOVE") {
		t.Errorf("after login: %q", caps)
	}
	c.ok("SELECT INBOX")
	c.fails("IDLE", "BAD")
	c.fails("MOVE 1 Sent", "BAD")
	if !strings.Contains(b.log.String(), "NONSENSE") {
		t.Error("an unknown extension is not logged")
	}
}

func TestAuthenticatePlain(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.dial()
	c.fails("AUTHENTICATE PLAIN AGFubgB3cm9uZw==", "NO [AUTHENTICATIONFAILED]")
	c.fails("AUTHENTICATE NTLM", "NO")
	c.fails("AUTHENTICATE PLAIN !!", "BAD")
	tag := c.start("AUTHENTICATE PLAIN")
	if line := c.line(); line != "+ " { // fault G17: not "+ ="
		t.Errorf("challenge %q", line)
	}
	c.send("*\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "BAD") {
		t.Errorf("cancelled: %s", status)
	}
	tag = c.start("AUTHENTICATE PLAIN")
	c.line()
	c.send("AGFubgBvcGVuIHNlc2FtZQ==\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "OK [CAPABILITY") {
		t.Errorf("%s", status)
	}
	c.fails("AUTHENTICATE PLAIN", "BAD")
}

func TestBadCommandsBeforeLogin(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.dial()
	c.send(strings.Repeat("GET / HTTP/1.1\r\n", 20))
	lines := c.gone()
	if len(lines) != maxBadCommands+1 || !strings.HasPrefix(lines[len(lines)-1], "* BYE") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	c = b.login()
	for range 2 * maxBadCommands {
		c.fails("NONSENSE", "BAD")
	}
	c.ok("NOOP")
}

// TestSilence: a client that says nothing is dropped, before the handshake
// (fault G10), before login and after it.
func TestSilence(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) {
		o.TLS = testTLS(t)
		o.HandshakeTimeout, o.LoginIdleTimeout, o.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond, 600*time.Millisecond
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var served sync.WaitGroup
	served.Go(func() { _ = b.srv.Serve(l, true) })
	t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
		t.Errorf("a silent TLS client: %d bytes, %v", n, err)
	}
	if lines := b.dial().gone(); len(lines) != 1 || !strings.HasPrefix(lines[0], "* BYE") {
		t.Errorf("a silent client: %q", lines)
	}
	if lines := b.login().gone(); len(lines) != 1 || !strings.HasPrefix(lines[0], "* BYE") {
		t.Errorf("an idle client: %q", lines)
	}
	c := b.login()
	c.start("IDLE")
	if lines := c.gone(); len(lines) != 2 || !strings.HasPrefix(lines[1], "* BYE") {
		t.Errorf("in IDLE: %q", lines)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.MaxConns = 2 })
	b.dial()
	b.dial()
	conn, err := net.Dial("tcp", b.addr)
	must(t, err)
	defer conn.Close()
	buf := make([]byte, 100)
	n, _ := conn.Read(buf)
	if !strings.HasPrefix(string(buf[:n]), "* BYE [UNAVAILABLE]") {
		t.Errorf("%q", buf[:n])
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	fresh, waiting, idling := b.dial(), b.login(), b.login()
	idling.ok("SELECT INBOX")
	idling.start("IDLE")
	idling.expect("+ ")
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	must(t, b.srv.Shutdown(ctx))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	for _, c := range []*testClient{fresh, waiting, idling} {
		if lines := c.gone(); len(lines) != 1 || !strings.HasPrefix(lines[0], "* BYE") {
			t.Errorf("%q", lines)
		}
	}
}

// testTLS is a configuration with a certificate made on the spot.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"box"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// TestStartTLS: plain text behind STARTTLS never runs.
func TestStartTLS(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.TLS = testTLS(t) })
	c := b.dial()
	wantLines(t, c.ok("CAPABILITY"), " STARTTLS")
	c.send("s1 STARTTLS\r\ns2 CAPABILITY\r\ns3 LOGIN ann injected\r\n")
	c.expect("s1 OK")
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	must(t, secure.Handshake())
	c = newTestClient(t, secure)
	caps := c.ok("CAPABILITY") // an answer to s2 or s3 would come first
	if len(caps) != 1 || contains(caps, "STARTTLS") {
		t.Errorf("%q", caps)
	}
	c.fails("STARTTLS", "BAD")
	c.ok(`LOGIN ann "` + testPassword + `"`)
	c.fails("STARTTLS", "BAD")
}

// TestLoginDisabled: no passwords in clear text from elsewhere.
func TestLoginDisabled(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	server, client := net.Pipe() // has no loopback address
	b.srv.accept(server, false)
	c := newTestClient(t, client)
	c.expect("* OK ")
	if caps := c.ok("CAPABILITY"); !contains(caps, " LOGINDISABLED") || contains(caps, "AUTH=PLAIN") {
		t.Errorf("%q", caps)
	}
	c.fails(`LOGIN ann "`+testPassword+`"`, "NO [PRIVACYREQUIRED]")
	c.fails("AUTHENTICATE PLAIN", "NO [PRIVACYREQUIRED]")
	client.Close()
}
