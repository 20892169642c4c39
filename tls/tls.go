// Package tls says where certificates come from and how connections are
// secured. The certificate here is a self-signed one, made once and kept:
// people compare its fingerprint, so it must not change by itself.
package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"nestbox/storage"
)

// selfSignedSecret is where system.db has the certificate and its key, as PEM.
const selfSignedSecret = "tls.self-signed"

const (
	// lifetime of the self-signed certificate. Clients that pin it ask again
	// when it changes, so it is long.
	lifetime = 10 * 365 * 24 * time.Hour
	// renewBefore the end a new one is made, at the next start.
	renewBefore = 30 * 24 * time.Hour
	// backdate is for clients whose clock is behind.
	backdate = 24 * time.Hour
)

// SelfSigned returns the box's self-signed certificate and its fingerprint,
// and makes one if there is none or the old one ends soon. names are those
// under which clients reach the box; with none, Names. A certificate that is
// there stays, whatever the names: who has accepted it is not asked again.
func SelfSigned(st *storage.Store, names []string) (cert tls.Certificate, fingerprint string, err error) {
	now := st.Now()
	text, err := st.Secret(selfSignedSecret)
	if err != nil {
		return cert, "", err
	}
	if text != nil {
		if cert, err = tls.X509KeyPair(text, text); err != nil {
			return cert, "", fmt.Errorf("certificate in system.db: %w", err)
		}
		if cert.Leaf.NotAfter.After(now.Add(renewBefore)) {
			return cert, Fingerprint(cert.Leaf), nil
		}
	}
	if len(names) == 0 {
		names = Names()
	}
	if text, err = newSelfSigned(names, now); err != nil {
		return cert, "", err
	}
	if cert, err = tls.X509KeyPair(text, text); err != nil {
		return cert, "", err
	}
	return cert, Fingerprint(cert.Leaf), st.SetSecret(selfSignedSecret, text)
}

// Fingerprint is the SHA-256 of a certificate, as clients show it.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

func newSelfSigned(names []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)), // RFC 5280 §4.1.2.2: not zero
		Subject:               pkix.Name{CommonName: "nestbox", Organization: []string{"nestbox self-signed"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.WithZone("").AsSlice())
		} else if ascii(name) {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if len(template.DNSNames) > 0 {
		template.Subject.CommonName = clip(template.DNSNames[0])
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// ascii is what a certificate can hold as a DNS name (RFC 5280 §4.2.1.6).
func ascii(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7F }) < 0
}

// clip keeps to the 64 characters that a common name can have (RFC 5280, ub-common-name).
func clip(name string) string { return name[:min(len(name), 64)] }

// Names are the names and addresses under which a client may reach this
// machine: its host name, in mDNS too, localhost, and its addresses.
func Names() []string {
	names := []string{}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		names = append(names, host)
		if !strings.Contains(host, ".") {
			names = append(names, host+".local")
		}
	}
	names = append(names, "localhost", "127.0.0.1", "::1")
	// Addresses without their names are worth less than a start that fails.
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().IsGlobalUnicast() {
			names = append(names, p.Addr().Unmap().String())
		}
	}
	slices.Sort(names[min(len(names), 1):]) // the host name stays first
	return slices.Compact(names)
}

// errNoCertificate is what a handshake fails with before there is one.
var errNoCertificate = errors.New("no certificate")

// ServerConfig secures a listener: TLS 1.2 and 1.3 with forward secrecy and
// AEAD only. get is asked at each handshake, so certificates can change under
// a running server. protos are for ALPN (RFC 7301), "imap" for IMAP: a client
// that asks for something else, as one tricked into the wrong port does, is
// refused; one that doesn't ask is served. Session tickets are on: a resumed
// handshake costs a phone half of a new one, and their keys change daily.
func ServerConfig(get func() *tls.Certificate, protos ...string) *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := get(); cert != nil {
				return cert, nil
			}
			return nil, errNoCertificate
		},
		MinVersion: tls.VersionTLS12,
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
}
