package auth

import (
	"errors"
	"net/netip"

	"nestbox/storage"
)

// A claim is one try to log in.
type claim struct {
	login, password string // the password as SASLprep makes it
	raw             string // as the client sent it, which others hashed
	peer            netip.Addr
	prefix          string // of the peer's address
	info            storage.AccountInfo
	known           bool
	secrets         secrets
	decoy           decoy   // what is computed when it can't succeed
	reason          string  // why it can't, for the log
	matched         *secret // which the client has
	suspect         bool    // its address guessed wrong lately
}

// lookup collects what the store knows of a login; the claim is not nil with
// an error.
func (a *Authenticator) lookup(login string, peer netip.Addr) (*claim, error) {
	c := &claim{login: login, peer: peer, prefix: peerPrefix(peer)}
	info, err := a.st.FindAccount(login)
	if err != nil && !errors.Is(err, storage.ErrNoAccount) {
		return c, err
	}
	if err == nil {
		c.info, c.known = info, true
		rows, err := a.st.Credentials(info.ID)
		if err != nil {
			return c, err
		}
		if c.secrets, err = parseSecrets(rows); err != nil && c.secrets.none() {
			return c, err
		}
	}
	switch {
	case !c.known:
		c.reason = "unknown"
	case info.Disabled:
		c.reason = "disabled"
	case c.secrets.none():
		c.reason = "no_password"
	}
	return c, nil
}

// claim is a lookup with a password that has not been looked at yet.
func (a *Authenticator) claim(login, password string, peer netip.Addr) (*claim, error) {
	c, err := a.lookup(login, peer)
	if err != nil {
		return c, err
	}
	if c.password, err = prepare(password); err != nil {
		c.password = password
		if c.reason == "" {
			c.reason = "unusable_password"
		}
	}
	c.raw = password
	c.decoy, err = a.decoyFor(c)
	return c, err
}

// account is the claim's key in the account throttle and the caches.
func (c *claim) account() string {
	if c.known {
		return "id " + string(c.info.ID)
	}
	return "login " + clip(c.login)
}

// friendship is the claim's key among friends.
func (c *claim) friendship() string { return c.account() + " " + c.prefix }

// welcome is the end of a login by a secret that succeeded.
func (a *Authenticator) welcome(c *claim) Identity {
	who := Identity{Account: c.info.ID, Name: c.info.Name, Login: c.login, Scope: c.matched.scope, Secret: c.matched.kind}
	if who.AppPassword() != "" {
		a.st.NoteUse(who.Account, who.Secret)
	}
	if a.loggedIn != nil {
		a.loggedIn(who)
	}
	return who
}
