package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sClient is OpenSSL's client with an empty input, told to do everything that
// it can, however weak.
func sClient(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client"}, args...)...)
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestTLSStrength does what testssl.sh does: each version and each suite that
// OpenSSL has is offered alone, at both ports.
func TestTLSStrength(t *testing.T) {
	t.Parallel()
	need(t, "openssl")
	_, s, ca := withCA(t)
	for _, port := range [][]string{{"-connect", s.TLSAddr}, {"-connect", s.Addr, "-starttls", "imap"}} {
		port = append(port, "-CAfile", ca, "-verify_return_error")
		for _, version := range []string{"-tls1", "-tls1_1"} {
			// The alert shows that it was the server who refused.
			if out, err := sClient(t, append(port, version, "-cipher", "ALL:@SECLEVEL=0")...); err == nil || !strings.Contains(out, "alert protocol version") {
				t.Errorf("%s: %v\n%s", version, err, out)
			}
		}
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			out, err := sClient(t, append(port, version, "-cipher", "ALL:@SECLEVEL=0")...)
			if err != nil || !strings.Contains(out, "Compression: NONE") || !strings.Contains(out, "Secure Renegotiation IS") {
				t.Errorf("%s: %v\n%s", version, err, out)
			}
		}
	}
	good := []string{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}
	all, err := exec.CommandContext(t.Context(), "openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	if err != nil {
		t.Fatal(err)
	}
	served, refused := []string{}, 0
	for suite := range strings.SplitSeq(strings.TrimSpace(string(all)), ":") {
		if strings.HasPrefix(suite, "TLS_") { // of 1.3
			continue
		}
		switch out, err := sClient(t, "-connect", s.TLSAddr, "-tls1_2", "-cipher", suite+":@SECLEVEL=0"); {
		case err == nil:
			served = append(served, suite)
		case strings.Contains(out, "alert handshake failure"):
			refused++
		case strings.Contains(out, "no ciphers available"): // it would need more than OpenSSL was given
		default:
			t.Errorf("%s: %v\n%s", suite, err, out)
		}
	}
	slices.Sort(served)
	if !slices.Equal(served, good) || refused < 20 {
		t.Errorf("%d refused; served: %q", refused, served)
	}
}

// TestMinVersion: with min_version = "1.3", TLS 1.2 is refused.
func TestMinVersion(t *testing.T) {
	t.Parallel()
	need(t, "openssl")
	n := install(t)
	command(t, n, "", "init")
	s := start(t, n, "--config", write(t, filepath.Join(t.TempDir(), "n.toml"), "min_version = \"1.3\"\n"))
	if out, err := sClient(t, "-connect", s.TLSAddr, "-tls1_3"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := sClient(t, "-connect", s.TLSAddr, "-tls1_2"); err == nil || !strings.Contains(out, "alert protocol version") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStolenCA: what somebody who has the CA's key issues beyond its limits,
// neither OpenSSL nor NSS takes; within them both do.
func TestStolenCA(t *testing.T) {
	t.Parallel()
	need(t, "openssl", "certutil", "vfychain")
	n := install(t)
	command(t, n, "", "init")
	command(t, n, "", "set", "host_names", "box.local 127.0.0.1")
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	writeCA(t, n, ca)
	write(t, filepath.Join(dir, "stolen.pem"), "%s", command(t, n, "", "cert", "ca", "export"))
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "certutil", "-N", "-d", db, "--empty-password")
	run(t, dir, "certutil", "-A", "-d", db, "-n", "box", "-t", "C,,", "-i", ca)
	for name, inside := range map[string]bool{"DNS:nas.local": true, "IP:192.168.7.7": true, "DNS:www.bank.example": false, "IP:203.0.113.7": false} {
		run(t, dir, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout", "leaf.key", "-out", "leaf.csr")
		write(t, filepath.Join(dir, "ext"), "subjectAltName=%s\nextendedKeyUsage=serverAuth\n", name)
		run(t, dir, "openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "stolen.pem", "-CAkey", "stolen.pem", "-CAcreateserial", "-days", "30", "-extfile", "ext", "-out", "leaf.pem")
		for _, verify := range [][]string{
			{"openssl", "verify", "-purpose", "sslserver", "-CAfile", ca, "leaf.pem"},
			{"vfychain", "-d", db, "-pp", "-u", "1", "-a", "leaf.pem"},
			{"vfychain", "-d", db, "-u", "1", "-a", "leaf.pem"},
		} {
			if out, err := try(t, dir, verify[0], verify[1:]...); (err == nil) != inside {
				t.Errorf("%s: %s: %v\n%s", name, strings.Join(verify, " "), err, out)
			}
		}
	}
}

// TestCAInBackup: a box that is restored has the CA that devices know, and
// serves the certificate of before.
func TestCAInBackup(t *testing.T) {
	t.Parallel()
	n, s, ca := withCA(t)
	before := servedFingerprint(t, s.TLSAddr)
	backup := filepath.Join(t.TempDir(), "backup")
	command(t, n, "", "backup", backup)
	restored := install(t)
	command(t, restored, "", "restore", backup)
	if a, b := command(t, n, "", "cert", "ca", "export"), command(t, restored, "", "cert", "ca", "export"); a != b {
		t.Error("the CA is another one")
	}
	s = start(t, restored)
	if after := dialVerified(t, s.TLSAddr, ca, "box.local"); after != before {
		t.Errorf("it serves %s, before %s", after, before)
	}
}
