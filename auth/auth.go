// Package auth tells who logs in: passwords against stored SCRAM verifiers,
// the SASL mechanisms that carry a password, and the brakes against guessing.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"nestbox/storage"
)

// ErrBadLogin says that login and password don't fit: one error and one
// answer, whether the account is unknown, disabled, or the password wrong.
var ErrBadLogin = errors.New("wrong login or password")

// A ThrottledError says that too many logins failed, or that too many wait.
// The password was not looked at.
type ThrottledError struct {
	Wait time.Duration // until it is worth another try
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed logins, try again in %v", e.Wait.Round(time.Second))
}

// Limits that hold whatever the configuration says.
const (
	// maxHold is how long a login is held back; beyond it is refused.
	maxHold = 10 * time.Second
)

// Options of an Authenticator.
type Options struct {
	Log *slog.Logger // nil: nothing is logged
	// LoggedIn is called after each login that succeeds; nil: nobody is told.
	LoggedIn func(Identity)
	// BanAfter is how many failed logins within an hour ban an address for a
	// while: 0 means 20, less than that that nobody is banned.
	BanAfter int
	// BanExempt are the networks that are never banned; none: the machine's own
	// loopback, since webmail and proxies there log in for everybody.
	BanExempt []netip.Prefix
}

// An Authenticator checks logins. All methods can be called from any goroutine.
type Authenticator struct {
	st       *storage.Store
	log      *slog.Logger
	loggedIn func(Identity)

	decoy      []byte       // key of the salts of accounts that don't exist
	iterations atomic.Int64 // of the last verifier seen: a decoy costs the same
	good, bad  *macCache
	addresses  *throttle
	accounts   *throttle
	bans       *bans
	friends    *lately // accounts with the addresses that log in to them
	queue      *queue

	mechanisms []Mechanism

	readyMu     sync.Mutex
	decoys      []accountSecrets // for decoyFor
	decoysAt    uint64           // SettingsVersion
	decoysKnown bool

	ready   *[2]bool // whether SCRAM is announced: with SHA-256, with SHA-1
	readyAt uint64   // SettingsVersion
}

// Identity is who has logged in.
type Identity struct {
	Account storage.AccountID
	Name    string // the account's
	Login   string // as the client gave it: the account's name or an address
	Scope   Scope  // what the login may be used for; 0: everything
	Secret  string // kind of the credential that logged in (storage.LoginBy); "": none of ours
	// Actor is the account whose credential it was, if it acts for Account; "": it
	// is Account itself.
	Actor     storage.AccountID
	ActorName string
}

// By is the account whose credential logged in.
func (id *Identity) By() storage.AccountID {
	if id.Actor != "" {
		return id.Actor
	}
	return id.Account
}

// ReadOnly tells whether the session may change nothing.
func (id *Identity) ReadOnly() bool { return id.Scope&ScopeReadOnly != 0 }

// AppPassword is the name of the app password that logged in, or "".
func (id *Identity) AppPassword() string { return appName(id.Secret) }

// New makes the authenticator of a store's accounts.
func New(st *storage.Store, o Options) *Authenticator {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BanAfter == 0 {
		o.BanAfter = defaultBanAfter
	}
	a := &Authenticator{
		st: st, log: o.Log, loggedIn: o.LoggedIn,
		queue: newQueue(),
		good:  newMACCache(), bad: newMACCache(),
		addresses: newThrottle(addressRule), accounts: newThrottle(accountRule),
		bans: newBans(o.Log, o.BanAfter, o.BanExempt), friends: newLately(),
	}
	a.remember()
	a.iterations.Store(int64(calibrated()))
	a.decoy = a.decoyKey()
	a.builtin()
	return a
}

// decoySecret is where system.db has the key of decoys. It must outlive the
// process: salts that change at a restart would tell which accounts exist.
const decoySecret = "auth.decoy"

func (a *Authenticator) decoyKey() []byte {
	key, err := a.st.Secret(decoySecret)
	if err == nil && len(key) == sha256.Size {
		return key
	}
	key = make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: crypto/rand
	if err == nil {
		err = a.st.SetSecret(decoySecret, key)
	}
	if err != nil {
		a.log.Warn("decoy_key_not_stored", slog.String("error", err.Error()))
	}
	return key
}

// decoyVerifier stands for an account that doesn't exist or has no password:
// checking it costs what a real one costs, and its salt is as stable.
func (a *Authenticator) decoyVerifier(login string) verifier {
	mac := hmac.New(sha256.New, a.decoy)
	mac.Write([]byte(login))
	return verifier{iterations: int(a.iterations.Load()), salt: mac.Sum(nil)[:saltSize]}
}

// Password checks a login by an account's name or address. It returns
// ErrBadLogin, a *ThrottledError, ctx's error or one of the storage. Failures
// make it wait before it answers: longer with each from one address, and with
// each for one account.
func (a *Authenticator) Password(ctx context.Context, login, password string, peer netip.Addr) (Identity, error) {
	return a.password(ctx, &Conn{Peer: peer}, login, password)
}

