package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxTokenResponse bounds a client's message: a token and some text.
const maxTokenResponse = maxToken + 4<<10

// tokenExchange is OAUTHBEARER or XOAUTH2: one message. When the token is refused
// the client is told why in a challenge, and answers with something that says
// nothing (RFC 7628 §3.2.3); what it is makes no difference.
type tokenExchange struct {
	a      *Authenticator
	c      *Conn
	o      *oauth
	parse  func([]byte) (authzid, token string, err error)
	refuse func(*tokenError) []byte
	failed error
}

func (x *tokenExchange) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if x.failed != nil {
		return nil, nil, x.failed
	}
	if response == nil {
		return []byte{}, nil, nil
	}
	authzid, token, err := x.parse(response)
	if err != nil {
		return nil, nil, err
	}
	who, err := x.a.token(ctx, x.c, x.o, authzid, token)
	var refused *tokenError
	if errors.As(err, &refused) {
		x.failed = err
		return x.refuse(refused), nil, nil
	}
	return nil, who, err
}

// refuseBearer is RFC 7628 §3.2.2.
func (o *oauth) refuseBearer(e *tokenError) []byte {
	m := map[string]string{"status": e.status, "openid-configuration": discoveryURL(o.Issuer)}
	if len(o.Scope) > 0 {
		m["scope"] = strings.Join(o.Scope, " ")
	}
	b, _ := json.Marshal(m) // of strings: never fails
	return b
}

// refuseXOAuth2 is what Google answers, and what clients look for.
func (o *oauth) refuseXOAuth2(e *tokenError) []byte {
	m := map[string]string{"status": "401", "schemes": "bearer", "scope": strings.Join(o.Scope, " ")}
	if e.status == "insufficient_scope" {
		m["status"] = "403"
	}
	b, _ := json.Marshal(m)
	return b
}

// parseBearer takes the message of OAUTHBEARER apart (RFC 7628 §3.1):
//
//	client-resp = gs2-header kvsep *( key "=" value kvsep ) kvsep
//
// host and port are what the client thinks that it has connected to. A box behind a
// router or with names that nobody told it of knows no better, and looks at neither.
func parseBearer(b []byte) (authzid, token string, err error) {
	header, rest, ok := strings.Cut(string(b), "\x01")
	switch {
	case len(b) > maxTokenResponse || !utf8.Valid(b):
		return "", "", tokenSyntax("it is too long, or not UTF-8")
	case !ok:
		return "", "", tokenSyntax("OAUTHBEARER has a header and pairs")
	}
	if header != "" || rest != "" {
		flag, name, ok := strings.Cut(header, ",")
		name, end, ok2 := strings.Cut(name, ",")
		if !ok || !ok2 || end != "" || (flag != "n" && flag != "y") {
			return "", "", tokenSyntax("the header is n,a=NAME, or n,,")
		}
		if name != "" {
			escaped, ok := strings.CutPrefix(name, "a=")
			if !ok {
				return "", "", tokenSyntax("the header is n,a=NAME, or n,,")
			}
			if authzid, err = scramName(escaped); err != nil {
				return "", "", err
			}
		}
	}
	token, err = bearerOf(rest)
	return authzid, token, err
}

// parseXOAuth2 takes the message of XOAUTH2 apart:
//
//	"user=" name ^A "auth=Bearer " token ^A ^A
func parseXOAuth2(b []byte) (authzid, token string, err error) {
	user, rest, ok := strings.Cut(string(b), "\x01")
	name, isUser := strings.CutPrefix(user, "user=")
	switch {
	case len(b) > maxTokenResponse || !utf8.Valid(b) || strings.IndexByte(name, 0) >= 0:
		return "", "", tokenSyntax("it is too long, or not text")
	case !ok || !isUser || len(name) > maxLogin:
		return "", "", tokenSyntax("XOAUTH2 begins with user=NAME")
	}
	token, err = bearerOf(rest)
	return name, token, err
}

func tokenSyntax(why string) error { return fmt.Errorf("%w: %s", ErrMalformed, why) }

// bearerOf finds the token among key=value pairs; all others are ignored.
func bearerOf(pairs string) (token string, err error) {
	pairs, ok := strings.CutSuffix(pairs, "\x01\x01")
	if !ok {
		return "", tokenSyntax("it ends with two ^A")
	}
	for pair := range strings.SplitSeq(pairs, "\x01") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok || key == "" || strings.ContainsFunc(key, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' }):
			return "", tokenSyntax("want KEY=VALUE")
		case !strings.EqualFold(key, "auth"):
			continue
		case token != "":
			return "", tokenSyntax("auth comes twice")
		}
		scheme, credentials, _ := strings.Cut(value, " ")
		token = strings.TrimLeft(credentials, " ")
		if !strings.EqualFold(scheme, "Bearer") || !isBearer(token) {
			return "", tokenSyntax("auth is Bearer TOKEN")
		}
	}
	if token == "" {
		return "", tokenSyntax("auth is missing")
	}
	return token, nil
}

// isBearer is the b64token of RFC 6750 §2.1.
func isBearer(token string) bool {
	body := strings.TrimRight(token, "=")
	return body != "" && !strings.ContainsFunc(body, func(r rune) bool {
		return (r < '0' || r > '9') && ((r|0x20) < 'a' || (r|0x20) > 'z') && !strings.ContainsRune("-._~+/", r)
	})
}
