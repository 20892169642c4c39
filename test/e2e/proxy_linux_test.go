package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestProxy: the address of the header is what decides whether passwords may
// come without TLS, and what log and audit log see; a proxy's TLS counts.
func TestProxy(t *testing.T) {
	t.Parallel()
	n := install(t)
	command(t, n, "secret-enough-1\n", "account", "add", "ann", "--password-stdin")
	n.Env = append(n.Env, "NESTBOX_PROXY_FROM=127.0.5.0/24", "NESTBOX_PLAINTEXT_FROM=192.0.2.0/24 2001:db8::/32")
	s := start(t, n)
	// PROXY, version 2, TCP4, 203.0.113.7, and a field that says that the client
	// speaks TLS with the proxy.
	const tlsHeader = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x14\xcb\x00\x71\x07\xc0\x00\x02\x01\xc4\xec\x00\x8f\x20\x00\x05\x01\x00\x00\x00\x00"
	for _, c := range []struct{ from, header, want string }{
		{"127.0.5.1", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n", "a OK"},
		{"127.0.5.1", "PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "a OK"},
		{"127.0.5.1", "PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n", "a NO [PRIVACYREQUIRED]"},
		{"127.0.5.1", tlsHeader, "a OK"},
		{"127.0.5.1", "PROXY UNKNOWN\r\n", "a OK"}, // the machine itself
		{"127.0.5.1", "", ""}, // closed
		{"127.0.6.1", "PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n", "a OK"}, // nobody's business, and a bad command
	} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}, Timeout: time.Minute}
		conn, err := d.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(conn, "%sa LOGIN ann secret-enough-1\r\n", c.header); err != nil {
			t.Fatal(err)
		}
		line, r := "", bufio.NewReader(conn)
		for err == nil && !strings.HasPrefix(line, "a ") {
			line, err = r.ReadString('\n')
		}
		if c.want == "" && err == nil || !strings.HasPrefix(line, c.want) {
			t.Errorf("%s, %q: %q, %v, want %s", c.from, c.header, line, err, c.want)
		}
		_ = conn.Close()
	}
	var from []string
	for _, e := range audit(t, n, "--event", "login") {
		from = append(from, e.Address)
	}
	if got := fmt.Sprint(from); got != "[192.0.2.7 2001:db8::7 203.0.113.7 127.0.5.1 127.0.6.1]" {
		t.Errorf("audit: %s", got)
	}
	for _, want := range []string{"event=proxy_header_refused", "peer=192.0.2.7:1 account="} {
		if !strings.Contains(s.Log(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}
