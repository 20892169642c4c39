package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/net/idna"

	"nestbox/storage"
)

// Challenges by which a CA sees that a name is ours (RFC 8555 §8, RFC 8737).
const (
	HTTP01    = "http-01"
	TLSALPN01 = "tls-alpn-01"
	DNS01     = "dns-01"
)

// ACMEOptions say what an ACME source is to do.
type ACMEOptions struct {
	Log *slog.Logger
	// Names are what the household wants certificates for.
	Names func() []string
	// Directory is the address of the CA's directory (RFC 8555 §7.1.1).
	Directory string
	// RootFile has the roots that the CA's own certificate is to be from, as
	// PEM; "": the system's. A CA that needs them is somebody's own: it is asked
	// for all names, others only for those that the internet knows.
	RootFile string
	Email    string
	// External account binding (RFC 8555 §7.3.4): the file has the key in base64url.
	EABKeyID, EABFile string
	// Challenge is HTTP01 ..., or "" for whatever can be done.
	Challenge string
	// HTTPAddr and TLSAddr tell where this server answers the challenges
	// HTTP01 and TLSALPN01, "" if nowhere.
	HTTPAddr, TLSAddr func() string
	DNS               DNSOptions // of DNS01
}

// An ACME source gets a certificate for each of the household's names from a
// CA. One thing at a time is done by Run's goroutine: certmagic does it, and
// keeps what it gets in system.db, while what is due when is decided here, so
// that a retry can come at once when somebody asks for it.
type ACME struct {
	o    ACMEOptions
	st   *storage.Store
	kick chan struct{} // has room for one

	mu      sync.Mutex // of what follows
	names   []*acmeName
	running bool
	magic   *magic
	since   time.Time // when the attempt under way began
	cancel  context.CancelFunc

	served atomic.Pointer[index]
	solver atomic.Pointer[certmagic.Config] // answers TLSALPN01
}

// acmeName is one name, and so one certificate.
type acmeName struct {
	name     string
	cert     *tls.Certificate // nil: none yet
	renewAt  time.Time        // by the CA's advice (RFC 9773), else when a third of its life is left
	askAt    time.Time        // when the CA is asked for its advice again; zero: it gives none
	asked    time.Time        // when it was asked last, in this run
	force    bool
	failures int // in a row
	tryAt    time.Time
	err      error
	errAt    time.Time
}

// NewACME reads the certificates that there are. Run gets others.
func NewACME(st *storage.Store, o ACMEOptions) (*ACME, error) {
	a := &ACME{o: o, st: st, kick: make(chan struct{}, 1)}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a, a.adopt()
}

// issuerKey is the folder of the CA's certificates in the storage.
func (a *ACME) issuerKey() string { return (&certmagic.ACMEIssuer{CA: a.o.Directory}).IssuerKey() }

// adopt takes over the names of the household as they are now; a.mu is held.
func (a *ACME) adopt() error {
	var names []*acmeName
	changed := false
	for _, name := range a.wanted() {
		i := slices.IndexFunc(a.names, func(n *acmeName) bool { return n.name == name })
		if i >= 0 {
			names = append(names, a.names[i])
			continue
		}
		n := &acmeName{name: name}
		if err := a.load(n); err != nil {
			return err
		}
		changed = true
		names = append(names, n)
	}
	changed = changed || len(names) != len(a.names)
	a.names = names
	if changed {
		a.serve()
	}
	return nil
}

// wanted are the names for which this CA is asked, as they stand in certificates.
func (a *ACME) wanted() (names []string) {
	for _, name := range a.o.Names() {
		if net.ParseIP(name) != nil {
			continue // the local CA's: what public CAs offer for addresses lasts six days
		}
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil || a.o.RootFile == "" && !publicName(ascii) || slices.Contains(names, ascii) {
			continue
		}
		names = append(names, ascii)
	}
	return names
}

// publicName reports whether the internet can know a name.
func publicName(name string) bool {
	_, last, dotted := strings.Cut(name, ".")
	return dotted && last != "lan" && last != "home" && !strings.HasSuffix(name, ".lan") && !strings.HasSuffix(name, ".home") &&
		certmagic.SubjectQualifiesForPublicCert(name)
}

