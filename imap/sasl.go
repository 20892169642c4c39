package imap

import (
	"crypto/tls"
	"errors"
	"strings"

	"nestbox/auth"
)

// authConn is the connection as mechanisms see it.
func (s *session) authConn() *auth.Conn {
	c := &auth.Conn{Protocol: auth.ScopeIMAP, Peer: s.c.peer, Client: s.client}
	if t, ok := s.c.stream.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.TLS, c.Certificate = &state, s.c.binding.EndPoint()
	}
	return c
}

// announceAuth is what CAPABILITY says of mechanisms.
func announceAuth(s *session) string {
	return "AUTH=" + strings.Join(s.srv.o.Auth.Mechanisms(s.authConn()), " AUTH=")
}

// exchange is AUTHENTICATE from the client's first response on, nil if it sent
// none.
func (s *session) exchange(x auth.Exchange, response []byte) (reply, error) {
	for {
		challenge, who, err := x.Next(s.srv.stopping, response)
		switch {
		case errors.Is(err, auth.ErrMalformed):
			return reply{}, bad("%s", err)
		case err != nil:
			return reply{}, s.loginFailed(err)
		case who != nil && len(challenge) == 0:
			return s.open(*who)
		}
		if response, err = s.challenge(challenge); err != nil {
			return reply{}, err
		}
		if who != nil {
			// IMAP has no place for data in the tagged OK: the client answers the last
			// challenge with nothing, once it has seen that we know the password too.
			if len(response) > 0 {
				return reply{}, bad("authentication is complete, want an empty response")
			}
			return s.open(*who)
		}
	}
}
