package tls

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
	"go.uber.org/zap"
)

// A dnsProvider sets and removes TXT records for the challenge DNS01. Names
// and zones have no dot at their end.
type dnsProvider interface {
	present(ctx context.Context, r dnsRecord) error
	cleanup(ctx context.Context, r dnsRecord) error
}

type dnsRecord struct {
	zone  string // in which the name is
	name  string // the whole, "_acme-challenge.mail.example.org"
	value string
}

// DNSOptions say how names are proved by DNS01.
type DNSOptions struct {
	// Provider is who has the zones: rfc2136, exec.
	Provider string
	// File has what the provider wants to know (readDNSFile).
	File string
	// Hook runs the administrator's program for the provider "exec".
	Hook func(ctx context.Context, args ...string) error
}

// recordTTL is for how long others may remember a record: seconds, as a CA
// that asks again wants another value.
const recordTTL = time.Minute

// solver sets up what answers DNS01.
func (o *DNSOptions) solver(logger *zap.Logger) (*certmagic.DNS01Solver, error) {
	values := dnsValues{}
	if o.File != "" {
		text, err := readFile(o.File)
		if err == nil {
			values, err = readDNSFile(string(text))
		}
		if err != nil {
			return nil, fmt.Errorf("acme_dns_file %s: %w", o.File, err)
		}
	}
	wait, err := values.wait()
	if err != nil {
		return nil, fmt.Errorf("acme_dns_file %s: %w", o.File, err)
	}
	s := &certmagic.DNS01Solver{}
	s.TTL, s.PropagationTimeout, s.Resolvers, s.Logger = recordTTL, wait, strings.Fields(values["resolvers"]), logger
	var provider dnsProvider
	switch o.Provider {
	case "rfc2136":
		provider, err = newRFC2136(values)
	case "exec":
		provider, err = newExecDNS(o.Hook)
	default:
		err = fmt.Errorf("acme_dns = %q is no provider", o.Provider)
	}
	if err != nil {
		return nil, err
	}
	s.DNSProvider = dnsRecords{provider}
	return s, nil
}

// dnsRecords is a provider as certmagic wants it.
type dnsRecords struct{ dnsProvider }

func (d dnsRecords) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return recs, d.each(zone, recs, func(r dnsRecord) error { return d.present(ctx, r) })
}

func (d dnsRecords) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return recs, d.each(zone, recs, func(r dnsRecord) error { return d.cleanup(ctx, r) })
}

func (d dnsRecords) each(zone string, recs []libdns.Record, do func(dnsRecord) error) error {
	for _, rec := range recs {
		rr := rec.RR()
		r := dnsRecord{
			zone: strings.TrimSuffix(zone, "."), value: rr.Data,
			name: strings.TrimSuffix(libdns.AbsoluteName(rr.Name, zone), "."),
		}
		if err := do(r); err != nil {
			return fmt.Errorf("DNS: %w", err)
		}
	}
	return nil
}
