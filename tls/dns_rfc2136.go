package tls

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// rfc2136 changes zones of a DNS server by dynamic update (RFC 2136), signed
// with a shared key (TSIG, RFC 8945).
type rfc2136 struct {
	server, key, algorithm, secret string
}

// tsigAlgorithms are those that are good for anything.
var tsigAlgorithms = map[string]string{
	"hmac-sha224": dns.HmacSHA224, "hmac-sha256": dns.HmacSHA256, "hmac-sha384": dns.HmacSHA384, "hmac-sha512": dns.HmacSHA512,
}

func newRFC2136(v dnsValues) (*rfc2136, error) {
	if err := v.need("server", "key", "secret"); err != nil {
		return nil, err
	}
	p := &rfc2136{server: v["server"], key: dns.CanonicalName(v["key"]), secret: v["secret"], algorithm: dns.HmacSHA256}
	if _, _, err := net.SplitHostPort(p.server); err != nil {
		p.server = net.JoinHostPort(strings.Trim(p.server, "[]"), "53")
	}
	if name := strings.ToLower(v["algorithm"]); name != "" {
		if p.algorithm = tsigAlgorithms[name]; p.algorithm == "" {
			return nil, fmt.Errorf("acme_dns_file: algorithm must be hmac-sha256 or another of its family")
		}
	}
	return p, nil
}

func (p *rfc2136) present(ctx context.Context, r dnsRecord) error {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(r.zone))
	m.Insert([]dns.RR{r.txt()})
	return p.send(ctx, m)
}

func (p *rfc2136) cleanup(ctx context.Context, r dnsRecord) error {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(r.zone))
	m.Remove([]dns.RR{r.txt()})
	return p.send(ctx, m)
}

func (r dnsRecord) txt() dns.RR {
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: dns.Fqdn(r.name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(recordTTL / time.Second)},
		Txt: []string{r.value},
	}
}

// tsigFudge is how many seconds the clocks may differ (RFC 8945 §10).
const tsigFudge = 300

func (p *rfc2136) send(ctx context.Context, m *dns.Msg) error {
	c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{p.key: p.secret}}
	m.SetTsig(p.key, p.algorithm, tsigFudge, time.Now().Unix())
	answer, _, err := c.ExchangeContext(ctx, m, p.server)
	switch {
	case err != nil:
		return fmt.Errorf("update at %s: %w", p.server, err)
	case answer.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("%s refuses the update: %s", p.server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}