// load reads a name's certificate from the storage. One that can't be used is
// deleted: another is soon there.
func (a *ACME) load(n *acmeName) error {
	key := a.issuerKey()
	chain, err := a.st.LoadACME(certmagic.StorageKeys.SiteCert(key, n.name))
	var private []byte
	if err == nil {
		private, err = a.st.LoadACME(certmagic.StorageKeys.SitePrivateKey(key, n.name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	cert, err := tls.X509KeyPair(chain, private)
	if err == nil {
		err = cert.Leaf.VerifyHostname(n.name)
	}
	if err != nil {
		a.o.Log.Error("certificate_failed", "source", FromACME, "names", n.name, "error", err)
		return a.st.DeleteACME(certmagic.StorageKeys.CertsSitePrefix(key, n.name))
	}
	n.cert = &cert
	n.renewAt, n.askAt = a.plan(n)
	return nil
}

// serve shows the certificates to the handshakes; a.mu is held.
func (a *ACME) serve() {
	var certs []*tls.Certificate
	for _, n := range a.names {
		if n.cert != nil {
			certs = append(certs, n.cert)
		}
	}
	a.served.Store(newIndex(certs...))
}

// Certificate is the one for the name that a client asks for, while it holds.
func (a *ACME) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := a.served.Load().find(hello)
	if cert != nil && !time.Now().Before(cert.Leaf.NotAfter) {
		return nil, nil // the local CA's is one that devices may have
	}
	return cert, nil
}

// Default is none: who asks for no name of the CA's gets one of the local CA.
func (a *ACME) Default(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }

// Challenge answers a CA that looks for a name here (RFC 8737 §3).
func (a *ACME) Challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	solver := a.solver.Load()
	challenge, waiting := certmagic.GetACMEChallenge(hello.ServerName)
	if solver == nil || !waiting || challenge.Type != TLSALPN01 {
		return nil, nil
	}
	return solver.GetCertificate(hello)
}

// ChallengePath is where a CA asks for a proof over HTTP (RFC 8555 §8.3).
const ChallengePath = "/.well-known/acme-challenge/"

// ServeHTTP answers requests to ChallengePath: only for a name that is being
// proved, and its token.
func (a *ACME) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	challenge, waiting := certmagic.GetACMEChallenge(strings.ToLower(host))
	if !waiting || challenge.Type != HTTP01 || r.URL.Path != challenge.HTTP01ResourcePath() || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(challenge.KeyAuthorization))
}

// Status tells of each name.
func (a *ACME) Status() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Status
	now := a.st.Now()
	for _, n := range a.names {
		s := Status{Names: []string{n.name}, Source: FromACME}
		if n.cert != nil {
			s = statusOf(FromACME, n.cert.Leaf, now)
		}
		s.NextAt = n.due()
		switch {
		case !a.running:
			s.Next, s.NextAt = "nestbox serve gets it and renews it", time.Time{}
		case n.err != nil:
			s.Error, s.ErrorAt = n.err.Error(), n.errAt.UTC().Truncate(time.Second)
			s.Next = "is tried again at " + n.tryAt.UTC().Format("2006-01-02 15:04 MST")
		case n.cert == nil:
			s.Next = "the CA is being asked"
		default:
			s.Next = "is renewed by itself on " + n.renewAt.UTC().Format(time.DateOnly)
		}
		s.NextAt = s.NextAt.UTC().Truncate(time.Second)
		all = append(all, s)
	}
	return all
}

var errNotServing = errors.New("the certificates from ACME are renewed by nestbox serve, which doesn't run")

// Renew has what failed or is new tried at once, with force all.
func (a *ACME) Renew(force bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.running {
		if force && len(a.names) > 0 {
			return errNotServing
		}
		return nil
	}
	for _, n := range a.names {
		n.tryAt = time.Time{}
		n.force = n.force || force
		if now := a.st.Now(); n.askAt.After(now) && now.Sub(n.asked) > leastAsk {
			n.askAt = now
		}
	}
	// One that hangs in a network that was away doesn't notice that it is back.
	if a.cancel != nil && time.Since(a.since) > attemptPatience {
		a.cancel()
	}
	select {
	case a.kick <- struct{}{}:
	default:
	}
	return nil
}

// attemptPatience is how old an attempt is left alone when all is to be tried anew.
const attemptPatience = 10 * time.Second

// maxFile bounds the files that the options name.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

func readRoots(path string) (*x509.CertPool, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: has no certificate in PEM", path)
	}
	return pool, nil
}
