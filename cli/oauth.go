package cli

import (
	cryptotls "crypto/tls"
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
		var err error
		if o.Roots, err = readRoots("oauth_roots", cfg.OAuthRoots); err != nil {
			return err
		}
	}
	a.UseOAuth(o)
	return nil
}

// useExternal has client certificates log in on the listeners of a config, if
// there is a CA for them.
func useExternal(a *auth.Authenticator, cfg *config.Config, listeners *cryptotls.Config) error {
	if cfg.ClientCAFile == "" {
		return nil
	}
	roots, err := readRoots("client_ca_file", cfg.ClientCAFile)
	if err != nil {
		return err
	}
	accounts, err := cfg.ClientCertificates()
	if err != nil {
		return err
	}
	o := auth.ExternalOptions{Roots: roots, Accounts: accounts}
	o.AskForCertificates(listeners)
	a.UseExternal(o)
	return nil
}

func readRoots(key, path string) (*x509.CertPool, error) {
	text, err := readSmall(key, path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, failWith(exitUnfit, "%s: %s has no certificate in PEM", key, path)
	}
	return roots, nil
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