func (a *Authenticator) password(ctx context.Context, conn *Conn, login, password string) (Identity, error) {
	c, err := a.claim(login, password, conn.Peer)
	if err == nil {
		err = a.check(ctx, c)
	}
	a.report(c, conn, err)
	if err != nil {
		return Identity{}, err
	}
	return a.welcome(c), nil
}

func (a *Authenticator) check(ctx context.Context, c *claim) error {
	if err := a.bans.banned(c.prefix); err != nil {
		return err // of a connection from before the ban
	}
	good := a.good.mac(c.account(), c.prefix, c.secrets.state, c.password)
	bad := a.bad.mac(c.account(), c.secrets.state, c.password)
	wait, ok := a.addresses.reserve(c.prefix)
	if !ok {
		if _, again := a.bad.get(bad); !again {
			a.bans.fail(c.prefix, c.peer) // who doesn't heed the delays is on the way to a ban too
		}
		return &ThrottledError{Wait: wait}
	}
	// Who logged in from here a moment ago is not held back because others
	// guess at the account. The address's own delay stays, else the cache
	// could be asked as often as one likes.
	kind, cached := a.good.get(good)
	cached = cached && c.reason == ""
	if _, again := a.bad.get(bad); !cached && !again && !a.isFriend(c) {
		more, ok := a.accounts.reserve(c.account())
		if !ok {
			return &ThrottledError{Wait: more}
		}
		wait = max(wait, more)
	}
	if !a.enqueue(c) {
		return &ThrottledError{Wait: maxHold}
	}
	defer a.dequeue(c)
	if err := pause(ctx, wait); err != nil {
		return err
	}
	_, again := a.bad.get(bad)
	switch {
	case cached:
		c.matched = c.secrets.find(kind)
		a.good.add(good, kind)
		a.known(c)
		return nil
	case again:
		// The same wrong password once more is a device with an old one, not
		// somebody who guesses: it costs no hash and lengthens no delay.
		return ErrBadLogin
	}
	if err := a.hash(ctx, c); err != nil {
		return err
	}
	if c.matched == nil {
		if c.reason == "" {
			c.reason = "wrong_password"
		}
		a.bad.add(bad, "")
		a.failed(c)
		return ErrBadLogin
	}
	a.noteCost(c.matched)
	a.good.add(a.good.mac(c.account(), c.prefix, c.secrets.state, c.password), c.matched.kind)
	a.succeeded(c)
	return nil
}

// noteCost has decoys cost what a secret costs.
func (a *Authenticator) noteCost(s *secret) {
	if len(s.verifiers) > 0 { // none if a foreign hash could not be replaced
		a.iterations.Store(int64(s.verifiers[0].iterations))
	}
}

// failed counts a login with something that could be a guess.
func (a *Authenticator) failed(c *claim) {
	a.addresses.fail(c.prefix)
	a.accounts.fail(c.account())
	a.bans.fail(c.prefix, c.peer)
}

// succeeded forgives the account's failures, not the address's: who has one
// account must not guess at others for free.
func (a *Authenticator) succeeded(c *claim) {
	a.accounts.forget(c.account())
	a.known(c)
}

// known notes that somebody logged in from an address to an account.
func (a *Authenticator) known(c *claim) {
	a.bans.good(c.prefix)
	a.friends.add(c.friendship(), time.Now())
}

// isFriend tells whether a claim comes from where the account's owner has logged
// in within a week: others' guesses at the account don't hold it back.
func (a *Authenticator) isFriend(c *claim) bool {
	at, ok := a.friends.get(c.friendship())
	return ok && time.Since(at) < knownFor
}

// hash looks for the secret that a claim is about when it is its turn.
func (a *Authenticator) hash(ctx context.Context, c *claim) error {
	done, err := a.queue.turn(ctx, c.suspect)
	if err != nil {
		return err
	}
	defer done()
	if err := a.bans.banned(c.prefix); err != nil {
		return err // since it began to wait
	}
	if err := c.match(); err != nil || c.matched == nil {
		return err
	}
	a.renew(c)
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// report logs a login that failed. A login name that isn't an account's is
// not logged: people type passwords into the wrong field.
func (a *Authenticator) report(c *claim, conn *Conn, err error) {
	if err == nil {
		return
	}
	attrs := []any{slog.String("peer", conn.Peer.String()), slog.String("reason", c.reason)}
	if c.known {
		attrs = append(attrs, slog.String("account", string(c.info.ID)), slog.String("login", clip(c.login)))
	}
	var throttled *ThrottledError
	switch {
	case errors.As(err, &throttled):
		a.log.Warn("login_throttled", append(attrs, slog.Duration("wait", throttled.Wait))...)
		a.auditRefused(conn, c.info, "throttled")
	case errors.Is(err, ErrBadLogin), errors.Is(err, ErrUnavailable):
		a.log.Info("login_failed", attrs...)
		a.auditRefused(conn, c.info, c.reason)
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		a.log.Error("login_error", append(attrs, slog.String("error", err.Error()))...)
	}
}

// clip bounds what a client can make us keep or log.
func clip(login string) string {
	const most = 255
	if len(login) > most {
		return login[:most]
	}
	return login
}
