package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	// rootYears is how long a root holds: people install it once a device.
	rootYears = 10
	// leafLife suits Apple, which takes 825 days at most, and those who would
	// hold a private CA to the 398 days of public ones.
	leafLife = 397 * 24 * time.Hour
	// renewBefore its end a leaf is made anew.
	renewBefore = 30 * 24 * time.Hour
	// backdate is for clients whose clock is behind.
	backdate = 24 * time.Hour
)

// Where a box in a home can be: names that nobody can register, and addresses
// that nobody reaches from elsewhere.
var (
	homeDomains = []string{"localhost", "local", "lan", "home", "internal", "home.arpa"}
	homeRanges  = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "fc00::/7", "fe80::/10", "::1/128"}
)

// An authority is a root with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes a root. If it is limited, certificates of it hold for
// homes and for names only: who has the key can't pose as a bank to those who
// installed the root. The limit is not critical (RFC 5280 §4.2.1.10 wants it
// so, but programs that don't know it would then refuse all).
func newAuthority(box string, limited bool, names []string, built, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	// Two roots of one subject and different keys would confuse clients that
	// have both.
	unique := make([]byte, 4)
	if _, err := rand.Read(unique); err != nil {
		return nil, err
	}
	// Devices install it once: it must hold, too, if the clock was ahead on the
	// day that it was made.
	from := built
	if now.Before(from) || from.IsZero() {
		from = now
	}
	from = from.Add(-backdate)
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: clip("nestbox CA of "+asciiOnly(box), 55) + " " + hex.EncodeToString(unique), Organization: []string{"nestbox"}},
		NotBefore:    from, NotAfter: now.Add(-backdate).AddDate(rootYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	if limited {
		limit(template, names)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// limit is RFC 5280 §4.2.1.10: for what a certificate of a root may hold.
func limit(template *x509.Certificate, names []string) {
	seen := map[string]bool{}
	for _, name := range append(append([]string{}, homeDomains...), names...) {
		if a, err := netip.ParseAddr(name); err == nil {
			a = a.Unmap().WithZone("")
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
		} else if isASCII(name) && !seen[name] {
			seen[name] = true
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, name)
		}
	}
	for _, text := range homeRanges {
		if _, n, err := net.ParseCIDR(text); err == nil {
			template.PermittedIPRanges = append(template.PermittedIPRanges, n)
		}
	}
}

// allows reports whether a certificate of the root may hold for a name or an address.
func (a *authority) allows(name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		for _, n := range a.cert.PermittedIPRanges {
			if n.Contains(ip) {
				return true
			}
		}
		return len(a.cert.PermittedIPRanges) == 0
	}
	for _, domain := range a.cert.PermittedDNSDomains {
		if name == domain || strings.HasSuffix(name, "."+domain) {
			return true
		}
	}
	return len(a.cert.PermittedDNSDomains) == 0
}

// issue makes a certificate for names, as PEM with its key and the root.
func (a *authority) issue(names []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	from := now.Add(-backdate)
	until := from.Add(leafLife)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "nestbox"},
		NotBefore: from, NotAfter: until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(template.DNSNames) > 0 {
		template.Subject.CommonName = clip(template.DNSNames[0], 64)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return encode(key, der, a.cert.Raw)
}

// encode is certificates and a key as PEM.
func encode(key crypto.Signer, ders ...[]byte) ([]byte, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// maxPEM bounds what is taken for a CA that somebody imports.
const maxPEM = 64 << 10

// readAuthority reads a root and its key from PEM.
func readAuthority(text []byte) (*authority, error) {
	if len(text) > maxPEM {
		return nil, fmt.Errorf("more than %d bytes", maxPEM)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, errors.New("its key can't sign")
	case !pair.Leaf.IsCA || pair.Leaf.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("its certificate is not that of a CA")
	}
	if err := pair.Leaf.CheckSignatureFrom(pair.Leaf); err != nil {
		return nil, fmt.Errorf("its certificate is not a root: %w", err)
	}
	return &authority{pair.Leaf, key}, nil
}

func (a *authority) pem() ([]byte, error) { return encode(a.key, a.cert.Raw) }

// newSerial is a serial number with 127 random bits (RFC 5280 §4.1.2.2: not zero).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.Add(n, big.NewInt(1)), nil
}

// isASCII is what a certificate can hold as a DNS name (RFC 5280 §4.2.1.6).
func isASCII(name string) bool { return name != "" && asciiOnly(name) == name }

func asciiOnly(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7F {
			return -1
		}
		return r
	}, name)
}

// clip keeps to what a common name can hold (64 characters: RFC 5280, ub-common-name).
func clip(name string, most int) string { return name[:min(len(name), most)] }
