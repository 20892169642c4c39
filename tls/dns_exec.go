package tls

import (
	"context"
	"errors"
)

// execDNS has the administrator's program do it: present|cleanup FQDN VALUE.
type execDNS struct {
	run func(ctx context.Context, args ...string) error
}

func newExecDNS(run func(context.Context, ...string) error) (*execDNS, error) {
	if run == nil {
		return nil, errors.New("acme_dns = \"exec\" needs acme_dns_hook")
	}
	return &execDNS{run}, nil
}

func (p *execDNS) present(ctx context.Context, r dnsRecord) error {
	return p.run(ctx, "present", r.name, r.value)
}

func (p *execDNS) cleanup(ctx context.Context, r dnsRecord) error {
	return p.run(ctx, "cleanup", r.name, r.value)
}
