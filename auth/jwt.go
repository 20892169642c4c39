package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
)

// maxToken bounds an access token; those with the groups of a large company in
// them have 8 KB.
const maxToken = 16 << 10

// clockSkew is how far the provider's clock may be from ours.
const clockSkew = time.Minute

// A jwt is a token in the compact form of JWS (RFC 7515 §7.1), taken apart and
// nothing checked.
type jwt struct {
	alg, kid string
	claims   claims
	signed   []byte // what the signature is of
	sig      []byte
}

// claims are the members of a token or of what introspection says of one. Unlike
// with a struct, encoding/json doesn't take "Exp" for "exp" then.
type claims map[string]json.RawMessage

// errToken is all that is said of a token that can't be read.
var errToken = errors.New("not a signed JSON web token")

// tokenTypes are those that access tokens are marked with (RFC 9068 §2.1, or
// from before it). Others, as those of a logout, are for something else.
var tokenTypes = []string{"", "jwt", "at+jwt", "application/at+jwt"}

func parseJWT(token string) (t jwt, err error) {
	head, rest, _ := strings.Cut(token, ".")
	body, sig, ok := strings.Cut(rest, ".")
	if !ok || len(token) > maxToken {
		return t, errToken
	}
	var parts [3][]byte
	for i, s := range []string{head, body, sig} {
		if parts[i], err = base64.RawURLEncoding.Strict().DecodeString(s); err != nil || strings.ContainsAny(s, "\r\n") {
			return t, errToken
		}
	}
	header, err := parseClaims(parts[0])
	if err != nil {
		return t, err
	}
	if t.claims, err = parseClaims(parts[1]); err != nil {
		return t, err
	}
	t.alg, t.kid = header.text("alg"), header.text("kid")
	t.signed, t.sig = []byte(token[:len(head)+1+len(body)]), parts[2]
	// What is critical is not known here (RFC 7515 §4.1.11).
	if header["crit"] != nil || header["b64"] != nil || !slices.Contains(tokenTypes, strings.ToLower(header.text("typ"))) {
		return t, errToken
	}
	return t, nil
}

// parseClaims reads one JSON object. One in which a name comes twice is refused:
// who reads it otherwise sees another token (RFC 7519 §4).
func parseClaims(b []byte) (claims, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errToken
	}
	c := claims{}
	for d.More() {
		name, err := d.Token()
		key, ok := name.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil || c[key] != nil {
			return nil, errToken
		}
		c[key] = value
	}
	if _, err := d.Token(); err != nil || len(bytes.TrimSpace(b[d.InputOffset():])) > 0 {
		return nil, errToken
	}
	return c, nil
}

// text is a claim that is a string, "" if it isn't.
func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// list is a claim that is a string or a list of strings.
func (c claims) list(name string) (all []string) {
	if s := c.text(name); s != "" {
		return []string{s}
	}
	if json.Unmarshal(c[name], &all) != nil {
		return nil
	}
	return all
}

// when is a claim that is a time (NumericDate, RFC 7519 §2). ok is false when it
// is there and isn't one.
func (c claims) when(name string) (at time.Time, ok bool) {
	if c[name] == nil {
		return at, true
	}
	var seconds float64
	if json.Unmarshal(c[name], &seconds) != nil || math.Abs(seconds) > 1e11 {
		return at, false
	}
	return time.Unix(int64(seconds), 0), true
}

// scopes are those of a token: one text with blanks (RFC 9068 §2.2.3), or what
// Microsoft (a text) and Okta (a list) call scp.
func (c claims) scopes() (all []string) {
	for _, name := range []string{"scope", "scp"} {
		for _, s := range c.list(name) {
			all = append(all, strings.Fields(s)...)
		}
	}
	return all
}

// A tokenError says why a token logs nobody in. It is an ErrBadLogin.
type tokenError struct {
	reason string // for the log
	status string // for the client: RFC 6750 §3.1
	guess  bool   // nobody who once had a good token sends this one
}

func (e *tokenError) Error() string        { return ErrBadLogin.Error() }
func (e *tokenError) Is(target error) bool { return target == ErrBadLogin }

func badToken(reason string) *tokenError {
	return &tokenError{reason: reason, status: "invalid_token"}
}

// during checks that the claims hold now.
func (c claims) during(now time.Time, mustExpire bool) error {
	expires, ok1 := c.when("exp")
	begins, ok2 := c.when("nbf")
	switch {
	case !ok1 || !ok2 || (mustExpire && c["exp"] == nil):
		return badToken("token_without_times")
	case c["exp"] != nil && !now.Before(expires.Add(clockSkew)):
		return badToken("token_expired")
	case now.Before(begins.Add(-clockSkew)):
		return badToken("token_not_yet_valid")
	}
	return nil
}
