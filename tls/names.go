package tls

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
)

// maxServerName bounds the names that are looked up (RFC 1035 §2.3.4).
const maxServerName = 253

// An index finds certificates by the names and addresses that they hold for.
// It never changes once it is filled.
type index struct {
	names map[string][]*tls.Certificate // "*.example.org" for wildcards
	addrs map[netip.Addr][]*tls.Certificate
}

// newIndex fills an index. Of several certificates for a name the first one
// that a client can use is taken.
func newIndex(certs ...*tls.Certificate) *index {
	x := &index{map[string][]*tls.Certificate{}, map[netip.Addr][]*tls.Certificate{}}
	for _, cert := range certs {
		for _, name := range cert.Leaf.DNSNames {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			x.names[name] = append(x.names[name], cert)
		}
		for _, ip := range cert.Leaf.IPAddresses {
			if a, ok := netip.AddrFromSlice(ip); ok {
				x.addrs[a.Unmap()] = append(x.addrs[a.Unmap()], cert)
			}
		}
	}
	return x
}

// find is the certificate for what a client asks for, nil if there is none.
func (x *index) find(hello *tls.ClientHelloInfo) *tls.Certificate {
	name, addr := wanted(hello)
	if addr.IsValid() {
		return usable(hello, x.addrs[addr])
	}
	if name == "" {
		return nil
	}
	if certs := x.names[name]; certs != nil {
		return usable(hello, certs)
	}
	// RFC 9525 §6.3: a wildcard stands for exactly one label, the leftmost.
	if label, rest, ok := strings.Cut(name, "."); ok && label != "" && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" && !strings.HasPrefix(label, "-") {
		return usable(hello, x.names["*."+rest])
	}
	return nil
}

// usable is the first certificate that the client has algorithms for, else
// the first: its refusal is clearer than ours.
func usable(hello *tls.ClientHelloInfo, certs []*tls.Certificate) *tls.Certificate {
	for _, cert := range certs {
		if len(certs) == 1 || hello.SupportsCertificate(cert) == nil {
			return cert
		}
	}
	if len(certs) > 0 {
		return certs[0]
	}
	return nil
}

// wanted is the name or the address that a client wants: what it asks for
// (RFC 6066 §3, SNI, in which some put an address although they must not),
// else the address that it came to.
func wanted(hello *tls.ClientHelloInfo) (name string, addr netip.Addr) {
	if len(hello.ServerName) > maxServerName {
		return "", netip.Addr{}
	}
	if a, err := netip.ParseAddr(hello.ServerName); err == nil && a.Zone() == "" {
		return "", a.Unmap()
	}
	name = strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" {
		return "", localAddr(hello.Conn)
	}
	if strings.HasPrefix(name, "*") {
		return "", netip.Addr{} // nobody is called so: it would find the wildcard itself
	}
	return name, netip.Addr{}
}

func localAddr(c net.Conn) netip.Addr {
	if c == nil || c.LocalAddr() == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// certNames are the names and addresses of a certificate.
func certNames(cert *x509.Certificate) []string {
	names := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
