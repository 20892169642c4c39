package tls

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// hetzner: https://docs.hetzner.cloud/, DNS. The token is one of the project
// that has the zone, for reading and writing.
type hetzner struct{ dnsAPI }

func newHetzner(v dnsValues) (dnsProvider, error) {
	if err := v.need("token"); err != nil {
		return nil, err
	}
	api, err := newDNSAPI(v, "https://api.hetzner.cloud/v1", map[string]string{"Authorization": "Bearer " + v["token"]}, v["token"])
	return &hetzner{api}, err
}

type hetznerRecord struct {
	Value string `json:"value"`
}

type hetznerChange struct {
	TTL     int             `json:"ttl,omitempty"`
	Records []hetznerRecord `json:"records"`
}

func (p *hetzner) present(ctx context.Context, r dnsRecord) error {
	return p.change(ctx, r, "add_records", hetznerChange{int(recordTTL / time.Second), []hetznerRecord{{quoted(r.value)}}})
}

func (p *hetzner) cleanup(ctx context.Context, r dnsRecord) error {
	err := p.change(ctx, r, "remove_records", hetznerChange{0, []hetznerRecord{{quoted(r.value)}}})
	if notThere(err) {
		return nil
	}
	return err
}

func (p *hetzner) change(ctx context.Context, r dnsRecord, action string, what hetznerChange) error {
	for _, zone := range r.zones() {
		path := "/zones/" + url.PathEscape(zone)
		err := p.call(ctx, http.MethodGet, path, nil, nil)
		if notThere(err) {
			continue
		}
		if err != nil {
			return err
		}
		return p.call(ctx, http.MethodPost, path+"/rrsets/"+url.PathEscape(r.within(zone))+"/TXT/actions/"+action, what, nil)
	}
	return errors.New("the token is for no zone of " + r.name)
}
