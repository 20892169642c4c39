package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTokenMessages(t *testing.T) {
	t.Parallel()
	const want = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
	for _, c := range []struct {
		parse            func([]byte) (string, string, error)
		message, authzid string
		good             bool
	}{
		// RFC 7628 §4.1, and the same with less.
		{parseBearer, "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer " + want + "\x01\x01", "user@example.com", true},
		{parseBearer, "n,,\x01auth=Bearer " + want + "\x01\x01", "", true},
		{parseBearer, "y,a=a=2Cb=3D,\x01auth=bearer  " + want + "\x01x=y\x01\x01", "a,b=", true},
		{parseBearer, "\x01", "", false},
		{parseBearer, "", "", false},
		{parseBearer, "n,,\x01\x01", "", false},
		{parseBearer, "n,,\x01host=x\x01\x01", "", false},
		{parseBearer, "n,,\x01auth=Bearer " + want + "\x01", "", false},
		{parseBearer, "n,,\x01auth=Bearer " + want + "\x01auth=Bearer x\x01\x01", "", false},
		{parseBearer, "n,,\x01auth=Basic " + want + "\x01\x01", "", false},
		{parseBearer, "n,,\x01auth=Bearer a b\x01\x01", "", false},
		{parseBearer, "n,,\x01auth=Bearer \x01\x01", "", false},
		{parseBearer, "p=tls-exporter,,\x01auth=Bearer " + want + "\x01\x01", "", false},
		{parseBearer, "n,user,\x01auth=Bearer " + want + "\x01\x01", "", false},
		{parseBearer, "n,a=,\x01auth=Bearer " + want + "\x01\x01", "", false},
		{parseBearer, "n,a=u,x\x01auth=Bearer " + want + "\x01\x01", "", false},
		{parseXOAuth2, "user=someuser@example.com\x01auth=Bearer " + want + "\x01\x01", "someuser@example.com", true},
		{parseXOAuth2, "user=\x01auth=Bearer " + want + "\x01\x01", "", true},
		{parseXOAuth2, "auth=Bearer " + want + "\x01\x01", "", false},
		{parseXOAuth2, "user=u\x00\x01auth=Bearer " + want + "\x01\x01", "", false},
		{parseXOAuth2, "user=u\x01auth=Bearer " + strings.Repeat("a", maxTokenResponse) + "\x01\x01", "", false},
	} {
		authzid, token, err := c.parse([]byte(c.message))
		if c.good && (err != nil || authzid != c.authzid || token != want) || !c.good && !errors.Is(err, ErrMalformed) {
			t.Errorf("%.80q: %q, %q, %v", c.message, authzid, token, err)
		}
	}
}

// TestFetched: one fetch at a time, not too often, and old values for a while.
func TestFetched(t *testing.T) {
	t.Parallel()
	var now atomic.Int64 // seconds
	var fetches, failing atomic.Int32
	f := fetched[int]{
		fresh: time.Hour, stale: 24 * time.Hour, now: func() time.Time { return time.Unix(1e9+now.Load(), 0) },
		fetch: func(context.Context) (int, error) {
			if failing.Load() > 0 {
				fetches.Add(1)
				return 0, ErrUnavailable
			}
			return int(fetches.Add(1)), nil
		},
	}
	any := func(int) bool { return true }
	step := func(seconds int64, good func(int) bool, wantValue int, wantOK bool, wantErr error, wantFetches int32) {
		t.Helper()
		now.Add(seconds)
		value, ok, err := f.get(t.Context(), good)
		settle(&f)
		if value != wantValue || ok != wantOK || !errors.Is(err, wantErr) || fetches.Load() != wantFetches {
			t.Errorf("%d, %v, %v after %d fetches; want %d, %v, %v after %d", value, ok, err, fetches.Load(), wantValue, wantOK, wantErr, wantFetches)
		}
	}
	second := func(v int) bool { return v >= 2 }
	step(0, any, 1, true, nil, 1)
	step(59, second, 0, false, nil, 1) // too soon
	step(1, second, 2, true, nil, 2)
	step(3599, any, 2, true, nil, 2)
	step(1, any, 2, true, nil, 3) // old: it is used, and a fetch begun
	step(0, any, 3, true, nil, 3)
	failing.Store(1)
	step(3600, any, 3, true, nil, 4)
	step(9, any, 3, true, nil, 4)
	step(1, any, 3, true, nil, 5)
	step(23*3600-11, any, 3, true, nil, 6)
	step(1, any, 0, false, ErrUnavailable, 6) // too old
	failing.Store(0)
	step(9, any, 7, true, nil, 7)
}

