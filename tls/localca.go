package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nestbox/storage"
)

// Secrets of system.db, as PEM. So they are in every backup.
const (
	rootSecret = "tls.ca"
	leafSecret = "tls.leaf"
	// selfSignedSecret is what a box had before it had a CA.
	selfSignedSecret = "tls.self-signed"
)

// lookPeriod is how often a LocalCA looks whether its certificate still fits.
const lookPeriod = time.Minute

// errEarlyClock keeps everything from being issued: it would hold from and to
// times that make no sense.
var errEarlyClock = errors.New("the machine's clock is before the day this program was built, so no certificate can be made; set the clock")

// LocalOptions say what a LocalCA is to do.
type LocalOptions struct {
	Log *slog.Logger
	// Names are what the household wants certificates for; none: Guess.
	Names func() []string
	// Guess finds names and addresses by itself: GuessNames.
	Guess func() []string
	// Unlimited makes roots that may certify whatever there is.
	Unlimited bool
}

// A LocalCA is the box's own CA and the certificate that it made for the box.
// It is a Source.
type LocalCA struct {
	st *storage.Store
	o  LocalOptions

	mu       sync.Mutex // of what follows, and of making
	bad      error      // the root in system.db can't be read
	root     *authority
	leaf     *tls.Certificate
	refused  []string // names that the root doesn't allow
	err      error
	errAt    time.Time
	replaced string // fingerprint of the self-signed certificate of before

	now atomic.Pointer[served]
}

// served is what handshakes see.
type served struct {
	leaf  *tls.Certificate
	index *index
	all   []*tls.Certificate
}

// NewLocalCA reads the CA of a data folder. It makes nothing: Look does.
func NewLocalCA(st *storage.Store, o LocalOptions) (*LocalCA, error) {
	l := &LocalCA{st: st, o: o}
	if err := l.load(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *LocalCA) load() error {
	text, err := l.st.Secret(rootSecret)
	if err != nil || len(text) == 0 {
		return err
	}
	if l.root, err = readAuthority(text); err != nil {
		// Not replaced in silence: devices have it.
		l.root, l.bad = nil, &BadCAError{err}
		return nil
	}
	if text, err = l.st.Secret(leafSecret); err != nil || len(text) == 0 {
		return err
	}
	// One that can't be read is made again.
	if pair, err := tls.X509KeyPair(text, text); err == nil && pair.Leaf.CheckSignatureFrom(l.root.cert) == nil {
		l.serve(&pair)
	}
	return nil
}

// A BadCAError says that the CA in system.db can't be used.
type BadCAError struct{ Err error }

func (e *BadCAError) Error() string {
	return "the local CA in system.db can't be read (" + e.Err.Error() + "): nestbox restore has it in every backup, nestbox cert ca import takes one that was exported"
}

func (e *BadCAError) Unwrap() error { return e.Err }

func (l *LocalCA) serve(pair *tls.Certificate) {
	l.leaf = pair
	l.now.Store(&served{leaf: pair, index: newIndex(pair)})
}

// Look makes what is missing: the root, and a certificate for what the box is
// called now. It fails if there is none to serve then.
func (l *LocalCA) Look() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.noted(l.look(false)); l.leaf == nil {
		return err
	}
	return nil
}

// noted keeps an error for Status, and logs one that is new.
func (l *LocalCA) noted(err error) error {
	if err != nil && (l.err == nil || l.err.Error() != err.Error()) {
		l.o.Log.Error("certificate_failed", "source", FromLocalCA, "error", err)
		l.audit("local CA: no certificate: " + err.Error())
	}
	if l.err = err; err != nil {
		l.errAt = l.st.Now()
	}
	return err
}

func (l *LocalCA) look(force bool) error {
	if l.bad != nil {
		return l.bad
	}
	now := l.st.Now()
	if l.root == nil {
		if err := l.makeRoot(now); err != nil {
			return err
		}
	}
	names, refused, set := l.wantedNames()
	l.refused = refused
	why := ""
	switch {
	case l.leaf == nil:
		why = "none"
	case force:
		why = "asked for"
	case l.leaf.Leaf.NotAfter.Before(now.Add(renewBefore)) && l.leaf.Leaf.NotAfter.Before(l.root.cert.NotAfter):
		why = "ends soon"
	case l.leaf.Leaf.NotBefore.After(now):
		why = "made when the clock was ahead"
	case !l.fits(names, set):
		why = "names"
	default:
		return nil
	}
	return l.makeLeaf(names, why, now)
}

