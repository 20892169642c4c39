package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// introspected is how long the provider's answer about a token holds: so long a
// token that was taken back still logs in.
const introspected = time.Minute

// introspect asks the provider about a token (RFC 7662).
func (o *oauth) introspect(ctx context.Context, token string) (grant, error) {
	if len(token) > maxToken {
		return grant{}, &tokenError{reason: "token_unreadable", status: "invalid_token", guess: true}
	}
	mac := o.cache.mac(token)
	if e, ok := o.cache.get(mac); ok {
		return e.grant, e.err
	}
	select {
	case o.asking <- struct{}{}:
	case <-ctx.Done():
		return grant{}, ctx.Err()
	}
	defer func() { <-o.asking }()
	c, err := o.ask(ctx, token)
	if err != nil {
		return grant{}, err
	}
	e := tokenEntry{expires: time.Now().Add(introspected)}
	e.grant, e.err = o.active(c)
	if ends, ok := c.when("exp"); ok && c["exp"] != nil && e.err == nil {
		if left := ends.Sub(o.now()); left < introspected {
			e.expires = time.Now().Add(max(left, 0))
		}
	}
	o.cache.add(mac, e)
	return e.grant, e.err
}

// active reads the provider's answer.
func (o *oauth) active(c claims) (grant, error) {
	if string(c["active"]) != "true" {
		// It never was one, has expired or was taken back: nobody tells which.
		return grant{}, &tokenError{reason: "token_inactive", status: "invalid_token", guess: true}
	}
	if c["iss"] != nil && c.text("iss") != o.Issuer {
		return grant{}, badToken("token_of_another_issuer")
	}
	if err := c.during(o.now(), false); err != nil {
		return grant{}, err
	}
	return o.grant(c)
}

func (o *oauth) ask(ctx context.Context, token string) (claims, error) {
	m, err := o.provider.where(ctx)
	if err != nil {
		return nil, err
	}
	if m.Introspection == "" {
		return nil, o.provider.failed("introspection", errors.New("it has no introspection_endpoint"))
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Introspection, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, o.provider.failed("introspection", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// RFC 6749 §2.3.1
	r.SetBasicAuth(url.QueryEscape(o.ClientID), url.QueryEscape(o.ClientSecret))
	body, err := o.provider.do(r)
	if err != nil {
		return nil, o.provider.failed("introspection", err)
	}
	c, err := parseClaims(body)
	if err != nil {
		return nil, o.provider.failed("introspection", errors.New("its answer is not a JSON object"))
	}
	return c, nil
}

// A tokenCache remembers what the provider said of tokens, by HMAC like macCache.
type tokenCache struct {
	macs *macCache // only its key

	mu      sync.Mutex
	entries map[[sha256.Size]byte]tokenEntry
	order   [][sha256.Size]byte // oldest first
}

type tokenEntry struct {
	expires time.Time
	grant   grant
	err     error
}

func newTokenCache() *tokenCache {
	return &tokenCache{macs: newMACCache(), entries: map[[sha256.Size]byte]tokenEntry{}}
}

func (c *tokenCache) mac(token string) [sha256.Size]byte { return c.macs.mac(token) }

func (c *tokenCache) get(m [sha256.Size]byte) (tokenEntry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[m]
	return e, ok && time.Now().Before(e.expires)
}

func (c *tokenCache) add(m [sha256.Size]byte, e tokenEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[m]; ok {
		c.order = slices.DeleteFunc(c.order, func(o [sha256.Size]byte) bool { return o == m })
	}
	if len(c.order) >= cacheSize {
		delete(c.entries, c.order[0])
		c.order = c.order[1:]
	}
	c.entries[m], c.order = e, append(c.order, m)
}
