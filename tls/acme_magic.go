package tls

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// magic is certmagic, set up for what is configured. It gets certificates and
// keeps accounts; its cache stays empty, and its maintenance sleeps.
type magic struct {
	httpAddr, tlsAddr string
	cache             *certmagic.Cache
	config            *certmagic.Config
	issuer            *certmagic.ACMEIssuer
	failure           error // of the attempt under way
	abort             context.CancelFunc
}

// client sets certmagic up, anew when the listeners have changed; a.mu is held.
func (a *ACME) client() (*magic, error) {
	m := &magic{}
	if a.o.HTTPAddr != nil {
		m.httpAddr = a.o.HTTPAddr()
	}
	if a.o.TLSAddr != nil {
		m.tlsAddr = a.o.TLSAddr()
	}
	if old := a.magic; old != nil && old.httpAddr == m.httpAddr && old.tlsAddr == m.tlsAddr {
		return old, nil
	}
	logger := zap.New(zapToLog{a.o.Log})
	template, err := a.issuer(m, logger)
	if err != nil {
		return nil, err
	}
	if a.magic != nil {
		a.magic.cache.Stop()
	}
	const never = 100 * 365 * 24 * time.Hour
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.config, nil },
		RenewCheckInterval: never, OCSPCheckInterval: never, Logger: logger,
	})
	m.config = certmagic.New(m.cache, certmagic.Config{
		Storage: acmeStorage{a.st, acmeLocks()}, DisableStorageCheck: true, Logger: logger,
		OCSP: certmagic.OCSPConfig{DisableStapling: true}, OnEvent: m.event,
		Issuers: []certmagic.Issuer{&certmagic.ACMEIssuer{}}, // the one below needs the config first
	})
	m.issuer = certmagic.NewACMEIssuer(m.config, template)
	m.config.Issuers = []certmagic.Issuer{m.issuer}
	a.magic = m
	a.solver.Store(m.config)
	return m, nil
}

func (a *ACME) issuer(m *magic, logger *zap.Logger) (certmagic.ACMEIssuer, error) {
	template := certmagic.ACMEIssuer{
		CA: a.o.Directory, TestCA: a.o.Directory, Email: a.o.Email, Agreed: true, Logger: logger,
		DisableHTTPChallenge: true, DisableTLSALPNChallenge: true, DisableDistributedSolvers: true,
	}
	var err error
	if a.o.RootFile != "" {
		if template.TrustedRoots, err = readRoots(a.o.RootFile); err != nil {
			return template, err
		}
	}
	if a.o.EABKeyID != "" {
		key, err := readFile(a.o.EABFile)
		if err != nil {
			return template, err
		}
		template.ExternalAccount = &acme.EAB{KeyID: a.o.EABKeyID, MACKey: strings.TrimSpace(string(key))}
	}
	if a.o.DNS.Provider != "" && (a.o.Challenge == DNS01 || a.o.Challenge == "") {
		solver, err := a.o.DNS.solver()
		if err == nil {
			template.DNS01Solver = solver
		}
		return template, err // the others work from the internet only
	}
	// certmagic listens by itself where nobody does. Where we do, it finds that
	// somebody answers, and lets us.
	if m.httpAddr != "" && (a.o.Challenge == HTTP01 || a.o.Challenge == "") {
		template.DisableHTTPChallenge = false
		template.ListenHost, template.AltHTTPPort = splitAddr(m.httpAddr)
	}
	if m.tlsAddr != "" && (a.o.Challenge == TLSALPN01 || a.o.Challenge == "") {
		other := template.ListenHost
		template.ListenHost, template.AltTLSALPNPort = splitAddr(m.tlsAddr)
		if !template.DisableHTTPChallenge && other != template.ListenHost {
			template.ListenHost = "" // it takes one for both
		}
		template.DisableTLSALPNChallenge = false
	}
	if template.DisableHTTPChallenge && template.DisableTLSALPNChallenge {
		return template, errNoChallenge
	}
	return template, nil
}

var errNoChallenge = errors.New("the CA can't look at this server: nothing in the configuration is for the challenge that acme_challenge names")

func splitAddr(addr string) (string, int) {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return host, n
}

// get gets a certificate: it is in the storage then.
func (m *magic) get(ctx context.Context, name string, renew bool) error {
	ctx, m.abort = context.WithCancel(ctx)
	defer m.abort()
	m.failure = nil
	var err error
	if renew {
		err = m.config.RenewCertAsync(ctx, name, true)
	} else {
		err = m.config.ObtainCertAsync(ctx, name)
	}
	if m.failure != nil {
		err = m.failure
	}
	return err
}

// event ends an attempt with its first failure: certmagic would try for 30
// days, and nobody could have it try sooner.
func (m *magic) event(_ context.Context, event string, data map[string]any) error {
	if event != "cert_failed" {
		return nil
	}
	m.failure, _ = data["error"].(error)
	if m.failure == nil {
		m.failure = errors.New("the CA gave no certificate")
	}
	m.abort()
	return nil
}
