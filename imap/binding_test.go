package imap

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"testing"

	"nestbox/auth"
)

// startTLS is a client with TLS of a version.
func (b *testBox) startTLS(version uint16) (*testClient, *tls.Conn) {
	b.t.Helper()
	c := b.dial()
	c.send("s1 STARTTLS\r\n")
	c.expect("s1 OK")
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	must(b.t, secure.Handshake())
	return newTestClient(b.t, secure), secure
}

// bindings are what a client sees of its connection (RFC 9266 §4, RFC 5929 §4).
func bindings(t *testing.T, secure *tls.Conn) map[string]string {
	t.Helper()
	state := secure.ConnectionState()
	exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	must(t, err)
	leaf := sha256.Sum256(state.PeerCertificates[0].Raw)
	all := map[string]string{"tls-exporter": string(exported), "tls-server-end-point": string(leaf[:])}
	if state.Version == tls.VersionTLS12 {
		all["tls-unique"] = string(state.TLSUnique)
	}
	return all
}

// scramLogin is a client's whole exchange, written from RFC 5802 §3; it returns the
// tagged line.
func (c *testClient) scramLogin(mechanism, header, binding, login, password string) string {
	c.t.Helper()
	h, size := sha256.New, sha256.Size
	if strings.Contains(mechanism, "SHA-1") {
		h, size = sha1.New, sha1.Size
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(func() hash.Hash { return h() }, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	bare := "n=" + login + ",r=fyko+d2lbbFgONRv9qkxdawL"
	tag := c.start("AUTHENTICATE " + mechanism + " " + b64(header+bare))
	line := c.line()
	if !strings.HasPrefix(line, "+ ") {
		return strings.TrimPrefix(line, tag+" ")
	}
	first, err := base64.StdEncoding.DecodeString(line[2:])
	must(c.t, err)
	var iterations int
	fields := strings.Split(string(first), ",")
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[1], "s="))
	must(c.t, err)
	_, err = fmt.Sscanf(fields[2], "i=%d", &iterations)
	must(c.t, err)
	salted, err := pbkdf2.Key(h, password, salt, iterations, size)
	must(c.t, err)
	without := "c=" + b64(header+binding) + "," + fields[0]
	text := bare + "," + string(first) + "," + without
	key := mac(salted, "Client Key")
	stored := h()
	stored.Write(key)
	for i, x := range mac(stored.Sum(nil), text) {
		key[i] ^= x
	}
	c.send(b64(without+",p="+b64(string(key))) + "\r\n")
	if line = c.line(); !strings.HasPrefix(line, "+ ") {
		return strings.TrimPrefix(line, tag+" ")
	}
	if line != "+ "+b64("v="+b64(string(mac(mac(salted, "Server Key"), text)))) {
		c.t.Errorf("%s: the server doesn't prove itself: %q", mechanism, line)
	}
	c.send("\r\n")
	_, status := c.finish(tag)
	return status
}

// TestScramPlus: both bindings over both versions of TLS; and who sits between
// client and server, or takes -PLUS out of what the server announces, gets nothing.
func TestScramPlus(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.TLS = testTLS(t) })
	must(t, auth.SetPassword(b.st, b.account.ID(), testPassword)) // with a verifier for SHA-1
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, mechanism := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"} {
			c, secure := b.startTLS(version)
			if caps := c.ok("CAPABILITY"); !contains(caps, " AUTH="+mechanism+" ") {
				t.Fatalf("%q", caps)
			}
			_, other := b.startTLS(version)
			for name, binding := range bindings(t, secure) {
				status := c.scramLogin(mechanism, "p="+name+",,", binding, "ann", testPassword)
				if !strings.HasPrefix(status, "OK") {
					t.Fatalf("TLS %x %s %s: %s", version, mechanism, name, status)
				}
				c.ok("UNAUTHENTICATE")
				c.fails("SELECT INBOX", "BAD")
				c.fails("AUTHENTICATE "+mechanism+" "+b64("n,,n=ann,r=x"), "BAD")
			}
			plain := strings.TrimSuffix(mechanism, "-PLUS")
			c.fails("AUTHENTICATE "+mechanism+" "+b64("p=tls-other,,n=ann,r=x"), "BAD")
			if status := c.scramLogin(plain, "n,,", "", "ann", testPassword); !strings.HasPrefix(status, "OK") {
				t.Errorf("TLS %x %s: %s", version, plain, status)
			}
			c.ok("UNAUTHENTICATE")
			if (version == tls.VersionTLS12) == (plain == "SCRAM-SHA-1") {
				continue // more failures than these would be slowed down
			}
			// The man in the middle has another connection to the server than the client has.
			if status := c.scramLogin(mechanism, "p=tls-exporter,,", bindings(t, other)["tls-exporter"], "ann", testPassword); !strings.HasPrefix(status, "NO [AUTHENTICATIONFAILED]") {
				t.Errorf("TLS %x %s, binding of another connection: %s", version, mechanism, status)
			}
			if status := c.scramLogin(plain, "y,,", "", "ann", testPassword); !strings.HasPrefix(status, "NO [AUTHENTICATIONFAILED]") {
				t.Errorf("TLS %x, a client that was told there is no %s: %s", version, mechanism, status)
			}
		}
	}
	// Without TLS there is nothing to bind to, and "y" is true.
	c := b.dial()
	c.fails("AUTHENTICATE SCRAM-SHA-256-PLUS "+b64("p=tls-exporter,,n=ann,r=x"), "NO")
	if status := c.scramLogin("SCRAM-SHA-1", "y,,", "", "ann", testPassword); !strings.HasPrefix(status, "OK") {
		t.Errorf("without TLS: %s", status)
	}
}
