package cli

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"nestbox/auth"
	"nestbox/config"
)

// useOAuth has tokens log in, if the configuration names a provider. Nothing is
// asked of it before the first token comes: it may be away while we start.
func useOAuth(a *auth.Authenticator, cfg *config.Config) error {
	if cfg.OAuthIssuer == "" {
		return nil
	}
	o := auth.OAuthOptions{
		Issuer: cfg.OAuthIssuer, Audience: cfg.OAuthAudience, Scope: cfg.OAuthScope, ReadOnlyScope: cfg.OAuthReadOnlyScope,
		UserClaim: cfg.OAuthUserClaim, Introspect: cfg.OAuthIntrospection, ClientID: cfg.OAuthClientID,
	}
	if cfg.OAuthClientSecretFile != "" {
		secret, err := readSmall("oauth_client_secret_file", cfg.OAuthClientSecretFile)
		if err != nil {
			return err
		}
		if o.ClientSecret = strings.TrimSpace(string(secret)); o.ClientSecret == "" {
			return failWith(exitUnfit, "oauth_client_secret_file: %s is empty", cfg.OAuthClientSecretFile)
		}
	}
	if cfg.OAuthRoots != "" {
		text, err := readSmall("oauth_roots", cfg.OAuthRoots)
		if err != nil {
			return err
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(text) {
			return failWith(exitUnfit, "oauth_roots: %s has no certificate in PEM", cfg.OAuthRoots)
		}
	}
	a.UseOAuth(o)
	return nil
}

// readSmall reads a file that a key names.
func readSmall(key, path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > most) {
		err = fmt.Errorf("%s is no file, or too big", path)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, failWith(exitUnfit, "%s: %v", key, err)
	}
	return text, nil
}
