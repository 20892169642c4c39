package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"nestbox/storage"
)

// A Scope is a set of what a login may be used for. A password serves all of
// ScopeAll; an app password may serve less.
type Scope uint8

// The protocols, and ScopeReadOnly, which takes something away.
const (
	ScopeIMAP Scope = 1 << iota
	ScopePOP3
	ScopeSubmission
	ScopeReadOnly

	ScopeAll = ScopeIMAP | ScopePOP3 | ScopeSubmission
)

// A Conn is what mechanisms know of the connection that a client logs in on.
// The protocols make one for each login.
type Conn struct {
	Protocol Scope // the one that is spoken
	Peer     netip.Addr
	Client   string               // what it says that it is, for the audit log
	TLS      *tls.ConnectionState // nil without TLS
	// Certificate is the hash of what the server showed in the handshake
	// (Binding.EndPoint); nil when not known.
	Certificate []byte
}

// A Mechanism is one of SASL (RFC 4422). It is the same in IMAP, POP3 and
// submission; whether the connection is safe enough for logins at all is for
// the protocol to say, before it asks for mechanisms.
type Mechanism struct {
	Name string // as in AUTHENTICATE
	// Available tells whether it can be used on a connection; nil: on each.
	Available func(c *Conn) bool
	// Announced tells whether clients are told of it, where it is available;
	// nil: they are. One that isn't announced works all the same.
	Announced func(c *Conn) bool
	Start     func(c *Conn) Exchange
}

// An Exchange is one login by a mechanism.
type Exchange interface {
	// Next takes the client's response, and gives the next challenge. The first
	// response is nil when the client sent none with its command. When who is
	// not nil the login is good; a challenge that comes with it is sent as one,
	// and the client answers it with nothing.
	//
	// Errors: ErrMalformed, ErrBadLogin, ErrNotAllowed, a *ThrottledError, ctx's, or
	// one of the storage. The exchange is over then.
	Next(ctx context.Context, response []byte) (challenge []byte, who *Identity, err error)
}

// ErrNotAllowed says that a login is good, but not for this: another's account,
// or a protocol that the app password isn't for.
var ErrNotAllowed = errors.New("this login may not do that")

// Register adds a mechanism, behind those that are there. Call it before the
// first client comes.
func (a *Authenticator) Register(m Mechanism) { a.mechanisms = append(a.mechanisms, m) }

// Mechanism finds the one with that name which can be used on a connection.
func (a *Authenticator) Mechanism(name string, c *Conn) (Mechanism, bool) {
	for _, m := range a.mechanisms {
		if m.Name == name && (m.Available == nil || m.Available(c)) {
			return m, true
		}
	}
	return Mechanism{}, false
}

// Mechanisms are the names that a client on the connection is told, the best
// first.
func (a *Authenticator) Mechanisms(c *Conn) (names []string) {
	for _, m := range a.mechanisms {
		if (m.Available == nil || m.Available(c)) && (m.Announced == nil || m.Announced(c)) {
			names = append(names, m.Name)
		}
	}
	return names
}

// never is the Announced of mechanisms for old clients that try them anyway.
func never(*Conn) bool { return false }

// builtin registers what needs no settings.
func (a *Authenticator) builtin() {
	for _, v := range []scramVariant{{plus: true}, {}, {sha1: true, plus: true}, {sha1: true}} {
		m := Mechanism{Name: v.name(), Start: func(c *Conn) Exchange { return &scramExchange{a: a, c: c, v: v} }}
		if v.plus {
			m.Available = (*Conn).canBind
		}
		m.Announced = func(*Conn) bool { return a.scramReady(v.sha1) }
		a.Register(m)
	}
	a.Register(Mechanism{Name: "PLAIN", Start: func(c *Conn) Exchange { return &plainExchange{a, c} }})
	a.Register(Mechanism{Name: "LOGIN", Announced: never, Start: func(c *Conn) Exchange { return &loginExchange{a: a, c: c} }})
}

// plainExchange is PLAIN, RFC 4616.
type plainExchange struct {
	a *Authenticator
	c *Conn
}

func (x *plainExchange) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if response == nil {
		return []byte{}, nil, nil
	}
	authzid, login, password, err := ParsePlain(response)
	if err != nil {
		return nil, nil, err
	}
	return x.a.finish(x.c, authzid, func() (Identity, error) { return x.a.password(ctx, x.c, login, password) })
}

// Plain is a login by name and password for commands that carry them bare, such
// as IMAP's LOGIN and POP3's PASS.
func (a *Authenticator) Plain(ctx context.Context, c *Conn, login, password string) (Identity, error) {
	_, who, err := a.finish(c, "", func() (Identity, error) { return a.password(ctx, c, login, password) })
	if err != nil {
		return Identity{}, err
	}
	return *who, nil
}

// finish is the end of every mechanism: who the client is was checked; what
// remains is whether it may be who it wants to be.
func (a *Authenticator) finish(c *Conn, authzid string, check func() (Identity, error)) ([]byte, *Identity, error) {
	who, err := check()
	if err != nil {
		return nil, nil, err
	}
	if who.Scope != 0 && who.Scope&c.Protocol == 0 {
		a.log.Info("login_out_of_scope", slog.String("peer", c.Peer.String()), slog.String("account", string(who.Account)))
		a.auditRefused(c, storage.AccountInfo{ID: who.Account, Name: who.Name}, "out_of_scope")
		return nil, nil, fmt.Errorf("%w: the app password is not for this protocol", ErrNotAllowed)
	}
	if err := a.actFor(c, &who, authzid); err != nil {
		return nil, nil, err
	}
	return nil, &who, nil
}

// loginExchange is LOGIN.
type loginExchange struct {
	a     *Authenticator
	c     *Conn
	login Login
}

func (x *loginExchange) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	challenge, done, err := x.login.Next(response)
	if err != nil || !done {
		return challenge, nil, err
	}
	return x.a.finish(x.c, "", func() (Identity, error) {
		return x.a.password(ctx, x.c, x.login.Login, x.login.Password)
	})
}
