package imap

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// scramFinal is a client's last message and the signature it wants to see,
// written from RFC 5802 §3.
func scramFinal(t *testing.T, header, password, bare, challenge string) (final, signature string) {
	t.Helper()
	first, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(challenge, "+ "))
	if err != nil {
		t.Fatalf("challenge %q: %v", challenge, err)
	}
	var iterations int
	fields := strings.Split(string(first), ",")
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(fields[1], "s="))
	must(t, err)
	_, err = fmt.Sscanf(fields[2], "i=%d", &iterations)
	must(t, err)
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	must(t, err)
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	without := "c=" + b64(header) + "," + fields[0]
	text := bare + "," + string(first) + "," + without
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	for i, x := range mac(stored[:], text) {
		key[i] ^= x
	}
	return without + ",p=" + b64(string(key)), "v=" + b64(string(mac(mac(salted, "Server Key"), text)))
}

func TestAuthenticateScram(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.dial()
	if caps := c.ok("CAPABILITY"); !contains(caps, "AUTH=SCRAM-SHA-256 ") || contains(caps, "-PLUS") || contains(caps, "AUTH=LOGIN") {
		t.Errorf("%q", caps)
	}
	const bare = "n=ann,r=fyko+d2lbbFgONRv9qkxdawL"
	for _, password := range []string{"wrong", testPassword} {
		tag := c.start("AUTHENTICATE SCRAM-SHA-256")
		if line := c.line(); line != "+ " {
			t.Errorf("challenge %q", line)
		}
		c.send(b64("n,,"+bare) + "\r\n")
		final, signature := scramFinal(t, "n,,", password, bare, c.line())
		c.send(b64(final) + "\r\n")
		if password == "wrong" {
			if _, status := c.finish(tag); !strings.HasPrefix(status, "NO [AUTHENTICATIONFAILED]") {
				t.Errorf("wrong password: %s", status)
			}
			c.fails("SELECT INBOX", "BAD")
			continue
		}
		if line := c.line(); line != "+ "+b64(signature) {
			t.Errorf("the server doesn't prove itself: %q", line)
		}
		c.send("\r\n")
		if _, status := c.finish(tag); !strings.HasPrefix(status, "OK [CAPABILITY") || strings.Contains(status, "AUTH=") {
			t.Errorf("good password: %s", status)
		}
	}
	c.ok("SELECT INBOX")
}

// TestScramGivenUp: who doesn't take the server's proof isn't logged in.
func TestScramGivenUp(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.dial()
	const bare = "n=ann,r=fyko+d2lbbFgONRv9qkxdawL"
	for _, last := range []string{"*", b64("more")} {
		tag := c.start("AUTHENTICATE SCRAM-SHA-256 " + b64("n,,"+bare))
		final, _ := scramFinal(t, "n,,", testPassword, bare, c.line())
		c.send(b64(final) + "\r\n")
		c.line()
		c.send(last + "\r\n")
		if _, status := c.finish(tag); !strings.HasPrefix(status, "BAD") {
			t.Errorf("%q: %s", last, status)
		}
		c.fails("SELECT INBOX", "BAD")
	}
	// Whether one may act for another is told to who knows the password.
	for password, want := range map[string]string{"wrong": "NO [AUTHENTICATIONFAILED]", testPassword: "NO [AUTHORIZATIONFAILED]"} {
		tag := c.start("AUTHENTICATE SCRAM-SHA-256 " + b64("n,a=zoe,"+bare))
		final, _ := scramFinal(t, "n,a=zoe,", password, bare, c.line())
		c.send(b64(final) + "\r\n")
		if _, status := c.finish(tag); !strings.HasPrefix(status, want) {
			t.Errorf("%s: %s", password, status)
		}
	}
	c.fails("AUTHENTICATE SCRAM-SHA-256 "+b64("p=tls-exporter,,n=ann,r=x"), "BAD")
	c.ok(`LOGIN ann "` + testPassword + `"`)
}
