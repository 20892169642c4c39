package tls

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// duckdns: https://www.duckdns.org/spec.jsp. A name has one TXT record, which
// all names below it have as well.
type duckdns struct {
	dnsAPI
	token string
}

func newDuckDNS(v dnsValues) (dnsProvider, error) {
	if err := v.need("token"); err != nil {
		return nil, err
	}
	api, err := newDNSAPI(v, "https://www.duckdns.org", nil, v["token"])
	return &duckdns{api, v["token"]}, err
}

func (p *duckdns) present(ctx context.Context, r dnsRecord) error {
	return p.update(ctx, r, url.Values{"txt": {r.value}})
}

func (p *duckdns) cleanup(ctx context.Context, r dnsRecord) error {
	return p.update(ctx, r, url.Values{"txt": {r.value}, "clear": {"true"}})
}

func (p *duckdns) update(ctx context.Context, r dnsRecord, q url.Values) error {
	name, ok := strings.CutSuffix(r.name, ".duckdns.org")
	if !ok {
		return errors.New(r.name + " is no name of duckdns.org")
	}
	q.Set("domains", name[strings.LastIndexByte(name, '.')+1:])
	q.Set("token", p.token)
	var answer string
	if err := p.call(ctx, http.MethodGet, "/update?"+q.Encode(), nil, &answer); err != nil {
		return err
	}
	if !strings.HasPrefix(answer, "OK") {
		return errors.New("duckdns.org refuses: the token or the name is not right")
	}
	return nil
}
