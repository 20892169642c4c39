package cli

import (
	"cmp"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
	"nestbox/tls"
)

// startWeb gives the server behind `http` and `https` its handlers, whether or
// not an address is configured: one may come with a reload.
func (s *serving) startWeb() {
	admin.Autoconfig(s.web, s.setup)
	admin.Invitations(s.web, s.st, s.setup)
	if s.cfg.ACME != "" {
		s.web.Handle(tls.ChallengePath, s.certs)
	}
}

// setup is what mail programs are told now.
func (s *serving) setup() (*admin.Setup, error) {
	addrs, root, leaf := s.addrs(), s.ca.Root(), s.ca.Leaf()
	s.mu.Lock() // reloads change cfg; the CA takes it too, so it is not asked below
	defer s.mu.Unlock()
	return newSetup(s.cfg, s.st, root, leaf, addrs)
}

// offlineSetup is what a server of a configuration would tell them.
func offlineSetup(cfg *config.Config, st *storage.Store, ca *tls.LocalCA) (*admin.Setup, error) {
	addrs := map[string][]string{}
	for _, p := range protocols {
		addrs[p.name] = p.addresses(cfg)
	}
	return newSetup(cfg, st, ca.Root(), ca.Leaf(), addrs)
}

// boxSetup is a Setup that is being put together.
type boxSetup struct {
	*admin.Setup
	named bool // the household said what the host is called
}

// newSetup is a Setup for what is served on addrs, by protocol.
func newSetup(cfg *config.Config, st *storage.Store, root, leaf *x509.Certificate, addrs map[string][]string) (*admin.Setup, error) {
	stored, err := st.Settings()
	if err != nil {
		return nil, err
	}
	s := boxSetup{Setup: &admin.Setup{Box: cfg.Setting(stored, "box_name"), Root: root}}
	if s.Domains, err = st.Domains(); err != nil {
		return nil, err
	}
	if d := cfg.Setting(stored, "domain"); d != "" { // it goes first
		s.Domains = append([]string{d}, s.Domains...)
	}
	s.Host, _, _ = strings.Cut(cfg.Setting(stored, "host_names"), " ")
	if s.named = s.Host != ""; !s.named {
		s.Host = guessHost(leaf)
	}
	if host, port, err := net.SplitHostPort(cfg.Setting(stored, "smtp_server")); err == nil {
		n, _ := strconv.ParseUint(port, 10, 16) // config has checked it
		s.Send = &admin.Service{Protocol: "smtp", Host: host, Port: int(n), TLS: n == 465}
	}
	s.serve(addrs)
	return s.Setup, nil
}

// guessHost is a name or an address that the certificate holds for and most
// devices in a household reach: a name with a domain that others than the
// machine's neighbours know, else the address, which nobody must look up.
func guessHost(leaf *x509.Certificate) string {
	host, _ := os.Hostname()
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if leaf == nil {
		return cmp.Or(localAddress(), host, "localhost")
	}
	if strings.Contains(host, ".") && leaf.VerifyHostname(host) == nil {
		return host
	}
	for _, ip := range leaf.IPAddresses {
		if ip.IsGlobalUnicast() && ip.To4() != nil {
			return ip.String()
		}
	}
	return cmp.Or(localAddress(), host, "localhost")
}

// serve puts in what is served on addresses, by protocol.
func (s boxSetup) serve(addrs map[string][]string) {
	for _, p := range protocols {
		for _, addr := range addrs[p.name] {
			host, text, err := net.SplitHostPort(addr)
			port, perr := strconv.ParseUint(text, 10, 16)
			if err != nil || perr != nil {
				continue
			}
			// What is bound to one address is reached there, whatever is guessed.
			at := s.Host
			if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() && !s.named {
				at = ip.Unmap().WithZone("").String()
			}
			switch p.name {
			case "http":
				s.HTTP, s.Web = int(port), at
			case "https":
				s.HTTPS, s.Web = int(port), cmp.Or(s.Web, at)
			case acmeTLS: // is for a CA
			default:
				s.Mail = append(s.Mail, admin.Service{Protocol: strings.TrimSuffix(p.name, "s"), Host: at, Port: int(port), TLS: p.tls})
			}
			break // the first of each
		}
	}
}
