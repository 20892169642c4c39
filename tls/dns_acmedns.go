package tls

import (
	"context"
	"net/http"
)

// acmeDNS: https://github.com/joohoi/acme-dns. The name has a CNAME to
// fulldomain, of which the server keeps the last two values.
type acmeDNS struct {
	dnsAPI
	subdomain, full string
}

func newACMEDNS(v dnsValues) (dnsProvider, error) {
	if err := v.need("username", "password", "subdomain", "fulldomain"); err != nil {
		return nil, err
	}
	api, err := newDNSAPI(v, "https://auth.acme-dns.io", map[string]string{"X-Api-User": v["username"], "X-Api-Key": v["password"]}, v["password"])
	return &acmeDNS{api, v["subdomain"], v["fulldomain"]}, err
}

func (p *acmeDNS) present(ctx context.Context, r dnsRecord) error {
	return p.call(ctx, http.MethodPost, "/update", map[string]string{"subdomain": p.subdomain, "txt": r.value}, nil)
}

// cleanup has nothing to do: the server forgets old values.
func (p *acmeDNS) cleanup(context.Context, dnsRecord) error { return nil }

// watched is where the value is, behind the CNAME.
func (p *acmeDNS) watched(r dnsRecord) dnsRecord { return dnsRecord{p.full, r.value} }
