package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// ACMEProtocol is the protocol of a CA that looks whether a name is ours (RFC
// 8737 §3). Its handshakes are the business of Challengers alone.
const ACMEProtocol = "acme-tls/1"

// A Source has certificates: files, ACME, the local CA. A Set asks its sources
// in order. All methods are called from many goroutines, those with a
// ClientHelloInfo during handshakes: they must be quick and must not wait for
// a network or a disk.
type Source interface {
	// Certificate is the one for a client: for the name it asks for (SNI), else
	// for the address it came to. nil without an error: this source has none.
	Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Default is for clients that ask for a name that no source has, and for
	// those that ask for none and came to an address that no source has. nil
	// without an error: this source has none.
	Default(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Status tells of all certificates that the source has, and of those that
	// it is to have and hasn't.
	Status() []Status
}

// A Challenger is a source that answers the handshakes of ACMEProtocol. They
// reach it on listeners whose Config has that protocol.
type Challenger interface {
	Challenge(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// A Runner is a source with work to do beside the handshakes. Run returns
// after ctx has ended.
type Runner interface {
	Run(ctx context.Context)
}

// A Renewer is a source that can look for new certificates at once: after
// SIGHUP and for `nestbox cert renew`. Renew doesn't wait for a network: what
// comes of it is in Status and in the log. Without force only what failed or
// is due is tried.
type Renewer interface {
	Renew(force bool) error
}

// Kinds of sources, as Status has them.
const (
	FromFiles   = "files"
	FromACME    = "acme"
	FromLocalCA = "local-ca"
)

// Status tells of one certificate. The texts are for people.
type Status struct {
	Names       []string  `json:"names"`  // and addresses
	Source      string    `json:"source"` // FromFiles ...
	Ready       bool      `json:"ready"`  // there is a certificate, and it holds now
	Issuer      string    `json:"issuer,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Next        string    `json:"next,omitempty"` // what happens next, or what to do
	NextAt      time.Time `json:"next_at,omitzero"`
	Error       string    `json:"error,omitempty"` // the last one, "" once it is overcome
	ErrorAt     time.Time `json:"error_at,omitzero"`
}

// statusOf fills in what a certificate says of itself.
func statusOf(source string, cert *x509.Certificate, now time.Time) Status {
	return Status{
		Names: certNames(cert), Source: source, Issuer: cert.Issuer.CommonName, Fingerprint: Fingerprint(cert),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		Ready: !now.Before(cert.NotBefore) && now.Before(cert.NotAfter),
	}
}

// A Set is the sources of a server, in the order in which they are asked.
type Set struct{ sources []Source }

// NewSet makes a set of sources.
func NewSet(sources ...Source) *Set { return &Set{sources} }

// errNoCertificate is what a handshake fails with when no source has any.
var errNoCertificate = errors.New("no certificate yet: nestbox cert status says why")

// Certificate chooses the one for a handshake. It is a tls.Config's GetCertificate.
func (s *Set) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Contains(hello.SupportedProtos, ACMEProtocol) {
		// RFC 8737 §3: such a client wants this and nothing else. Any other
		// certificate would only mislead the CA.
		return s.challenge(hello)
	}
	var errs []error
	for _, ask := range []func(Source, *tls.ClientHelloInfo) (*tls.Certificate, error){Source.Certificate, Source.Default} {
		for _, source := range s.sources {
			cert, err := ask(source, hello)
			if cert != nil && err == nil {
				return cert, nil
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return nil, errNoCertificate
}

func (s *Set) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for _, source := range s.sources {
		if c, ok := source.(Challenger); ok {
			if cert, err := c.Challenge(hello); cert != nil || err != nil {
				return cert, err
			}
		}
	}
	return nil, errors.New("nobody waits for a handshake of " + ACMEProtocol)
}

// Status tells of all sources.
func (s *Set) Status() []Status {
	all := []Status{}
	for _, source := range s.sources {
		all = append(all, source.Status()...)
	}
	return all
}

// Run does the work of the sources until ctx ends.
func (s *Set) Run(ctx context.Context) {
	done := make(chan struct{})
	running := 0
	for _, source := range s.sources {
		if r, ok := source.(Runner); ok {
			running++
			go func() {
				r.Run(ctx)
				done <- struct{}{}
			}()
		}
	}
	for range running {
		<-done
	}
}

// Renew has all sources look for new certificates.
func (s *Set) Renew(force bool) error {
	var errs []error
	for _, source := range s.sources {
		if r, ok := source.(Renewer); ok {
			errs = append(errs, r.Renew(force))
		}
	}
	return errors.Join(errs...)
}

// Config secures a listener: version ("1.2" or "1.3") or later, with forward
// secrecy and AEAD only. The set is asked at each handshake, so a new
// certificate serves the next connection and those that are up stay. protos
// are for ALPN (RFC 7301), "imap" for IMAP: a client that asks for something
// else, as one tricked into the wrong port does, is refused; one that doesn't
// ask is served. Session tickets are on: a resumed handshake costs a phone
// half of a new one. crypto/tls makes their keys, changes them daily and
// forgets them after a week. A Go server never renegotiates.
func (s *Set) Config(version string, protos ...string) *tls.Config {
	c := &tls.Config{
		GetCertificate: s.Certificate,
		MinVersion:     tls.VersionTLS12,
		CipherSuites: []uint16{ // of 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: protos,
	}
	if version == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}
