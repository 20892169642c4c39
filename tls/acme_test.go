package tls

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"nestbox/storage"
	"nestbox/test/rig"
)

// openStore makes a data folder that goes by the machine's clock.
func openStore(t *testing.T) *storage.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open(dir, storage.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// A syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// An acmeScene is an ACME source with listeners for its challenges, and a CA.
type acmeScene struct {
	t      *testing.T
	pebble *rig.Pebble
	http   *httptest.Server
	secure net.Listener
	st     *storage.Store
	log    syncBuffer
	acme   *ACME
}

func newScene(t *testing.T, change func(*rig.Pebble, *ACMEOptions)) *acmeScene {
	t.Helper()
	for _, p := range rig.PebblePrograms {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	s := &acmeScene{t: t, st: openStore(t)}
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.acme.ServeHTTP(w, r) }))
	t.Cleanup(s.http.Close)
	var err error
	if s.secure, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.secure.Close() })
	s.pebble = &rig.Pebble{
		Dir: t.TempDir(), HTTPPort: s.http.Listener.Addr().(*net.TCPAddr).Port, TLSPort: s.secure.Addr().(*net.TCPAddr).Port,
	}
	o := ACMEOptions{
		Log:       slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Names:     func() []string { return []string{"box.example.org", "192.168.1.2"} },
		Challenge: HTTP01,
		HTTPAddr:  func() string { return s.http.Listener.Addr().String() },
		TLSAddr:   func() string { return s.secure.Addr().String() },
	}
	if change != nil {
		change(s.pebble, &o)
	}
	if err := s.pebble.Prepare(); err != nil {
		t.Fatal(err)
	}
	o.Directory = s.pebble.Directory
	o.RootFile = s.pebble.Root
	if s.acme, err = NewACME(s.st, o); err != nil {
		t.Fatal(err)
	}
	go s.handshakes(NewSet(s.acme).Config("1.2", "imap", ACMEProtocol))
	t.Cleanup(func() {
		_ = s.pebble.Stop()
		if t.Failed() {
			t.Log(s.log.String(), s.pebble.Log())
		}
	})
	return s
}

func (s *acmeScene) startCA() {
	s.t.Helper()
	if err := s.pebble.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// handshakes is a listener for TLS-ALPN-01 that others use too.
func (s *acmeScene) handshakes(config *tls.Config) {
	for {
		c, err := s.secure.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_ = tls.Server(c, config).Handshake()
		}()
	}
}

// run runs the source until the test's end, or until stop.
func (s *acmeScene) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		s.acme.Run(ctx)
		close(done)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	s.t.Cleanup(stop)
	return stop
}

// await waits until the source has a certificate for the name, other than before.
func (s *acmeScene) await(before *tls.Certificate) *tls.Certificate {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if cert, err := s.acme.Certificate(&tls.ClientHelloInfo{ServerName: "box.example.org"}); err != nil {
			s.t.Fatal(err)
		} else if cert != nil && cert != before {
			return cert
		}
	}
	s.t.Fatalf("no certificate: %+v", s.acme.Status())
	return nil
}

// awaitError waits until the first name has a failure to tell of.
func (s *acmeScene) awaitError() Status {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if all := s.acme.Status(); all[0].Error != "" {
			return all[0]
		}
	}
	s.t.Fatalf("no error: %+v", s.acme.Status())
	return Status{}
}

// TestACMEChallenges: each challenge gets a certificate; a bound account too.
func TestACMEChallenges(t *testing.T) {
	for name, change := range map[string]func(*rig.Pebble, *ACMEOptions){
		HTTP01:    nil,
		TLSALPN01: func(_ *rig.Pebble, o *ACMEOptions) { o.Challenge = TLSALPN01 },
		"bound": func(p *rig.Pebble, o *ACMEOptions) {
			p.EABKeyID, p.EABKey = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
			o.EABKeyID, o.EABFile = p.EABKeyID, filepath.Join(t.TempDir(), "eab")
			if err := os.WriteFile(o.EABFile, []byte(p.EABKey+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, change)
			s.startCA()
			s.run()
			cert := s.await(nil)
			roots, err := s.pebble.Roots()
			if err != nil {
				t.Fatal(err)
			}
			c, err := tls.Dial("tcp", s.secure.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "box.example.org"})
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			// The address is not asked for, and a CA is answered no more.
			if all := s.acme.Status(); len(all) != 1 || !all[0].Ready || all[0].Error != "" || all[0].NextAt.After(cert.Leaf.NotAfter) {
				t.Errorf("%+v", all)
			}
			if _, err := tls.Dial("tcp", s.secure.Addr().String(), &tls.Config{ServerName: "box.example.org", NextProtos: []string{ACMEProtocol}, InsecureSkipVerify: true}); err == nil {
				t.Error("a challenge is answered that nobody waits for")
			}
			for _, secret := range []string{"zWNDZM6", "PRIVATE", "key_auth"} {
				if strings.Contains(s.log.String(), secret) {
					t.Errorf("the log tells of %s", secret)
				}
			}
		})
	}
}

