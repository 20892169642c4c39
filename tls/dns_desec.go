package tls

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// desec: https://desec.readthedocs.io/. A change is of all records of a name
// at once, so one is made after the other.
type desec struct {
	dnsAPI
	mu sync.Mutex
}

func newDesec(v dnsValues) (dnsProvider, error) {
	if err := v.need("token"); err != nil {
		return nil, err
	}
	api, err := newDNSAPI(v, "https://desec.io/api/v1", map[string]string{"Authorization": "Token " + v["token"]}, v["token"])
	return &desec{dnsAPI: api}, err
}

func (p *desec) present(ctx context.Context, r dnsRecord) error {
	return p.change(ctx, r, func(values []string) []string { return append(values, quoted(r.value)) })
}

func (p *desec) cleanup(ctx context.Context, r dnsRecord) error {
	return p.change(ctx, r, func(values []string) []string {
		return slices.DeleteFunc(values, func(v string) bool { return v == quoted(r.value) })
	})
}

func (p *desec) change(ctx context.Context, r dnsRecord, f func([]string) []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var domains []struct {
		Name string `json:"name"`
		TTL  int    `json:"minimum_ttl"`
	}
	if err := p.call(ctx, http.MethodGet, "/domains/?owns_qname="+url.QueryEscape(r.name), nil, &domains); err != nil {
		return err
	}
	if len(domains) == 0 {
		return errors.New("the token is for no domain of " + r.name)
	}
	sets := "/domains/" + url.PathEscape(domains[0].Name) + "/rrsets/"
	type rrset struct {
		Subname string   `json:"subname"`
		Type    string   `json:"type"`
		TTL     int      `json:"ttl"`
		Records []string `json:"records"`
	}
	set := rrset{Subname: r.within(domains[0].Name), Type: "TXT", TTL: max(domains[0].TTL, int(recordTTL/time.Second))}
	var old rrset
	if err := p.call(ctx, http.MethodGet, sets+url.PathEscape(set.Subname)+"/TXT/", nil, &old); err != nil && !notThere(err) {
		return err
	}
	// Without records the set is deleted; null would be refused.
	set.Records = append([]string{}, f(old.Records)...)
	return p.call(ctx, http.MethodPut, sets, []rrset{set}, nil)
}
