package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// A provider is an OpenID provider, by HTTP.
type provider struct {
	issuer   string
	log      *slog.Logger
	client   *http.Client
	metadata fetched[metadata]
	keys     fetched[[]jwk]
}

// metadata are where a provider is asked what (OpenID Connect Discovery §3).
type metadata struct {
	Issuer        string `json:"issuer"`
	JWKS          string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
}

const (
	// maxAnswer bounds what a provider answers.
	maxAnswer = 512 << 10
	// requestTime bounds each request.
	requestTime = 7 * time.Second

	// A key that the provider takes back is forgotten after freshKeys, or
	// staleKeys when the provider can't be reached.
	freshKeys, staleKeys         = time.Hour, 24 * time.Hour
	freshMetadata, staleMetadata = 24 * time.Hour, 7 * 24 * time.Hour
)

func newProvider(o OAuthOptions, log *slog.Logger) *provider {
	p := &provider{issuer: o.Issuer, log: log, client: &http.Client{
		Timeout: requestTime,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: requestTime, MaxConnsPerHost: maxAsking, MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// Answers come from where the configuration and the provider's own page say.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects elsewhere") },
	}}
	p.metadata = fetched[metadata]{fetch: p.discover, fresh: freshMetadata, stale: staleMetadata, now: time.Now}
	p.keys = fetched[[]jwk]{fetch: p.fetchKeys, fresh: freshKeys, stale: staleKeys, now: time.Now}
	return p
}

// discoveryURL is where a provider tells about itself.
func discoveryURL(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// key is the one that a token was signed with, nil if the provider has no such.
func (p *provider) key(ctx context.Context, kid, alg string) (*jwk, error) {
	keys, ok, err := p.keys.get(ctx, func(keys []jwk) bool { return findJWK(keys, kid, alg) != nil })
	if err != nil || !ok {
		return nil, err
	}
	return findJWK(keys, kid, alg), nil
}

func (p *provider) discover(ctx context.Context) (m metadata, err error) {
	body, err := p.get(ctx, discoveryURL(p.issuer))
	if err == nil {
		m, err = p.parseMetadata(body)
	}
	return m, p.failed("discovery", err)
}

func (p *provider) parseMetadata(body []byte) (m metadata, err error) {
	if json.Unmarshal(body, &m) != nil {
		return m, errors.New("its configuration is not JSON")
	}
	if m.Issuer != p.issuer { // OpenID Connect Discovery §4.3
		return m, fmt.Errorf("it calls itself %.200q", m.Issuer)
	}
	for _, u := range []string{m.JWKS, m.Introspection} {
		if u != "" && !SafeURL(u) {
			return m, fmt.Errorf("it names %.200q, which is not https", u)
		}
	}
	return m, nil
}

// SafeURL tells whether what comes from there is what was sent: https, or from
// this machine.
func SafeURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	host, _ := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || (u.Scheme == "http" && (host.IsLoopback() || u.Hostname() == "localhost"))
}

// where is the provider's metadata.
func (p *provider) where(ctx context.Context) (metadata, error) {
	m, _, err := p.metadata.get(ctx, func(metadata) bool { return true })
	return m, err
}

func (p *provider) fetchKeys(ctx context.Context) ([]jwk, error) {
	m, err := p.where(ctx)
	if err != nil {
		return nil, err
	}
	body, err := p.get(ctx, m.JWKS)
	var keys []jwk
	if err == nil {
		keys, err = parseJWKS(body)
	}
	if err != nil {
		p.metadata.outdate() // they may have moved
		return nil, p.failed("keys", err)
	}
	p.log.Debug("oauth_keys_fetched", slog.String("issuer", p.issuer), slog.Int("keys", len(keys)))
	return keys, nil
}

// failed logs what the provider could not be asked, and is ErrUnavailable.
func (p *provider) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	p.log.Warn("oauth_provider_failed", slog.String("issuer", p.issuer), slog.String("what", what), slog.String("error", err.Error()))
	return fmt.Errorf("%w: the provider of tokens can't be asked", ErrUnavailable)
}

func (p *provider) get(ctx context.Context, from string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, err
	}
	return p.do(r)
}

func (p *provider) do(r *http.Request) ([]byte, error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "nestbox")
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", r.URL.Redacted(), answer.StatusCode)
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = fmt.Errorf("%s answers more than %d bytes", r.URL.Redacted(), maxAnswer)
	}
	return body.Bytes(), err
}