// TestACMEComesBack: a CA that is away costs nothing but a line of the log;
// once it is there, a kick gets the certificate at once, although the next try
// would be a minute away. A restart asks the CA for nothing.
func TestACMEComesBack(t *testing.T) {
	s := newScene(t, nil)
	stop := s.run()
	if status := s.awaitError(); status.Ready || time.Until(status.NextAt) < 30*time.Second {
		t.Errorf("%+v", status)
	}
	if cert, err := s.acme.Certificate(&tls.ClientHelloInfo{ServerName: "box.example.org"}); cert != nil || err != nil {
		t.Error("another source can't take over", cert, err)
	}
	s.startCA()
	if err := s.acme.Renew(false); err != nil {
		t.Fatal(err)
	}
	cert := s.await(nil)
	if status := s.acme.Status()[0]; status.Error != "" {
		t.Errorf("%+v", status)
	}
	stop()
	asked := s.pebble.Log()
	again, err := NewACME(s.st, s.acme.o)
	if err != nil {
		t.Fatal(err)
	}
	s.acme = again
	if c := s.await(nil); !bytes.Equal(c.Certificate[0], cert.Certificate[0]) {
		t.Error("another certificate after the restart")
	}
	s.run()
	time.Sleep(300 * time.Millisecond) // for what must not come
	if now := s.pebble.Log(); now != asked {
		t.Errorf("a restart asked the CA:\n%s", strings.TrimPrefix(now, asked))
	}
}

// TestACMERenewal: a renewal that somebody asks for, then one that the CA
// advises. The order says which certificate it replaces.
func TestACMERenewal(t *testing.T) {
	s := newScene(t, nil)
	s.startCA()
	s.run()
	first := s.await(nil)
	if err := s.acme.Renew(true); err != nil {
		t.Fatal(err)
	}
	second := s.await(first)
	if err := s.pebble.AdviseRenewal(second.Leaf); err != nil {
		t.Fatal(err)
	}
	if err := s.acme.Renew(false); err != nil {
		t.Fatal(err)
	}
	third := s.await(second)
	if bytes.Equal(third.Certificate[0], first.Certificate[0]) {
		t.Error("the first one came back")
	}
	if !strings.Contains(s.log.String(), "why=renewal") {
		t.Error("the log doesn't tell of the renewal")
	}
}

// TestACMERefusal: what a CA refuses is told, without secrets, and one name
// doesn't keep the others.
func TestACMERefusal(t *testing.T) {
	s := newScene(t, func(p *rig.Pebble, o *ACMEOptions) {
		p.Refuse = []string{"bad.example.org"}
		o.Names = func() []string { return []string{"bad.example.org", "box.example.org"} }
	})
	s.startCA()
	s.run()
	s.await(nil)
	if status := s.awaitError(); status.Names[0] != "bad.example.org" || !strings.Contains(status.Error, "rejectedIdentifier") {
		t.Errorf("%+v", status)
	}
}

// TestACMENames: public CAs are asked only for names that the internet knows.
func TestACMENames(t *testing.T) {
	household := []string{"box", "box.local", "box.lan", "box.home.arpa", "box.home", "192.168.1.2", "fd00::1", "mail.example.org", "bücher.example", "MAIL.example.org"}
	a := &ACME{o: ACMEOptions{Names: func() []string { return household }}}
	if got := strings.Join(a.wanted(), " "); got != "mail.example.org xn--bcher-kva.example" {
		t.Error(got)
	}
}

// TestACMEAnswers: what isn't asked by a CA that waits is not found.
func TestACMEAnswers(t *testing.T) {
	a := &ACME{}
	for _, path := range []string{ChallengePath, ChallengePath + "x", ChallengePath + "../secret"} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://box.example.org"+path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if cert, err := a.Challenge(&tls.ClientHelloInfo{ServerName: "box.example.org", SupportedProtos: []string{ACMEProtocol}}); cert != nil || err != nil {
		t.Error(cert, err)
	}
}

// TestACMELocks: a lock waits for its turn, and no longer than its context.
func TestACMELocks(t *testing.T) {
	s := acmeStorage{locks: acmeLocks()}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Lock(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if ok, _ := s.TryLock(ctx, "a"); ok {
		t.Error("locked twice")
	}
	if ok, _ := s.TryLock(ctx, "b"); !ok {
		t.Error("another name is locked too")
	}
	got := make(chan error)
	go func() { got <- s.Lock(t.Context(), "a") }()
	if err := s.Unlock(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var _ certmagic.Storage = s
	var _ certmagic.TryLocker = s
}