func (l *LocalCA) makeRoot(now time.Time) error {
	if l.st.Clock().Early {
		return errEarlyClock
	}
	names := l.household()
	domains, err := l.st.Domains()
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	root, err := newAuthority(host, !l.o.Unlimited, slices.Concat(hostNames(host), names, domains), l.st.Clock().Built, now)
	if err != nil {
		return err
	}
	text, err := root.pem()
	if err != nil {
		return err
	}
	old, err := l.st.Secret(selfSignedSecret)
	if err != nil {
		return err
	}
	if err := l.st.SetSecret(rootSecret, text); err != nil {
		return err
	}
	l.root, l.leaf, l.bad = root, nil, nil
	l.audit("local CA made, SHA-256 " + Fingerprint(root.cert))
	l.o.Log.Info("local_ca_made", "fingerprint", Fingerprint(root.cert), "until", root.cert.NotAfter.UTC())
	if pair, err := tls.X509KeyPair(old, old); err == nil {
		l.replaced = Fingerprint(pair.Leaf)
	}
	if len(old) > 0 {
		return l.st.DeleteSecret(selfSignedSecret)
	}
	return nil
}

func (l *LocalCA) makeLeaf(names []string, why string, now time.Time) error {
	if l.st.Clock().Early {
		return errEarlyClock
	}
	if !now.Before(l.root.cert.NotAfter) {
		return errors.New("the local CA has ended: nestbox cert ca --renew makes another, which all devices must install")
	}
	text, err := l.root.issue(names, now)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return err
	}
	if err := l.st.SetSecret(leafSecret, text); err != nil {
		return err
	}
	l.serve(&pair)
	l.audit("local CA: certificate for " + strings.Join(names, " "))
	l.o.Log.Info("certificate_issued", "source", FromLocalCA, "names", strings.Join(names, " "), "why", why, "until", pair.Leaf.NotAfter.UTC())
	return nil
}

// audit notes what happens to certificates.
func (l *LocalCA) audit(what string) {
	l.st.Audit(storage.AuditEvent{Kind: storage.AuditCertificate, Detail: what})
}

// household are the names that the household set.
func (l *LocalCA) household() []string {
	if l.o.Names == nil {
		return nil
	}
	return l.o.Names()
}

// fits reports whether the certificate is for these names. Of those that were
// guessed it may have more: an address that goes, as when a cable is pulled or
// the machine starts before its network, mostly comes back.
func (l *LocalCA) fits(names []string, set bool) bool {
	has := certNames(l.leaf.Leaf)
	if set {
		return sameNames(has, names)
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(has, name) })
}

// wantedNames are those that the certificate is to have, those of the
// household that the root doesn't allow, and whether the household set any.
func (l *LocalCA) wantedNames() (names, refused []string, set bool) {
	wanted := l.household()
	set = len(wanted) > 0
	if !set && l.o.Guess != nil {
		wanted = l.o.Guess()
	}
	for _, name := range wanted {
		ip := net.ParseIP(name)
		if ip != nil {
			name = ip.String()
		}
		switch good := ip != nil || isASCII(name) && !strings.ContainsAny(name, ":%"); {
		case slices.Contains(names, name):
		case good && l.root.allows(name):
			names = append(names, name)
		case set: // what is only guessed, nobody misses
			refused = append(refused, name)
		}
	}
	if len(names) == 0 {
		names = []string{"localhost", "127.0.0.1", "::1"} // who is asked by another name needs some certificate too
	}
	return names, refused, set
}

func sameNames(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// Run looks once a minute.
func (l *LocalCA) Run(ctx context.Context) {
	tick := time.NewTicker(lookPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = l.Look() // it logs, and Status tells
		}
	}
}

// Renew looks at once, and with force makes another certificate.
func (l *LocalCA) Renew(force bool) error {
	if !force {
		return l.Look()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noted(l.look(true))
}

// Certificate is the box's, if it is for what the client asks for.
func (l *LocalCA) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s := l.now.Load(); s != nil {
		return s.index.find(hello), nil
	}
	return nil, nil
}

// Default is the box's certificate.
func (l *LocalCA) Default(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s := l.now.Load(); s != nil {
		return s.leaf, nil
	}
	return nil, nil
}
