package tls

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newLocalCA(t *testing.T, clock *testTime, names *[]string) *LocalCA {
	t.Helper()
	l, err := NewLocalCA(newStore(t, clock), LocalOptions{
		Log: slog.New(slog.DiscardHandler), Names: func() []string { return *names },
		Guess: func() []string { return []string{"box.local", "192.168.1.2", "203.0.113.9", "127.0.0.1"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// reopened is the CA as the next process finds it.
func reopened(t *testing.T, l *LocalCA) *LocalCA {
	t.Helper()
	again, err := NewLocalCA(l.st, l.o)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestLocalCA(t *testing.T) {
	t.Parallel()
	clock, names := &testTime{built.Add(time.Hour)}, []string{}
	l := newLocalCA(t, clock, &names)
	if s := l.Status(); len(s) != 1 || s[0].Ready || s[0].Next == "" || l.Root() != nil {
		t.Errorf("before the start: %+v", s)
	}
	if err := l.Look(); err != nil {
		t.Fatal(err)
	}
	root, leaf := l.Root(), l.Leaf()
	if !root.IsCA || !root.MaxPathLenZero || root.PublicKeyAlgorithm != x509.ECDSA || root.PermittedDNSDomainsCritical ||
		root.NotAfter.Sub(clock.wall) < 3600*24*time.Hour || root.NotAfter.Sub(clock.wall) > 3660*24*time.Hour {
		t.Errorf("root: %+v", root)
	}
	for _, want := range homeDomains {
		if !slices.Contains(root.PermittedDNSDomains, want) {
			t.Errorf("the root isn't for %s", want)
		}
	}
	// What it guessed and must not certify is left out.
	if got := certNames(leaf); !sameNames(got, []string{"box.local", "192.168.1.2", "127.0.0.1"}) {
		t.Errorf("names %q", got)
	}
	if leaf.NotAfter.Sub(leaf.NotBefore) != leafLife || clock.wall.Sub(leaf.NotBefore) != backdate {
		t.Errorf("from %v to %v", leaf.NotBefore, leaf.NotAfter)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for _, name := range []string{"box.local", "192.168.1.2"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: clock.wall}); err != nil {
			t.Error(err)
		}
	}
	if s := l.Status(); len(s) != 1 || !s[0].Ready || s[0].Error != "" {
		t.Errorf("status %+v", s)
	}
	// It stays what it is: at the next look, and in the next process.
	again := reopened(t, l)
	if err := again.Look(); err != nil || !again.Root().Equal(root) || !again.Leaf().Equal(leaf) {
		t.Errorf("the next process has another: %v", err)
	}
	if another := newLocalCA(t, clock, &names); another.Look() != nil || another.Root().Subject.CommonName == root.Subject.CommonName {
		t.Error("two boxes have a CA of the same subject")
	}
}

// A new certificate is made 30 days before the end of the old one, when names
// change, and when the old one is from a clock that was ahead. Handshakes get
// it at once.
func TestLocalCARenews(t *testing.T) {
	t.Parallel()
	clock, names := &testTime{built.Add(time.Hour)}, []string{}
	l := newLocalCA(t, clock, &names)
	served := func() *x509.Certificate {
		t.Helper()
		if err := l.Look(); err != nil {
			t.Fatal(err)
		}
		cert, err := NewSet(l).Certificate(&tls.ClientHelloInfo{ServerName: "box.local"})
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	first := served()
	clock.wall = first.NotAfter.Add(-renewBefore - time.Hour)
	if !served().Equal(first) {
		t.Error("made anew before it was due")
	}
	clock.wall = clock.wall.Add(2 * time.Hour)
	second := served()
	if second.Equal(first) || second.NotAfter.Sub(clock.wall) < 390*24*time.Hour {
		t.Errorf("not made anew: until %v", second.NotAfter)
	}
	names = []string{"box.local", "nas.home", "10.0.0.1", "fd00::0001"}
	third := served()
	if !sameNames(certNames(third), []string{"box.local", "nas.home", "10.0.0.1", "fd00::1"}) {
		t.Errorf("names %q", certNames(third))
	}
	if !served().Equal(third) {
		t.Error("made anew for nothing")
	}
	names = append(names, "mail.example.org")
	if !served().Equal(third) || len(l.Status()) != 2 || !strings.Contains(l.Status()[1].Next, "cert ca --renew") {
		t.Errorf("a name outside: %q, %+v", certNames(served()), l.Status())
	}
	root := l.Root()
	if err := l.RenewRoot(); err != nil || l.Root().Equal(root) || !slices.Contains(l.Leaf().DNSNames, "mail.example.org") || len(l.Status()) != 1 {
		t.Errorf("--renew: %v, %q, %+v", err, l.Leaf().DNSNames, l.Status())
	}
	if again := reopened(t, l); !again.Root().Equal(l.Root()) || !again.Leaf().Equal(l.Leaf()) {
		t.Error("the new root is not the one that is kept")
	}
	clock.wall = clock.wall.Add(-60 * 24 * time.Hour)
	if ahead := l.Leaf(); served().Equal(ahead) {
		t.Error("a certificate of the future is kept")
	}
}

// While the clock is older than the program nothing is issued; later it is,
// without a restart.
func TestLocalCAEarlyClock(t *testing.T) {
	t.Parallel()
	clock, names := &testTime{time.Unix(60, 0)}, []string{}
	l := newLocalCA(t, clock, &names)
	if err := l.Look(); err == nil || l.Root() != nil {
		t.Errorf("made a CA in 1970: %v", err)
	}
	if s := l.Status(); !strings.Contains(s[0].Error, "clock") {
		t.Errorf("status %+v", s)
	}
	clock.wall = built.Add(time.Hour)
	if err := l.Look(); err != nil || l.Leaf() == nil {
		t.Error(err)
	}
	if s := l.Status(); s[0].Error != "" {
		t.Errorf("status %+v", s)
	}
	first := l.Leaf()
	clock.wall = time.Unix(60, 0)
	names = []string{"other.local"}
	if err := l.Look(); err != nil || !l.Leaf().Equal(first) || l.Status()[0].Error == "" {
		t.Errorf("%v, %v", err, l.Status())
	}
}

// A CA made while the clock was ten years ahead is good when the clock is right:
// devices have it installed.
func TestLocalCAClockAhead(t *testing.T) {
	t.Parallel()
	right := built.Add(time.Hour)
	clock, names := &testTime{right.AddDate(10, 0, 0)}, []string{"box.local"}
	l := newLocalCA(t, clock, &names)
	if err := l.Look(); err != nil {
		t.Fatal(err)
	}
	root := l.Root()
	clock.wall = right
	if err := l.Look(); err != nil || !l.Root().Equal(root) {
		t.Fatalf("another CA: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	if _, err := l.Leaf().Verify(x509.VerifyOptions{DNSName: "box.local", Roots: roots, CurrentTime: right}); err != nil {
		t.Error(err)
	}
}

// The self-signed certificate of before goes when the CA comes.
func TestLocalCAReplaces(t *testing.T) {
	t.Parallel()
	clock, names := &testTime{built.Add(time.Hour)}, []string{}
	l := newLocalCA(t, clock, &names)
	old, _ := leafFor(t, "box")
	text, err := encode(old.PrivateKey.(crypto.Signer), old.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.st.SetSecret(selfSignedSecret, text); err != nil {
		t.Fatal(err)
	}
	if err := l.Look(); err != nil || l.Replaced() != Fingerprint(old.Leaf) {
		t.Errorf("%v, replaced %q", err, l.Replaced())
	}
	if left, err := l.st.Secret(selfSignedSecret); err != nil || left != nil {
		t.Errorf("the old key is still there: %v", err)
	}
	if again := reopened(t, l); again.Look() != nil || again.Replaced() != "" {
		t.Error("said again at the next start")
	}
}

// What was only guessed may go for a while: a pulled cable makes no new
// certificate. What comes new does, and what the household took out is out.
func TestLocalCAKeepsGuesses(t *testing.T) {
	t.Parallel()
	clock, names := &testTime{built.Add(time.Hour)}, []string{}
	l := newLocalCA(t, clock, &names)
	guess := []string{"box.local", "192.168.1.2", "127.0.0.1"}
	l.o.Guess = func() []string { return guess }
	look := func() *x509.Certificate {
		t.Helper()
		if err := l.Look(); err != nil {
			t.Fatal(err)
		}
		return l.Leaf()
	}
	first := look()
	guess = []string{"box.local", "127.0.0.1"}
	if !look().Equal(first) {
		t.Error("made anew without its network")
	}
	guess = []string{"box.local", "192.168.1.3", "127.0.0.1"}
	if got := certNames(look()); !sameNames(got, guess) {
		t.Errorf("at another address: %q", got)
	}
	names = []string{"box.local"}
	if got := certNames(look()); !sameNames(got, names) {
		t.Errorf("with names set: %q", got)
	}
}

func TestLocalCAMoves(t *testing.T) {
	t.Parallel()
	clock, names := &testTime{built.Add(time.Hour)}, []string{}
	a, b := newLocalCA(t, clock, &names), newLocalCA(t, clock, &names)
	if err := a.Look(); err != nil {
		t.Fatal(err)
	}
	text, err := a.Export()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("x"), maxPEM+1), text[:len(text)/2]} {
		if err := b.Import(bad); err == nil {
			t.Errorf("imported %.40q", bad)
		}
	}
	leaf, _ := leafFor(t, "box.local")
	if notCA, err := encode(leaf.PrivateKey.(crypto.Signer), leaf.Certificate[0]); err != nil || b.Import(notCA) == nil {
		t.Errorf("imported a certificate that is no CA: %v", err)
	}
	ended, err := newAuthority("box", true, nil, time.Time{}, clock.wall.AddDate(-rootYears, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if old, err := ended.pem(); err != nil || b.Import(old) == nil || b.Root() != nil {
		t.Errorf("imported a CA that has ended: %v", err)
	}
	if err := b.Import(text); err != nil || !b.Root().Equal(a.Root()) || b.Leaf().CheckSignatureFrom(a.Root()) != nil {
		t.Errorf("import: %v", err)
	}
	// A root that can't be read is not replaced in silence, but by an import.
	if err := b.st.SetSecret(rootSecret, []byte("not PEM")); err != nil {
		t.Fatal(err)
	}
	broken := reopened(t, b)
	if err := broken.Look(); err == nil || !strings.Contains(broken.Status()[0].Error, "import") {
		t.Errorf("%v, %+v", err, broken.Status())
	}
	if err := broken.Import(text); err != nil || broken.Leaf() == nil {
		t.Error(err)
	}
}

// TestNameConstraints: OpenSSL accepts what the root may certify, and refuses
// what somebody who stole its key issued beyond that.
func TestNameConstraints(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	for _, limited := range []bool{true, false} {
		a, err := newAuthority("box", limited, []string{"mail.example.org"}, built, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		rootFile := filepath.Join(dir, "root.pem")
		if err := os.WriteFile(rootFile, PEM(a.cert), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, inside := range map[string]bool{
			"box.local": true, "a.box.home.arpa": true, "192.168.7.7": true, "fd00::1": true, "127.0.0.1": true, "::1": true, "mail.example.org": true,
			"www.bank.example": false, "203.0.113.7": false, "2001:db8::1": false, "local.example.com": false,
		} {
			text, err := a.issue([]string{name}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			leafFile := filepath.Join(dir, "leaf.pem")
			if err := os.WriteFile(leafFile, text, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", rootFile, leafFile).CombinedOutput()
			if good := err == nil; good != (inside || !limited) {
				t.Errorf("limited %v, %s: openssl: %v %s", limited, name, err, out)
			}
			if a.allows(name) != (inside || !limited) {
				t.Errorf("limited %v: allows(%s) = %v", limited, name, a.allows(name))
			}
		}
	}
}

func TestGuessNames(t *testing.T) {
	t.Parallel()
	if got := GuessNames(true); !slices.Equal(got, []string{"localhost", "127.0.0.1", "::1"}) {
		t.Errorf("in a container: %q", got)
	}
	if got := GuessNames(false); !slices.Contains(got, "127.0.0.1") {
		t.Errorf("%q", got)
	}
	for host, want := range map[string]string{
		"Box": "box box.local box.lan box.home.arpa", "box.example.org.": "box.example.org box box.local box.lan box.home.arpa",
		"box.local": "box.local box box.lan box.home.arpa", "localhost": "localhost", "": "", "mü": "",
	} {
		if got := strings.Join(hostNames(host), " "); got != want {
			t.Errorf("hostNames(%q) = %q", host, got)
		}
	}
	for name, want := range map[string]bool{"br-lan": false, "br-0123456789ab": true, "docker0": true, "eth0": false, "tailscale0": false} {
		if forContainers(name) != want {
			t.Errorf("forContainers(%s)", name)
		}
	}
}

// FuzzReadAuthority: what is taken for a CA is one when it is written and read again.
func FuzzReadAuthority(f *testing.F) {
	a, err := newAuthority("box", true, nil, built, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	text, err := a.pem()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(PEM(a.cert))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := readAuthority(text)
		if err != nil {
			return
		}
		again, err := a.pem()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := readAuthority(again); err != nil || !b.cert.Equal(a.cert) {
			t.Errorf("%v", err)
		}
	})
}
