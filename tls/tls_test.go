package tls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"testing"
	"time"

	"nestbox/storage"
)

// built is the day of the program of these tests.
var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// testTime is a clock that tests move.
type testTime struct{ wall time.Time }

func (c *testTime) Wall() time.Time              { return c.wall }
func (c *testTime) Steady() time.Duration        { return c.wall.Sub(built) }
func (c *testTime) Synchronised() (yes, ok bool) { return !c.wall.Before(built), true }

func newStore(t testing.TB, clock *testTime) *storage.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open(dir, storage.Options{NoSync: true, Built: built, Time: clock})
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

// leafFor makes a certificate of a CA of its own.
func leafFor(t testing.TB, names ...string) (leaf *tls.Certificate, roots *x509.CertPool) {
	t.Helper()
	a, err := newAuthority("box", false, nil, built, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.issue(names, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(a.cert)
	return &cert, roots
}

// handshake connects over loopback and returns both ends' errors.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte("x")) // carries the session ticket with it
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	state = c.ConnectionState()
	conn.Close()
	return state, clientErr, <-done
}
