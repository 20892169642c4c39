package tls

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// certmagic has a solver for DNS01, but one that brings a whole DNS library
// along, half a megabyte. Go's own resolver can see whether a record is there.

// A dnsProvider sets and removes TXT records. Names have no dot at their end.
// It finds by itself in which zone a name is.
type dnsProvider interface {
	present(ctx context.Context, r dnsRecord) error
	cleanup(ctx context.Context, r dnsRecord) error
}

type dnsRecord struct{ name, value string }

// zones are those in which the name may be, the longest first.
func (r dnsRecord) zones() (zones []string) {
	for rest, ok := r.name, true; ok; {
		if _, rest, ok = strings.Cut(rest, "."); ok {
			zones = append(zones, rest)
		}
	}
	return zones
}

// within is the name as it is called in a zone.
func (r dnsRecord) within(zone string) string { return strings.TrimSuffix(r.name, "."+zone) }

// DNSOptions say how names are proved by DNS01.
type DNSOptions struct {
	// Provider is who has the zones: a key of dnsProviders.
	Provider string
	// File has what the provider wants to know (readDNSFile).
	File string
	// Hook runs the administrator's program for the provider "exec".
	Hook func(ctx context.Context, args ...string) error
}

// recordTTL is for how long others may remember a record: seconds, as a CA
// that asks again wants another value.
const recordTTL = time.Minute

// dnsProviders makes them, of what their file says.
var dnsProviders = map[string]func(dnsValues) (dnsProvider, error){
	"rfc2136": newRFC2136, "cloudflare": newCloudflare, "desec": newDesec, "duckdns": newDuckDNS, "hetzner": newHetzner, "acme-dns": newACMEDNS,
}

// solver sets up what answers DNS01.
func (o *DNSOptions) solver() (*dnsSolver, error) {
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
	s := &dnsSolver{resolvers: strings.Fields(values["resolvers"])}
	var err error
	if s.wait, err = values.wait(); err != nil {
		return nil, fmt.Errorf("acme_dns_file %s: %w", o.File, err)
	}
	make, known := dnsProviders[o.Provider]
	switch {
	case o.Provider == "exec":
		s.provider, err = newExecDNS(o.Hook)
	case !known:
		err = fmt.Errorf("acme_dns = %q is no provider", o.Provider)
	default:
		s.provider, err = make(values)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// A dnsSolver proves a name by a record.
type dnsSolver struct {
	provider  dnsProvider
	resolvers []string      // who is asked whether the record is there; none: the zone's own servers
	wait      time.Duration // for how long at most; 0: nobody is asked
}

var (
	_ acmez.Solver = (*dnsSolver)(nil)
	_ acmez.Waiter = (*dnsSolver)(nil)
)

func recordOf(c acme.Challenge) dnsRecord {
	return dnsRecord{name: c.DNS01TXTRecordName(), value: c.DNS01KeyAuthorization()}
}

// Present sets the record.
func (s *dnsSolver) Present(ctx context.Context, c acme.Challenge) error {
	if err := s.provider.present(ctx, recordOf(c)); err != nil {
		return fmt.Errorf("the record can't be set: %w", err)
	}
	return nil
}

// cleanupTime is how long removing a record may take, also when all else was cancelled.
const cleanupTime = time.Minute

// CleanUp removes the record.
func (s *dnsSolver) CleanUp(ctx context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := s.provider.cleanup(ctx, recordOf(c)); err != nil {
		return fmt.Errorf("the record can't be removed: %w", err)
	}
	return nil
}

// propagationPeriod is how often a record is looked for.
const propagationPeriod = 2 * time.Second

// Wait returns when all whom the CA may ask have the record.
func (s *dnsSolver) Wait(ctx context.Context, c acme.Challenge) error {
	if s.wait == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	r := recordOf(c)
	if p, ok := s.provider.(interface{ watched(dnsRecord) dnsRecord }); ok {
		r = p.watched(r)
	}
	for {
		missing, err := s.missing(ctx, r)
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("within %v nobody could be asked for the record %s: %w", s.wait, r.name, err)
			}
			return fmt.Errorf("within %v the record %s did not get to %s", s.wait, r.name, missing)
		case <-time.After(propagationPeriod):
		}
	}
}

// missing is a server that hasn't the record, "" if all have it.
func (s *dnsSolver) missing(ctx context.Context, r dnsRecord) (string, error) {
	servers := s.resolvers
	if len(servers) == 0 {
		var err error
		if servers, err = nameservers(ctx, r); err != nil {
			return "", err
		}
	}
	for _, server := range servers {
		values, _ := resolverAt(server).LookupTXT(ctx, r.name+".") // none yet, or no answer yet
		if !slices.Contains(values, r.value) {
			return server, nil
		}
	}
	return "", nil
}

// nameservers are those of the zone that a name is in.
func nameservers(ctx context.Context, r dnsRecord) (servers []string, err error) {
	for _, zone := range r.zones() {
		var found []*net.NS
		if found, err = net.DefaultResolver.LookupNS(ctx, zone+"."); err != nil {
			continue
		}
		for _, ns := range found {
			servers = append(servers, strings.TrimSuffix(ns.Host, "."))
		}
		if len(servers) > 0 {
			return servers, nil
		}
	}
	return nil, fmt.Errorf("whose zone is %s? %w", r.name, err)
}

// resolverAt asks one server, "host" or "host:port".
func resolverAt(server string) *net.Resolver {
	addr := withPort(server, "53")
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
}

// withPort adds a port where there is none.
func withPort(server, port string) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), port)
}
