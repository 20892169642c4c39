package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"nestbox/storage"
)

// ExternalOptions say which client certificates log in.
type ExternalOptions struct {
	Roots *x509.CertPool // that they hang on
	// Accounts maps certificates to accounts' names or addresses, by common name or
	// by SHA-256 in small hex digits; "-" stands for nobody. Of others the email
	// addresses in them count.
	Accounts map[string]string
}

// UseExternal has client certificates log in, by EXTERNAL (RFC 4422, appendix A).
// The config of the listeners must be one of AskForCertificates. The mechanism is
// there on connections whose certificate is an account's, and on no other.
func (a *Authenticator) UseExternal(o ExternalOptions) {
	a.Register(Mechanism{
		Name:      "EXTERNAL",
		Available: func(c *Conn) bool { return len(a.certified(o, c)) > 0 },
		Start:     func(c *Conn) Exchange { return &externalExchange{a, c, o} },
	})
}

// AskForCertificates has a server's config ask for client certificates. One that
// doesn't hang on the roots ends the handshake; who has none is served.
func (o ExternalOptions) AskForCertificates(config *tls.Config) {
	config.ClientCAs, config.ClientAuth = o.Roots, tls.VerifyClientCertIfGiven
}

// certified are the accounts that a connection's certificate stands for.
func (a *Authenticator) certified(o ExternalOptions, c *Conn) (accounts []storage.AccountInfo) {
	if c.TLS == nil || len(c.TLS.VerifiedChains) == 0 {
		return nil
	}
	leaf := c.TLS.VerifiedChains[0][0]
	if now := a.st.Now(); now.After(leaf.NotAfter) { // since the session that this one resumes
		return nil
	}
	for _, name := range o.names(leaf) {
		info, err := a.st.FindAccount(name)
		known := slices.ContainsFunc(accounts, func(have storage.AccountInfo) bool { return have.ID == info.ID })
		if err == nil && !info.Disabled && !known {
			accounts = append(accounts, info)
		}
	}
	return accounts
}

func (o ExternalOptions) names(leaf *x509.Certificate) []string {
	sum := sha256.Sum256(leaf.Raw)
	for _, key := range []string{hex.EncodeToString(sum[:]), leaf.Subject.CommonName} {
		if account, ok := o.Accounts[key]; ok && key != "" {
			if account == "-" {
				return nil
			}
			return []string{account}
		}
	}
	return leaf.EmailAddresses
}

type externalExchange struct {
	a *Authenticator
	c *Conn
	o ExternalOptions
}

func (x *externalExchange) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if response == nil {
		return []byte{}, nil, nil
	}
	if len(response) > maxLogin || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, nil, tokenSyntax("EXTERNAL has a name in UTF-8, or nothing")
	}
	authzid := string(response)
	c := &claim{peer: x.c.Peer, prefix: peerPrefix(x.c.Peer)}
	accounts := x.a.certified(x.o, x.c)
	err := x.a.bans.banned(c.prefix)
	switch {
	case err != nil:
	case len(accounts) == 0: // disabled or deleted since it began
		err, c.reason = ErrBadLogin, "unknown"
	case len(accounts) > 1 && !x.a.isOne(accounts, authzid):
		err, c.reason = ErrBadLogin, "certificate_of_many"
	}
	if err != nil {
		x.a.report(c, x.c, err)
		return nil, nil, err
	}
	c.info, c.known = accounts[0], true
	for _, info := range accounts {
		if x.a.isOne([]storage.AccountInfo{info}, authzid) {
			c.info = info
		}
	}
	c.login = c.info.Name
	x.a.known(c)
	return x.a.finish(x.c, authzid, func() (Identity, error) {
		return Identity{Account: c.info.ID, Name: c.info.Name, Login: c.login}, nil
	})
}

// isOne tells whether a name is one of the accounts'.
func (a *Authenticator) isOne(accounts []storage.AccountInfo, name string) bool {
	if strings.TrimSpace(name) == "" {
		return false
	}
	info, err := a.st.FindAccount(name)
	return err == nil && slices.ContainsFunc(accounts, func(one storage.AccountInfo) bool { return one.ID == info.ID })
}
