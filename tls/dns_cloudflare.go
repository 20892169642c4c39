package tls

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// cloudflare: https://developers.cloudflare.com/api/resources/dns/. The token
// needs Zone.Zone:Read and Zone.DNS:Edit.
type cloudflare struct {
	dnsAPI
	mu   sync.Mutex
	sets map[dnsRecord]string // path of a record that was set
}

func newCloudflare(v dnsValues) (dnsProvider, error) {
	if err := v.need("token"); err != nil {
		return nil, err
	}
	api, err := newDNSAPI(v, "https://api.cloudflare.com/client/v4", map[string]string{"Authorization": "Bearer " + v["token"]}, v["token"])
	return &cloudflare{dnsAPI: api, sets: map[dnsRecord]string{}}, err
}

// zone is the path of the zone that a name is in.
func (p *cloudflare) zone(ctx context.Context, r dnsRecord) (string, error) {
	for _, zone := range r.zones() {
		var answer struct {
			Result []struct {
				ID string `json:"id"`
			} `json:"result"`
		}
		if err := p.call(ctx, http.MethodGet, "/zones?name="+url.QueryEscape(zone), nil, &answer); err != nil {
			return "", err
		}
		if len(answer.Result) > 0 {
			return "/zones/" + url.PathEscape(answer.Result[0].ID), nil
		}
	}
	return "", errors.New("the token is for no zone of " + r.name)
}

func (p *cloudflare) present(ctx context.Context, r dnsRecord) error {
	zone, err := p.zone(ctx, r)
	if err != nil {
		return err
	}
	var answer struct {
		Result struct {
			ID string `json:"id"`
		} `json:"result"`
	}
	err = p.call(ctx, http.MethodPost, zone+"/dns_records", map[string]any{
		"type": "TXT", "name": r.name, "content": quoted(r.value), "ttl": recordTTL / time.Second,
	}, &answer)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sets[r] = zone + "/dns_records/" + url.PathEscape(answer.Result.ID)
	}
	return err
}

func (p *cloudflare) cleanup(ctx context.Context, r dnsRecord) error {
	p.mu.Lock()
	path := p.sets[r]
	delete(p.sets, r)
	p.mu.Unlock()
	if path == "" {
		return nil // it was never set
	}
	err := p.call(ctx, http.MethodDelete, path, nil, nil)
	if notThere(err) {
		return nil
	}
	return err
}
