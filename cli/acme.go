package cli

import (
	"context"
	"errors"
	"net"
	"time"

	"nestbox/config"
	"nestbox/tls"
)

// acmeTLS is the protocol, and key, of listeners that only a CA wants something from.
const acmeTLS = "acme_tls"

// directories are short names of those that many use.
var directories = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

// acmeOptions puts in what the configuration says.
func acmeOptions(cfg *config.Config, o tls.ACMEOptions) tls.ACMEOptions {
	o.Directory = cfg.ACME
	if long, ok := directories[cfg.ACME]; ok {
		o.Directory = long
	}
	o.RootFile, o.Email, o.EABKeyID, o.EABFile = cfg.ACMERoot, cfg.ACMEEmail, cfg.ACMEEABKid, cfg.ACMEEABFile
	if cfg.ACMEChallenge != "auto" {
		o.Challenge = cfg.ACMEChallenge
	}
	o.DNS.File = cfg.ACMEDNSFile
	if cfg.ACMEDNS != "none" {
		o.DNS.Provider = cfg.ACMEDNS
	}
	return o
}

// hookTime is how long a hook for the DNS may take.
const hookTime = 2 * time.Minute

// runDNSHook runs acme_dns_hook.
func (s *serving) runDNSHook(ctx context.Context, args ...string) error {
	if s.cfg.ACMEDNSHook == "" {
		return errors.New("acme_dns_hook names no program")
	}
	out, err := s.hooks.Run(ctx, hook{Path: s.cfg.ACMEDNSHook, Args: args, Timeout: hookTime})
	if err != nil {
		s.log.Debug("acme_hook_output", "hook", s.cfg.ACMEDNSHook, "output", string(out))
	}
	return err
}

// alpn are the protocols of a listener that a CA may come to as well.
func (s *serving) alpn(protos ...string) []string {
	if s.cfg.ACME == "" {
		return protos
	}
	return append(protos, tls.ACMEProtocol)
}

// proofAddr is where a CA's requests over HTTP are answered.
func (s *serving) proofAddr() string { return first(s.addrs()["http"]) }

// challengeAddr is where a CA's handshakes are answered: a listener of their
// own, else one that others share. That of IMAP is seldom one to which a CA
// comes, so it is the last resort.
func (s *serving) challengeAddr() string {
	addrs := s.addrs()
	for _, name := range []string{acmeTLS, "https", "imaps"} {
		if name == "imaps" && s.cfg.ACMEChallenge == "auto" && len(addrs["http"]) > 0 {
			break
		}
		if len(addrs[name]) > 0 {
			return addrs[name][0]
		}
	}
	return ""
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// serveChallenges answers a CA, and nobody else, until l is closed.
func (s *serving) serveChallenges(l net.Listener, _ bool) error {
	return s.certs.ServeChallenges(l, s.log)
}
