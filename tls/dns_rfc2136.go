package tls

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// rfc2136 changes zones of a DNS server by dynamic update (RFC 2136), signed
// with a shared key (TSIG, RFC 8945), over TCP.
type rfc2136 struct {
	server, zone string // zone "": found by asking
	key          tsigKey
}

func newRFC2136(v dnsValues) (dnsProvider, error) {
	if err := v.need("server", "key", "secret"); err != nil {
		return nil, err
	}
	p := &rfc2136{server: withPort(v["server"], "53"), zone: strings.ToLower(strings.TrimSuffix(v["zone"], "."))}
	p.key.name = strings.ToLower(strings.TrimSuffix(v["key"], "."))
	p.key.algorithm = "hmac-sha256"
	if name := strings.ToLower(v["algorithm"]); name != "" {
		p.key.algorithm = name
	}
	if tsigHashes[p.key.algorithm] == nil {
		return nil, errors.New("acme_dns_file: algorithm must be hmac-sha256 or another of its family")
	}
	var err error
	if p.key.secret, err = base64.StdEncoding.DecodeString(v["secret"]); err != nil {
		return nil, errors.New("acme_dns_file: secret is not base64")
	}
	for _, name := range []string{p.key.name, p.zone} {
		if _, err := appendName(nil, name); err != nil {
			return nil, fmt.Errorf("acme_dns_file: %w", err)
		}
	}
	return p, nil
}

func (p *rfc2136) present(ctx context.Context, r dnsRecord) error {
	return p.update(ctx, r, classIN, uint32(recordTTL/time.Second))
}

// cleanup removes this value alone (RFC 2136 §2.5.4: class NONE, TTL 0).
func (p *rfc2136) cleanup(ctx context.Context, r dnsRecord) error {
	return p.update(ctx, r, classNone, 0)
}

// update tries the zones in which the name may be until the server has one.
func (p *rfc2136) update(ctx context.Context, r dnsRecord, class uint16, ttl uint32) error {
	zones := r.zones()
	if p.zone != "" {
		zones = []string{p.zone}
	}
	err := fmt.Errorf("%s is in no zone", r.name)
	for _, zone := range zones {
		var code uint16
		if code, err = p.send(ctx, zone, r, class, ttl); err != nil {
			return fmt.Errorf("update at %s: %w", p.server, err)
		}
		if code == codeNoError {
			return nil
		}
		err = fmt.Errorf("%s refuses the update: %s", p.server, codeText(code))
		if code != codeNotAuth && code != codeNotZone && code != codeRefused {
			return err
		}
	}
	return err
}

// maxDNSAnswer bounds what is read of an answer to an update: a header and a
// signature.
const maxDNSAnswer = 4096

// send sends an update and returns the code of the answer.
func (p *rfc2136) send(ctx context.Context, zone string, r dnsRecord, class uint16, ttl uint32) (uint16, error) {
	id := newDNSID()
	query, err := updateMessage(id, zone, r, class, ttl)
	if err != nil {
		return 0, err
	}
	query, mac := p.key.sign(query, nil, time.Now())
	c, err := (&net.Dialer{Timeout: dnsTimeout}).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	_ = c.SetDeadline(time.Now().Add(dnsTimeout))
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return 0, err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxDNSAnswer {
		return 0, errors.New("the answer is too long")
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(c, answer); err != nil {
		return 0, err
	}
	return p.key.readAnswer(answer, id, mac, time.Now())
}

const dnsTimeout = 10 * time.Second
