package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCertificateFiles: a certificate that something else gets is served, is
// read again when it changes, and gives way to the local CA when it is gone
// from the configuration.
func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	need(t, "openssl", "curl")
	n := install(t)
	dir := t.TempDir()
	openssl := func(name string) {
		run(t, dir, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
			"-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name, "-keyout", "new.key", "-out", "new.pem")
		for _, f := range []string{"key", "pem"} {
			if err := os.Rename(filepath.Join(dir, "new."+f), filepath.Join(dir, "mail."+f)); err != nil {
				t.Fatal(err)
			}
		}
	}
	openssl("mail.example.org")
	command(t, n, "", "init")
	command(t, n, "", "set", "host_names", "box.local 127.0.0.1")
	if err := n.AddAccount(t.Context(), "anna", "secret"); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "n.toml")
	write(t, config, "certificate_files = [%q]\nkey_files = [%q]\n", filepath.Join(dir, "mail.pem"), filepath.Join(dir, "mail.key"))
	s := start(t, n, "--config", config)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeCA(t, n, ca)
	_, port, _ := strings.Cut(s.TLSAddr, ":")
	verified := func(ca, name string) error {
		_, err := try(t, dir, "curl", "-sS", "--user", "anna:secret", "--connect-to", "::127.0.0.1:"+port, "--cacert", ca, "imaps://"+name+":"+port+"/")
		return err
	}
	for name, ca := range map[string]string{"mail.example.org": filepath.Join(dir, "mail.pem"), "box.local": ca, "127.0.0.1": ca} {
		if err := verified(ca, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := s.Connect("anna", "secret")
	if err != nil {
		t.Fatal(err)
	}
	openssl("imap.example.org")
	reload(t, s, `names=imap.example.org`)
	if err := verified(filepath.Join(dir, "mail.pem"), "imap.example.org"); err != nil {
		t.Errorf("after the change: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "mail.key")); err != nil {
		t.Fatal(err)
	}
	reload(t, s, "event=certificate_failed")
	if out := command(t, n, "", "cert", "status"); !strings.Contains(out, "no such file") {
		t.Errorf("cert status:\n%s", out)
	}
	if err := verified(filepath.Join(dir, "mail.pem"), "imap.example.org"); err != nil {
		t.Errorf("without the key's file: %v", err)
	}
	write(t, config, "log_level = \"info\"\n")
	reload(t, s, "event=config_reloaded")
	if verified(filepath.Join(dir, "mail.pem"), "imap.example.org") == nil {
		t.Error("the file is still served")
	}
	checkAlive(t, c)
}
