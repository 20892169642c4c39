package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"nestbox/tls"
)

// CertAPI is about certificates and the box's own CA.
type CertAPI interface {
	Certificates(ctx context.Context) ([]tls.Status, error)
	// RenewCertificates has all sources make or get new ones.
	RenewCertificates(ctx context.Context) error
	// CA is the root of the local CA; with renew a new one, which all devices
	// must install. It is made if there is none.
	CA(ctx context.Context, renew bool) (CA, error)
	// ExportCA is the root with its key, as PEM; ImportCA takes that over.
	ExportCA(ctx context.Context) ([]byte, error)
	ImportCA(ctx context.Context, pem []byte) error
}

// CA is the root of the local CA.
type CA struct {
	PEM         string    `json:"pem"`
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"fingerprint"` // SHA-256
	NotAfter    time.Time `json:"not_after"`
	// Domains and Ranges are what its certificates may hold for; empty: all.
	Domains []string `json:"domains"`
	Ranges  []string `json:"ranges"`
}

var errNoCA = errors.New("there is no local CA yet: nestbox serve makes it at its first start")

// Certificates tells of all sources.
func (l *Local) Certificates(context.Context) ([]tls.Status, error) {
	set, _, err := l.Certs()
	if err != nil {
		return nil, err
	}
	return set.Status(), nil
}

// RenewCertificates has all sources look for new ones.
func (l *Local) RenewCertificates(context.Context) error {
	set, _, err := l.Certs()
	if err != nil {
		return err
	}
	return set.Renew(true)
}

// CA is the root of the local CA.
func (l *Local) CA(_ context.Context, renew bool) (CA, error) {
	_, ca, err := l.Certs()
	if err != nil {
		return CA{}, err
	}
	if renew {
		err = ca.RenewRoot()
	} else if ca.Root() == nil {
		err = ca.Look()
	}
	if err != nil {
		return CA{}, err
	}
	root := ca.Root()
	out := CA{
		PEM: string(tls.PEM(root)), Subject: root.Subject.CommonName, Fingerprint: tls.Fingerprint(root), NotAfter: root.NotAfter.UTC(),
		Domains: append([]string{}, root.PermittedDNSDomains...), Ranges: []string{},
	}
	for _, n := range root.PermittedIPRanges {
		out.Ranges = append(out.Ranges, n.String())
	}
	return out, nil
}

// ExportCA is the root with its key.
func (l *Local) ExportCA(context.Context) ([]byte, error) {
	_, ca, err := l.Certs()
	if err != nil {
		return nil, err
	}
	text, err := ca.Export()
	if err == nil && text == nil {
		err = errNoCA
	}
	return text, err
}

// ImportCA takes a root with its key over.
func (l *Local) ImportCA(_ context.Context, pem []byte) error {
	_, ca, err := l.Certs()
	if err != nil {
		return err
	}
	return ca.Import(pem)
}

// Certificates tells of all sources of the server.
func (r *Remote) Certificates(ctx context.Context) (all []tls.Status, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/certificates", nil, nil, &all)
	return all, err
}

// RenewCertificates has all sources of the server look for new ones.
func (r *Remote) RenewCertificates(ctx context.Context) error {
	return r.call(ctx, http.MethodPost, "/v1/certificates", nil, nil, nil)
}

// CA is the root of the server's local CA.
func (r *Remote) CA(ctx context.Context, renew bool) (ca CA, err error) {
	method := http.MethodGet
	if renew {
		method = http.MethodPost
	}
	err = r.call(ctx, method, "/v1/ca", nil, nil, &ca)
	return ca, err
}

// A key goes in the body, as text.
type keyText struct {
	PEM string `json:"pem"`
}

// ExportCA is the root with its key.
func (r *Remote) ExportCA(ctx context.Context) ([]byte, error) {
	var k keyText
	err := r.call(ctx, http.MethodGet, "/v1/ca/key", nil, nil, &k)
	return []byte(k.PEM), err
}

// ImportCA takes a root with its key over.
func (r *Remote) ImportCA(ctx context.Context, pem []byte) error {
	return r.call(ctx, http.MethodPost, "/v1/ca/key", nil, keyText{string(pem)}, nil)
}

func (s *Server) certRoutes(mux *http.ServeMux) {
	for pattern, h := range map[string]func(*http.Request) (any, error){
		"GET /v1/certificates":  func(r *http.Request) (any, error) { return s.api.Certificates(r.Context()) },
		"POST /v1/certificates": func(r *http.Request) (any, error) { return nil, s.api.RenewCertificates(r.Context()) },
		"GET /v1/ca":            func(r *http.Request) (any, error) { return s.api.CA(r.Context(), false) },
		"POST /v1/ca":           func(r *http.Request) (any, error) { return s.api.CA(r.Context(), true) },
		"GET /v1/ca/key": func(r *http.Request) (any, error) {
			b, err := s.api.ExportCA(r.Context())
			return keyText{string(b)}, err
		},
		"POST /v1/ca/key": func(r *http.Request) (any, error) {
			var k keyText
			if err := readJSON(r, &k); err != nil {
				return nil, err
			}
			return nil, s.api.ImportCA(r.Context(), []byte(k.PEM))
		},
	} {
		mux.HandleFunc(pattern, s.answer(h))
	}
}
