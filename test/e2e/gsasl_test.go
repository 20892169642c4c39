package e2e

import (
	"strings"
	"testing"
)

// clientGsasl: each mechanism, by GNU SASL's own client half, over TLS 1.2 and
// 1.3.
func clientGsasl(t *testing.T, l login) {
	dir := t.TempDir()
	gsasl := func(priority, mechanism, password string, more ...string) (string, error) {
		args := append([]string{"--imap", "--connect", l.addr, "--starttls", "--x509-ca-file", "", "--priority", priority, "--mechanism", mechanism,
			"--authentication-id", l.user, "--password", password, "--verbose"}, more...)
		return try(t, dir, "gsasl", args...)
	}
	// It takes tls-unique on TLS 1.2, and tls-exporter on 1.3.
	const tls12, tls13 = "NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"
	for _, priority := range []string{tls12, tls13} {
		for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"} {
			var more []string
			if strings.HasPrefix(mechanism, "SCRAM") && !strings.HasSuffix(mechanism, "-PLUS") {
				more = []string{"--no-cb"} // else it says that it could bind channels, and is refused
			}
			out, err := gsasl(priority, mechanism, l.password, more...)
			if err != nil || !strings.Contains(out, "logged in") {
				t.Errorf("%s %s: %v\n%s", priority, mechanism, err, out)
			}
		}
	}
	if out, err := gsasl(tls13, "SCRAM-SHA-256-PLUS", "wrong"); err == nil || !strings.Contains(out, "NO [AUTHENTICATIONFAILED]") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
}
