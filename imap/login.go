package imap

import (
	"encoding/base64"

	"github.com/emersion/go-imap/v2"

	"nestbox/auth"
	"nestbox/imap/wire"
)

// LOGIN, RFC 9051 §6.2.3.
var cmdLogin = command{name: "LOGIN", state: notAuthenticated, parse: parseLogin}

// maxPassword bounds what is hashed.
const maxPassword = 1024

type loginCmd struct{ login, password string }

func parseLogin(d *wire.Decoder, _ *request) runner {
	c := new(loginCmd)
	d.SP()
	c.login = d.Astring()
	d.SP()
	c.password = string(d.AstringBytes(maxPassword))
	d.End()
	return c
}

func (c *loginCmd) run(s *session, _ *request) (reply, error) {
	return s.password(c.login, c.password)
}

// password logs in, and announces what is there after login.
func (s *session) password(login, password string) (reply, error) {
	if !s.mayLogin() {
		return reply{}, no(imap.ResponseCodePrivacyRequired, "login needs TLS")
	}
	id, err := s.srv.o.Auth.Plain(s.srv.stopping, s.authConn(), login, password)
	if err != nil {
		return reply{}, s.loginFailed(err)
	}
	return s.open(id)
}

// loginFailed counts a login that failed; after too many it is a BYE.
func (s *session) loginFailed(err error) error {
	if bye := s.countBad(); bye != nil {
		return bye
	}
	return err
}

// open makes the session that of an account.
func (s *session) open(id auth.Identity) (reply, error) {
	account, err := s.srv.o.Store.Account(id.Account)
	if err != nil {
		return reply{}, err
	}
	info, err := s.srv.o.Store.AccountInfo(id.Account)
	if err != nil {
		return reply{}, err
	}
	if s.hold, err = s.srv.o.Store.LoginBy(id.Account, id.By(), id.Secret, loginWaker{s.c}); err != nil {
		return reply{}, auth.ErrBadLogin // deleted, disabled or revoked since the password was found good
	}
	off, _ := s.srv.tables.switchedOff(info.Extensions)
	s.off = extSet(s.srv.tables.off.Load()) | off // as it is now, not when the client connected
	s.account, s.login = account, id
	s.d.SetLoggedIn(true)
	s.c.loggedIn = true
	s.srv.loggedIn(s.c)
	s.log = s.log.With("account", string(id.Account))
	if id.Actor != "" {
		s.log = s.log.With("actor", string(id.Actor))
	}
	s.log.Info("imap_login", "login", id.Login, "tls", s.c.secure)
	s.audit = s.srv.o.Auth.Opened(s.authConn(), id)
	return reply{code: codeCapability + " " + s.capabilities(), text: "logged in"}, nil
}

// A loginWaker is told when the login is no longer good.
type loginWaker struct{ c *conn }

func (w loginWaker) Wake() { w.c.interrupt(newsLogin) }

// loggedOut ends the session of a login that is no longer good (RFC 9051
// §7.1.5: an administrator's BYE).
func (s *session) loggedOut() error {
	if s.hold == nil || s.hold.Ended() == "" {
		return &byeError{"", "logged out"}
	}
	return &byeError{"", s.hold.Ended()}
}

// AUTHENTICATE, RFC 9051 §6.2.2, with an initial response (SASL-IR, RFC 4959).
var cmdAuthenticate = command{name: "AUTHENTICATE", state: notAuthenticated, parse: parseAuthenticate}

var extSASLIR = extension{
	name: "SASL-IR", rfc: "RFC 4959",
	caps: []capability{{name: "SASL-IR", when: func(s *session) bool { return s.account == nil }}},
}

// maxSASL bounds a response; OAuth tokens are the longest.
const maxSASL = 64 << 10

type authenticateCmd struct {
	mechanism string
	initial   string
	has       bool
}

func parseAuthenticate(d *wire.Decoder, r *request) runner {
	c := new(authenticateCmd)
	d.SP()
	c.mechanism = d.Word()
	if d.TrySP() {
		if !r.s.has(&extSASLIR) {
			d.Fail("CRLF")
		}
		c.initial, c.has = d.Atom(), true
	}
	d.End()
	return c
}

func (c *authenticateCmd) run(s *session, _ *request) (reply, error) {
	conn := s.authConn()
	m, ok := s.srv.o.Auth.Mechanism(c.mechanism, conn)
	if !ok {
		return reply{}, no("", "unknown mechanism")
	}
	if !s.mayLogin() {
		return reply{}, no(imap.ResponseCodePrivacyRequired, "login needs TLS")
	}
	var response []byte
	if c.has {
		response = []byte{} // "=" is an empty response, RFC 4959 §3
		if c.initial != "=" {
			var err error
			if response, err = decodeSASL(c.initial); err != nil {
				return reply{}, err
			}
		}
	}
	return s.exchange(m.Start(conn), response)
}

// challenge sends a challenge and reads the response.
func (s *session) challenge(data []byte) ([]byte, error) {
	s.w.Raw("+ ").Raw(base64.StdEncoding.EncodeToString(data)).CRLF()
	if err := s.w.Flush(); err != nil {
		return nil, err
	}
	line, err := s.d.Line(maxSASL)
	if err != nil {
		if _, known := asReply(err); !known {
			err = connError{err}
		}
		return nil, err
	}
	if string(line) == "*" { // RFC 9051 §6.2.2: the client gives up
		return nil, bad("authentication cancelled")
	}
	return decodeSASL(string(line))
}

func decodeSASL(line string) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return nil, bad("want base64")
	}
	return data, nil
}
