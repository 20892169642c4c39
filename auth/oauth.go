package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"time"
)

// ErrUnavailable says that who could tell whether a login is good can't be asked.
var ErrUnavailable = errors.New("the login can't be checked now")

// OAuthOptions say whose tokens log in.
type OAuthOptions struct {
	Issuer        string   // the OpenID provider's, as in its tokens
	Audience      []string // a token is for one of these
	Scope         []string // and has all of these
	ReadOnlyScope string   // or this one, and then changes nothing; "": none does that
	UserClaim     string   // has the account's name or one of its addresses

	Introspect             bool // the provider is asked about each token; else it is a JWT
	ClientID, ClientSecret string
	Roots                  *x509.CertPool // that the provider's certificate hangs on; nil: the machine's
}

// An oauth checks tokens.
type oauth struct {
	OAuthOptions
	provider *provider
	now      func() time.Time
	cache    *tokenCache
	asking   chan struct{} // a token for each introspection that is under way
}

// maxAsking is how many introspections are under way at a time.
const maxAsking = 4

// UseOAuth has tokens of a provider log in, by OAUTHBEARER (RFC 7628) and XOAUTH2.
// Nothing is asked of the provider before the first token comes.
func (a *Authenticator) UseOAuth(options OAuthOptions) {
	o := newOAuth(options, a.log, a.st.Now)
	a.Register(Mechanism{Name: "OAUTHBEARER", Start: func(c *Conn) Exchange {
		return &tokenExchange{a: a, c: c, o: o, parse: parseBearer, refuse: o.refuseBearer}
	}})
	a.Register(Mechanism{Name: "XOAUTH2", Start: func(c *Conn) Exchange {
		return &tokenExchange{a: a, c: c, o: o, parse: parseXOAuth2, refuse: o.refuseXOAuth2}
	}})
}

func newOAuth(options OAuthOptions, log *slog.Logger, now func() time.Time) *oauth {
	return &oauth{
		OAuthOptions: options, now: now, provider: newProvider(options, log),
		cache: newTokenCache(), asking: make(chan struct{}, maxAsking),
	}
}

// tokenAlgorithms are those that a token's signature may have.
var tokenAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA", "Ed25519"}

// A grant is what a good token says.
type grant struct {
	user  string
	scope Scope
}

// check tells what a token grants. Errors: a *tokenError, ErrUnavailable, ctx's.
func (o *oauth) check(ctx context.Context, token string) (grant, error) {
	if o.Introspect {
		return o.introspect(ctx, token)
	}
	t, err := parseJWT(token)
	if err != nil {
		return grant{}, &tokenError{reason: "token_unreadable", status: "invalid_token", guess: true}
	}
	if t.claims.text("iss") != o.Issuer {
		return grant{}, badToken("token_of_another_issuer") // it says so itself: no need to ask for keys
	}
	if !slices.Contains(tokenAlgorithms, t.alg) {
		return grant{}, &tokenError{reason: "token_algorithm", status: "invalid_token", guess: true}
	}
	key, err := o.provider.key(ctx, t.kid, t.alg)
	if err != nil {
		return grant{}, err
	}
	if key == nil || !key.verifies(&t) {
		return grant{}, &tokenError{reason: "token_signature", status: "invalid_token", guess: true}
	}
	if err := t.claims.during(o.now(), true); err != nil {
		return grant{}, err
	}
	return o.grant(t.claims)
}

// grant reads claims that are the provider's, and of now.
func (o *oauth) grant(c claims) (g grant, err error) {
	ours := slices.ContainsFunc(c.list("aud"), func(a string) bool { return slices.Contains(o.Audience, a) })
	// Of introspection the audience is optional (RFC 7662 §2.2).
	if !ours && (len(o.Audience) > 0 || !o.Introspect) {
		return g, badToken("token_for_others")
	}
	// One that only who holds a key may use (RFC 8705, RFC 9449) is not for bearers.
	if c["cnf"] != nil {
		return g, badToken("token_bound_to_key")
	}
	has := c.scopes()
	missing := slices.ContainsFunc(o.Scope, func(s string) bool { return !slices.Contains(has, s) })
	switch {
	case !missing:
		g.scope = ScopeAll
	case o.ReadOnlyScope != "" && slices.Contains(has, o.ReadOnlyScope):
		g.scope = ScopeIMAP | ScopePOP3 | ScopeReadOnly
	default:
		return g, &tokenError{reason: "token_scope", status: "insufficient_scope"}
	}
	g.user = c.text(o.UserClaim)
	if g.user == "" || len(g.user) > maxLogin {
		return g, badToken("token_without_user")
	}
	// An address that nobody has checked is anybody's.
	if verified := string(c["email_verified"]); o.UserClaim == "email" && (verified == "false" || verified == `"false"`) {
		return g, badToken("token_address_unverified")
	}
	return g, nil
}

// token is a login by a token. authzid is whom the client wants to be, "" if it
// doesn't say.
func (a *Authenticator) token(ctx context.Context, conn *Conn, o *oauth, authzid, token string) (*Identity, error) {
	c := &claim{peer: conn.Peer, prefix: peerPrefix(conn.Peer)}
	g, err := a.checkToken(ctx, c, o, token)
	if err == nil {
		c.login = g.user
		err = a.tokenAccount(c)
	}
	a.report(c, conn, err)
	if err != nil {
		return nil, err
	}
	a.known(c)
	_, who, err := a.finish(conn, authzid, func() (Identity, error) {
		return Identity{Account: c.info.ID, Name: c.info.Name, Login: c.login, Scope: g.scope}, nil
	})
	return who, err
}

// checkToken holds back who guesses, and lets only so many wait.
func (a *Authenticator) checkToken(ctx context.Context, c *claim, o *oauth, token string) (g grant, err error) {
	if err := a.bans.banned(c.prefix); err != nil {
		return g, err
	}
	// The same token once more is a device with an old one, not somebody who guesses.
	mac := a.bad.mac("token", token)
	_, again := a.bad.get(mac)
	wait, ok := a.addresses.reserve(c.prefix)
	if !ok {
		if !again {
			a.bans.fail(c.prefix, c.peer)
		}
		return g, &ThrottledError{Wait: wait}
	}
	if !a.enqueue(c) {
		return g, &ThrottledError{Wait: maxHold}
	}
	defer a.dequeue(c)
	if err := pause(ctx, wait); err != nil {
		return g, err
	}
	g, err = o.check(ctx, token)
	var bad *tokenError
	switch {
	case errors.Is(err, ErrUnavailable):
		c.reason = "provider_away"
	case errors.As(err, &bad):
		c.reason = bad.reason
		if bad.guess && !again {
			a.bad.add(mac, "")
			a.addresses.fail(c.prefix)
			a.bans.fail(c.prefix, c.peer)
		}
	}
	return g, err
}

// tokenAccount finds whose account a token is for.
func (a *Authenticator) tokenAccount(c *claim) error {
	found, err := a.lookup(c.login, c.peer)
	c.info, c.known = found.info, found.known
	switch {
	case found.reason == "unknown" || found.reason == "disabled":
		c.reason = found.reason
		return badToken(c.reason)
	case !found.known:
		return err
	}
	return nil // that it has no password, or one that can't be read, is all the same
}
