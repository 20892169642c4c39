package auth

import (
	"context"
	"crypto"
	_ "crypto/sha512" // signatures of certificates
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
)

// Channel bindings tie a login to the TLS connection that it came over: who sits
// in the middle has two of them, and the client signs the one that it sees.
const (
	bindExporter = "tls-exporter"         // RFC 9266
	bindEndPoint = "tls-server-end-point" // RFC 5929 §4
	// RFC 5929 §3, the default of RFC 5802 §6.1: what GNU SASL takes on TLS 1.2.
	bindUnique = "tls-unique"
)

// bindingData is what a client has to see too, nil when the connection has none.
func (c *Conn) bindingData(name string) []byte {
	if c.TLS == nil {
		return nil
	}
	switch name {
	case bindExporter:
		// Go refuses it where it is not safe: TLS 1.2 without extended master secret
		// (RFC 9266 §3). A server never renegotiates here.
		data, err := c.TLS.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			return nil
		}
		return data
	case bindEndPoint:
		return c.Certificate
	case bindUnique:
		// There is none in TLS 1.3 (RFC 9266 §3), and without extended master secret
		// it can be forged (RFC 7627 §1): then there is no exporter either.
		if c.bindingData(bindExporter) == nil || len(c.TLS.TLSUnique) == 0 {
			return nil
		}
		return c.TLS.TLSUnique
	}
	return nil
}

// canBind tells whether there is a binding at all.
func (c *Conn) canBind() bool {
	return c.bindingData(bindExporter) != nil || c.bindingData(bindEndPoint) != nil
}

// A Binding remembers the certificate that a handshake showed to the client:
// crypto/tls doesn't tell afterwards. A resumed connection shows none, and has no
// tls-server-end-point here.
type Binding struct {
	leaf atomic.Pointer[x509.Certificate]
}

type bindingKey struct{}

// NewBinding gives the context for one handshake, with a config of RecordBinding.
func NewBinding(ctx context.Context) (context.Context, *Binding) {
	b := new(Binding)
	return context.WithValue(ctx, bindingKey{}, b), b
}

// RecordBinding is config with a GetCertificate that tells the Binding of the
// handshake what it gave.
func RecordBinding(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	inner := config
	config = config.Clone()
	config.Certificates = nil // else crypto/tls takes the first without asking
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := chooseCertificate(inner, hello)
		if b, ok := hello.Context().Value(bindingKey{}).(*Binding); ok && cert != nil {
			leaf := cert.Leaf
			if leaf == nil && len(cert.Certificate) > 0 {
				leaf, _ = x509.ParseCertificate(cert.Certificate[0])
			}
			b.leaf.Store(leaf)
		}
		return cert, err
	}
	return config
}

// chooseCertificate does what crypto/tls does with a config.
func chooseCertificate(config *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if config.GetCertificate != nil {
		if cert, err := config.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range config.Certificates {
		if hello.SupportsCertificate(&config.Certificates[i]) == nil {
			return &config.Certificates[i], nil
		}
	}
	if len(config.Certificates) > 0 {
		return &config.Certificates[0], nil
	}
	return nil, nil
}

// EndPoint is the hash of the certificate that RFC 5929 §4.1 wants: by the hash
// of its signature, but SHA-256 for those that are broken. Nil when there is none.
func (b *Binding) EndPoint() []byte {
	if b == nil || b.leaf.Load() == nil {
		return nil
	}
	leaf := b.leaf.Load()
	h := crypto.SHA256
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h = crypto.SHA512
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil // no one hash: undefined
	}
	sum := h.New()
	sum.Write(leaf.Raw)
	return sum.Sum(nil)
}