// settle waits for the fetch that is under way.
func settle[T any](f *fetched[T]) {
	f.mu.Lock()
	done := f.running
	f.mu.Unlock()
	if done != nil {
		<-done
	}
}

// TestFetchedGivesUp: who waits for a provider that doesn't answer can go.
func TestFetchedGivesUp(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	f := fetched[int]{fresh: time.Hour, stale: time.Hour, now: time.Now, fetch: func(context.Context) (int, error) { <-end; return 1, nil }}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.get(ctx, func(int) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(end)
	if v, ok, err := f.get(t.Context(), func(int) bool { return true }); v != 1 || !ok || err != nil {
		t.Error(v, ok, err)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	p := newProvider(OAuthOptions{Issuer: "https://id.test"}, nil)
	for body, good := range map[string]bool{
		`{"issuer":"https://id.test","jwks_uri":"https://keys.test/k"}`:                                true,
		`{"issuer":"https://id.test","jwks_uri":"https://k.test","introspection_endpoint":"http://x"}`: false,
		`{"issuer":"https://id.test","jwks_uri":"http://k.test"}`:                                      false,
		`{"issuer":"https://id.test","jwks_uri":"http://127.0.0.1:5556/keys"}`:                         true,
		`{"issuer":"https://id.test","jwks_uri":"file:///etc/passwd"}`:                                 false,
		`{"issuer":"https://id.test/","jwks_uri":"https://k.test"}`:                                    false,
		`{}`: false, `[]`: false, ``: false,
	} {
		if _, err := p.parseMetadata([]byte(body)); (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestTokenCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newTokenCache()
	for i := range 3 * cacheSize {
		c.add(c.mac(string(rune(i))), tokenEntry{expires: time.Now().Add(time.Minute)})
		c.add(c.mac(string(rune(i))), tokenEntry{expires: time.Now().Add(time.Minute), grant: grant{user: "u"}})
	}
	if len(c.entries) != cacheSize || len(c.order) != cacheSize {
		t.Errorf("%d entries, %d in order", len(c.entries), len(c.order))
	}
	if e, ok := c.get(c.mac(string(rune(3*cacheSize - 1)))); !ok || e.grant.user != "u" {
		t.Error("the last one is gone")
	}
	if _, ok := c.get(c.mac(string(rune(1)))); ok {
		t.Error("the first one is there")
	}
}

func FuzzTokenMessage(f *testing.F) {
	for _, s := range []string{"n,a=u,\x01host=h\x01auth=Bearer ab.c\x01\x01", "user=u\x01auth=Bearer x=\x01\x01", "\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (string, string, error){parseBearer, parseXOAuth2} {
			authzid, token, err := parse(b)
			switch {
			case err != nil && !errors.Is(err, ErrMalformed):
				t.Errorf("%q: %v", b, err)
			case err == nil && (token == "" || strings.ContainsAny(token, "\x00\x01 \r\n") || len(authzid) > maxLogin):
				t.Errorf("%q: %q, %q", b, authzid, token)
			}
		}
	})
}

func FuzzJWT(f *testing.F) {
	s := newSigning(f)
	o := s.checker(f, tokenOptions, tokenNow)
	good := s.token(f, map[string]any{"alg": "ES256", "kid": "c"}, goodClaims(nil))
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := o.check(t.Context(), token)
		// Of ES256 there is a second signature that is good: (r, -s).
		if err == nil && !strings.HasPrefix(token, good[:strings.LastIndexByte(good, '.')]) {
			t.Errorf("%q is taken", token)
		} else if err != nil && !errors.Is(err, ErrBadLogin) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

func FuzzJWKS(f *testing.F) {
	f.Add(newSigning(f).jwks())
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseJWKS(b)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxJWKs {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for i := range keys {
			for _, alg := range keys[i].algs {
				if !slices.Contains(tokenAlgorithms, alg) {
					t.Errorf("%q: a key for %q", b, alg)
				}
				keys[i].verifies(&jwt{alg: alg, signed: []byte("x"), sig: b[:min(len(b), 64)]})
			}
		}
	})
}

// FuzzClaims: what is read as one token is read so by encoding/json too.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"aud":["a"],"exp":1.5e9,"scope":"a b"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseClaims(b)
		if err != nil {
			return
		}
		for name := range c {
			_, _, _ = c.text(name), c.list(name), c.bytes(name)
			if at, ok := c.when(name); ok && at.Unix() > 1e11 {
				t.Errorf("%s is %v", name, at)
			}
		}
		_ = c.scopes()
	})
}
