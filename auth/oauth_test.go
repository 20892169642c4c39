package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"testing"
	"time"
)

func b64u(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signing is a provider's private keys, and their public set.
type signing struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newSigning(t testing.TB) *signing {
	t.Helper()
	s := new(signing)
	var err1, err2, err3 error
	s.rsa, err1 = rsa.GenerateKey(rand.Reader, 2048)
	s.ec, err2 = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, s.ed, err3 = ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *signing) jwks() []byte {
	point, _ := s.ec.PublicKey.Bytes()
	return fmt.Appendf(nil, `{"keys":[{"kty":"oct","k":"AAAA","kid":"h"},{"kty":"RSA","use":"enc","kid":"e","n":%q,"e":"AQAB"},
		{"kty":"RSA","kid":"r","use":"sig","n":%[1]q,"e":"AQAB"},
		{"kty":"EC","crv":"P-256","kid":"c","alg":"ES256","x":%q,"y":%q},
		{"kty":"OKP","crv":"Ed25519","kid":"d","x":%q}]}`,
		b64u(s.rsa.N.Bytes()), b64u(point[1:33]), b64u(point[33:]), b64u(s.ed.Public().(ed25519.PublicKey)))
}

// token signs claims with what the header says.
func (s *signing) token(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	h, err1 := json.Marshal(header)
	c, err2 := json.Marshal(claims)
	text := b64u(h) + "." + b64u(c)
	hash := sha256.Sum256([]byte(text))
	var sig []byte
	var err error
	switch header["alg"] {
	case "RS256":
		sig, err = rsa.SignPKCS1v15(rand.Reader, s.rsa, crypto.SHA256, hash[:])
	case "PS256":
		sig, err = rsa.SignPSS(rand.Reader, s.rsa, crypto.SHA256, hash[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES256":
		r, v, bad := ecdsa.Sign(rand.Reader, s.ec, hash[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...), bad
	case "EdDSA":
		sig = ed25519.Sign(s.ed, []byte(text))
	}
	if err := errors.Join(err1, err2, err); err != nil {
		t.Fatal(err)
	}
	return text + "." + b64u(sig)
}

// checker checks tokens with keys that are there.
func (s *signing) checker(t testing.TB, options OAuthOptions, now time.Time) *oauth {
	t.Helper()
	o := newOAuth(options, slog.New(slog.DiscardHandler), func() time.Time { return now })
	o.provider.keys.fetch = func(context.Context) ([]jwk, error) { return parseJWKS(s.jwks()) }
	return o
}

var (
	tokenNow     = time.Unix(2_000_000_000, 0)
	tokenOptions = OAuthOptions{Issuer: "https://id.test", Audience: []string{"box", "mail"}, Scope: []string{"m"}, ReadOnlyScope: "r", UserClaim: "email"}
)

func goodClaims(more map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://id.test", "aud": "box", "exp": tokenNow.Unix() + 60, "nbf": tokenNow.Unix(), "scope": "a m", "email": "anna@box.test",
	}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func TestTokenClaims(t *testing.T) {
	t.Parallel()
	s := newSigning(t)
	o := s.checker(t, tokenOptions, tokenNow)
	now := tokenNow.Unix()
	for _, c := range []struct {
		change map[string]any
		reason string // "": good
	}{
		{nil, ""},
		{map[string]any{"aud": []string{"x", "mail"}}, ""},
		{map[string]any{"aud": "other"}, "token_for_others"},
		{map[string]any{"aud": nil}, "token_for_others"},
		{map[string]any{"aud": map[string]any{"box": 1}}, "token_for_others"},
		{map[string]any{"iss": "https://id.test/"}, "token_of_another_issuer"},
		{map[string]any{"iss": nil}, "token_of_another_issuer"},
		{map[string]any{"exp": now - 59}, ""},
		{map[string]any{"exp": now - 60}, "token_expired"},
		{map[string]any{"exp": nil}, "token_without_times"},
		{map[string]any{"exp": nil, "Exp": now + 60}, "token_without_times"},
		{map[string]any{"exp": "soon"}, "token_without_times"},
		{map[string]any{"exp": 1e300}, "token_without_times"},
		{map[string]any{"nbf": now + 60}, ""},
		{map[string]any{"nbf": now + 61}, "token_not_yet_valid"},
		{map[string]any{"scope": "mm"}, "token_scope"},
		{map[string]any{"scope": nil}, "token_scope"},
		{map[string]any{"scope": nil, "scp": []string{"m"}}, ""},
		{map[string]any{"email": nil}, "token_without_user"},
		{map[string]any{"email": 7}, "token_without_user"},
		{map[string]any{"email_verified": true}, ""},
		{map[string]any{"email_verified": false}, "token_address_unverified"},
		{map[string]any{"email_verified": "false"}, "token_address_unverified"},
		{map[string]any{"cnf": map[string]any{"jkt": "x"}}, "token_bound_to_key"},
	} {
		g, err := o.check(t.Context(), s.token(t, map[string]any{"alg": "ES256", "kid": "c"}, goodClaims(c.change)))
		var bad *tokenError
		switch {
		case c.reason == "" && (err != nil || g != grant{"anna@box.test", ScopeAll}):
			t.Errorf("%v: %v, %v", c.change, g, err)
		case c.reason != "" && (!errors.As(err, &bad) || bad.reason != c.reason || !errors.Is(err, ErrBadLogin)):
			t.Errorf("%v: %+v, want %s", c.change, err, c.reason)
		}
	}
	g, err := o.check(t.Context(), s.token(t, map[string]any{"alg": "ES256"}, goodClaims(map[string]any{"scope": "r"})))
	if err != nil || g.scope&ScopeReadOnly == 0 || g.scope&ScopeSubmission != 0 {
		t.Errorf("read-only: %v, %v", g, err)
	}
}

func TestTokenSignatures(t *testing.T) {
	t.Parallel()
	s, other := newSigning(t), newSigning(t)
	o := s.checker(t, tokenOptions, tokenNow)
	point, _ := s.ec.PublicKey.Bytes()
	for _, c := range []struct {
		by     *signing
		header map[string]any
		reason string
	}{
		{s, map[string]any{"alg": "RS256", "kid": "r", "typ": "at+JWT"}, ""},
		{s, map[string]any{"alg": "PS256", "kid": "r", "typ": "JWT"}, ""},
		{s, map[string]any{"alg": "ES256", "kid": "c"}, ""},
		{s, map[string]any{"alg": "EdDSA", "kid": "d"}, ""},
		{s, map[string]any{"alg": "RS256"}, ""}, // the only one that fits
		{other, map[string]any{"alg": "RS256", "kid": "r"}, "token_signature"},
		{other, map[string]any{"alg": "PS256", "kid": "r"}, "token_signature"},
		{other, map[string]any{"alg": "ES256", "kid": "c"}, "token_signature"},
		{other, map[string]any{"alg": "EdDSA", "kid": "d"}, "token_signature"},
		{s, map[string]any{"alg": "RS256", "kid": "c"}, "token_signature"}, // another kind of key
		{s, map[string]any{"alg": "RS256", "kid": "e"}, "token_signature"}, // for encryption
		{s, map[string]any{"alg": "RS256", "kid": "x"}, "token_signature"},
		{s, map[string]any{"alg": "HS256", "kid": "h"}, "token_algorithm"},
		{s, map[string]any{"alg": "none"}, "token_algorithm"},
		{s, map[string]any{"alg": "RS256", "kid": "r", "crit": []string{"exp"}}, "token_unreadable"},
		{s, map[string]any{"alg": "RS256", "kid": "r", "typ": "logout+jwt"}, "token_unreadable"},
		{s, map[string]any{"alg": "ES256", "jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": b64u(point[1:33])}, "kid": "r"}, "token_signature"},
	} {
		_, err := o.check(t.Context(), c.by.token(t, c.header, goodClaims(nil)))
		var bad *tokenError
		if c.reason == "" && err != nil || c.reason != "" && (!errors.As(err, &bad) || bad.reason != c.reason) {
			t.Errorf("%v: %+v, want %q", c.header, err, c.reason)
		}
	}
	good := s.token(t, map[string]any{"alg": "ES256", "kid": "c"}, goodClaims(nil))
	for _, bad := range []string{good + "=", good + "\n", good[:len(good)-1], "." + good, good + ".", good[1:], good + "A"} {
		if _, err := o.check(t.Context(), bad); !errors.Is(err, ErrBadLogin) {
			t.Errorf("%.20q...: %v", bad, err)
		}
	}
}

func TestWeakKeysAreLeftOut(t *testing.T) {
	t.Parallel()
	short := make([]byte, 128)
	short[0], short[127] = 0x80, 1
	long := make([]byte, 2048)
	long[0], long[2047] = 0x80, 1
	for name, key := range map[string]string{
		"1024 bits":    fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64u(short)),
		"16384 bits":   fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64u(long)),
		"exponent 1":   fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQ"}`, b64u(long[:256])),
		"not on curve": fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%[1]q}`, b64u(short[:32])),
		"P-384":        `{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}`,
		"short EdDSA":  `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`,
		"symmetric":    `{"kty":"oct","k":"AAAA"}`,
	} {
		if keys, err := parseJWKS([]byte(`{"keys":[` + key + `]}`)); err == nil {
			t.Errorf("%s: %v", name, keys)
		}
	}
}
