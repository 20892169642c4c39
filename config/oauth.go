package config

import (
	"cmp"
	"net/netip"
	"net/url"
)

// Texts are texts without blanks.
type Texts []string

// checkOAuth looks whether the keys for a provider of tokens make sense together:
// what lacks one would take tokens that were made for others.
func (l *loader) checkOAuth() {
	c := l.config
	where := cmp.Or(c.File, "configuration")
	if c.OAuthIssuer == "" {
		for _, key := range []string{"oauth_audience", "oauth_scope", "oauth_read_only_scope", "oauth_user_claim", "oauth_introspection", "oauth_client_id", "oauth_client_secret_file", "oauth_roots"} {
			if c.Source(key) != FromDefault {
				l.problem(where, "%s needs oauth_issuer", key)
			}
		}
		return
	}
	if !isIssuer(c.OAuthIssuer) {
		l.problem(where, "oauth_issuer wants a URL that begins with https://, and has no ? and #, not %.200q", c.OAuthIssuer)
	}
	switch {
	case c.OAuthUserClaim == "":
		l.problem(where, "oauth_user_claim is empty")
	case c.OAuthReadOnlyScope != "" && len(c.OAuthScope) == 0:
		l.problem(where, "oauth_read_only_scope needs oauth_scope: without it every token may change everything")
	case len(c.OAuthAudience) == 0 && !c.OAuthIntrospection:
		l.problem(where, "oauth_issuer needs oauth_audience: else the provider's tokens for others log in too")
	case len(c.OAuthAudience) == 0 && len(c.OAuthScope) == 0:
		l.problem(where, "oauth_introspection needs oauth_audience or oauth_scope: else the provider's tokens for others log in too")
	case c.OAuthIntrospection && (c.OAuthClientID == "" || c.OAuthClientSecretFile == ""):
		l.problem(where, "oauth_introspection needs oauth_client_id and oauth_client_secret_file")
	}
}

// isIssuer: https, or http from this machine.
func isIssuer(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	host, _ := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || (u.Scheme == "http" && (host.IsLoopback() || u.Hostname() == "localhost"))
}
