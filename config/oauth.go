package config

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
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

// checkClients looks whether the keys for client certificates make sense together.
func (l *loader) checkClients() {
	c := l.config
	where := cmp.Or(c.File, "configuration")
	if c.ClientCAFile == "" && len(c.ClientAccounts) > 0 {
		l.problem(where, "client_accounts needs client_ca_file")
	}
	if _, err := c.ClientCertificates(); err != nil {
		l.problem(where, "client_accounts %v", err)
	}
}

// ClientCertificates is client_accounts: common names, or SHA-256 in small hex
// digits, with the account of each.
func (c *Config) ClientCertificates() (map[string]string, error) {
	accounts := map[string]string{}
	for _, entry := range c.ClientAccounts {
		at := strings.LastIndexByte(entry, '=')
		if at <= 0 || at == len(entry)-1 {
			return nil, fmt.Errorf("wants NAME=ACCOUNT, not %.200q", entry)
		}
		name := strings.TrimSpace(entry[:at])
		digits := strings.ToLower(strings.ReplaceAll(name, ":", ""))
		if sum, err := hex.DecodeString(digits); err == nil && len(sum) == 32 {
			name = digits
		}
		if accounts[name] != "" {
			return nil, fmt.Errorf("names %.200q twice", name)
		}
		accounts[name] = strings.TrimSpace(entry[at+1:])
	}
	return accounts, nil
}
