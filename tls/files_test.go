package tls

import (
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pemOf are a new certificate for names with its chain, and its key.
func pemOf(t *testing.T, from time.Time, names ...string) (cert, key string) {
	t.Helper()
	a, err := newAuthority("box", false, nil, from, from)
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.issue(names, from)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), "-----BEGIN PRIVATE KEY")
	return string(text[:at]), string(text[at:])
}

// putFile takes the place of a file, as those do who write certificates.
func putFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	clock := &testTime{wall: built.AddDate(0, 1, 0)}
	st := newStore(t, clock)
	dir := t.TempDir()
	mail, key, both := filepath.Join(dir, "mail.pem"), filepath.Join(dir, "mail.key"), filepath.Join(dir, "both.pem")
	certs, keys := []string{mail}, []string{key}
	f := NewFiles(st, slog.New(slog.DiscardHandler), func() ([]string, []string) { return certs, keys })
	served := func(name string) *tls.Certificate {
		t.Helper()
		f.Look()
		cert, err := f.Certificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	problem := func(i int, want string) {
		t.Helper()
		all := f.Status()
		if len(all) != len(certs) || (want == "") != (all[i].Error == "") || !strings.Contains(all[i].Error, want) || all[i].Next == "" {
			t.Errorf("status %+v, want the error %q", all, want)
		}
	}
	if served("mail.example.org") != nil {
		t.Error("a certificate from no file")
	}
	problem(0, "no such file")

	cert1, key1 := pemOf(t, clock.wall, "mail.example.org", "*.sub.example.org", "192.0.2.1")
	putFile(t, mail, cert1)
	if served("mail.example.org") != nil {
		t.Error("a certificate without key")
	}
	problem(0, "its key is in none of the files")
	putFile(t, key, key1)
	first := served("mail.example.org")
	if first == nil || len(first.Certificate) != 2 || served("a.sub.example.org") != first || served("192.0.2.1") != first || served("example.org") != nil {
		t.Fatalf("%v", first)
	}
	problem(0, "")
	if d, _ := f.Default(&tls.ClientHelloInfo{}); d != first {
		t.Error("no default")
	}

	// Who renews it writes two files: until both are there, the old one stays.
	cert2, key2 := pemOf(t, clock.wall, "mail.example.org")
	putFile(t, mail, cert2)
	if served("mail.example.org") != first {
		t.Error("between two files the old certificate is gone")
	}
	problem(0, "its key")
	putFile(t, key, key2)
	if now := served("mail.example.org"); now == nil || now == first {
		t.Error("the new certificate isn't served")
	}
	problem(0, "")

	// Another file, with its key in it; the first keeps its names.
	cert3, key3 := pemOf(t, clock.wall, "mail.example.org", "other.example.org")
	putFile(t, both, key3+cert3)
	certs = []string{mail, both}
	if a, b := served("mail.example.org"), served("other.example.org"); a == nil || b == nil || a == b {
		t.Error("two files:", a, b)
	}
	certs = []string{both}
	if served("mail.example.org") != served("other.example.org") {
		t.Error("a file that is no longer named is served")
	}
	for text, want := range map[string]string{
		"":                                 "no certificate in PEM",
		cert3:                              "its key is in none",
		cert3[:len(cert3)/4] + key3:        "no certificate in PEM",
		strings.Repeat("x", maxCertFile+1): "more than",
		cert3 + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})):           "can't be read",
		cert3 + string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})): "passphrase",
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})):                   "x509",
	} {
		putFile(t, both, text)
		if served("other.example.org") == nil {
			t.Errorf("%.40q took the certificate away", text)
		}
		problem(0, want)
	}

	// One that has ended makes place for other sources.
	clock.wall = clock.wall.Add(leafLife)
	if served("other.example.org") != nil {
		t.Error("a certificate that has ended is served")
	}
	if d, _ := f.Default(&tls.ClientHelloInfo{}); d != nil {
		t.Error("as default too")
	}
}

// Files that stay the same are read once.
func TestFilesReadOnce(t *testing.T) {
	t.Parallel()
	clock := &testTime{wall: built.AddDate(0, 1, 0)}
	path := filepath.Join(t.TempDir(), "both.pem")
	cert, key := pemOf(t, clock.wall, "mail.example.org")
	putFile(t, path, cert+key)
	f := NewFiles(newStore(t, clock), slog.New(slog.DiscardHandler), func() ([]string, []string) { return []string{path}, nil })
	first := f.now.Load()
	f.Look()
	if first == nil || f.now.Load() != first || slices.Contains(f.seen, nil) {
		t.Error("read again")
	}
	if err := f.Renew(true); err != nil || f.now.Load() == first {
		t.Error("not read again by force", err)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nDEK-Info: x\n\nAA==\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x.pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, _ := readKeys([]string{path})
		if cert, err := readCertificate(path, keys); err == nil && (cert.Leaf == nil || cert.PrivateKey == nil) {
			t.Error("half a certificate")
		}
	})
}
