package cli

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"nestbox/tls"
)

// welcome prints what a person needs to connect a mail program.
func (s *serving) welcome(hostNames string, first *firstAccount) {
	host, _, _ := strings.Cut(hostNames, " ")
	if host == "" {
		host = "localhost"
		if name, err := os.Hostname(); err == nil && name != "" {
			host = name
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nestbox %s serves %s\n\n", Version, s.cfg.Data)
	anywhere := false
	for _, p := range protocols {
		security := "STARTTLS"
		if p.tls {
			security = "SSL/TLS"
		}
		at, port, ok := s.port(p.name)
		if !ok || p.web || p.name == acmeTLS {
			continue
		}
		if at == "" {
			at, anywhere = host, true
		}
		fmt.Fprintf(&b, "  %-6s %s port %d, security %s\n", strings.ToUpper(p.name), at, port, security)
	}
	s.writeFingerprints(&b)
	if ip := localAddress(); ip != "" && anywhere && hostNames == "" {
		fmt.Fprintf(&b, "\nIf other machines don't know the name %s, they reach it as %s.\n", host, ip)
	}
	b.WriteString("\nIn a mail program, add an IMAP account with the host, a port and its security as\nabove. Install the CA (`nestbox cert ca` prints it) on a device and it trusts the\nbox; or compare the fingerprints that it shows, then accept the certificate.\n")
	switch {
	case first == nil:
	case isTerminal(s.Stdout):
		fmt.Fprintf(&b, "\nThe first account (the password is not shown again; `nestbox account passwd %s`\nsets another):\n\n  name      %s\n  password  %s\n", first.name, first.name, first.password)
	default:
		fmt.Fprintf(&b, "\nThe first account is %s; its password is in %s/%s\nuntil the first login.\n", first.name, s.cfg.Data, firstLoginFile)
	}
	// Nobody may read it: serving goes on all the same.
	_, _ = io.WriteString(s.Stdout, b.String())
}

// localAddress is an address of this machine that others may reach.
func localAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}

// writeFingerprints writes what people compare.
func (s *serving) writeFingerprints(b *strings.Builder) {
	root, leaf := s.ca.Root(), s.ca.Leaf()
	if root == nil || leaf == nil {
		b.WriteString("\n  no certificate: nestbox cert status says why\n")
		return
	}
	fmt.Fprintf(b, "\n  fingerprint of the CA (SHA-256):\n  %s\n  fingerprint of the certificate until %s:\n  %s\n",
		tls.Fingerprint(root), day(leaf.NotAfter), tls.Fingerprint(leaf))
	if old := s.ca.Replaced(); old != "" {
		fmt.Fprintf(b, "\nThe self-signed certificate of before is replaced: mail programs ask once more. It was\n  %s\n", old)
	}
}
