package imap

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/auth"
)

// initialResponse is the one that came with the command, or that is asked for.
func (s *session) initialResponse(initial []byte, has bool) ([]byte, error) {
	if has {
		return initial, nil
	}
	return s.challenge(nil)
}

// refuseAuthzid refuses those who want to act for others.
func refuseAuthzid(authzid, login string) error {
	if authzid != "" && !strings.EqualFold(authzid, login) {
		return no(imap.ResponseCodeAuthorizationFailed, "nobody may act for another here")
	}
	return nil
}

// authLogin is the mechanism LOGIN. It is not announced: who knows another one
// should use that, and old clients that know nothing else try it anyway.
func authLogin(s *session, initial []byte, has bool) (reply, error) {
	var exchange auth.Login
	var response []byte
	if has {
		response = append([]byte{}, initial...) // not nil: an empty login is one
	}
	for {
		challenge, done, err := exchange.Next(response)
		if err != nil {
			return reply{}, bad("%s", err)
		}
		if done {
			return s.password(exchange.Login, exchange.Password)
		}
		if response, err = s.challenge(challenge); err != nil {
			return reply{}, err
		}
	}
}

// authScram is SCRAM-SHA-256, RFC 7677. It is not announced yet: mbsync 1.4
// with Cyrus SASL prefers it and hangs at an account with more than 65,536
// iterations, as passwords set by an earlier nestbox have.
func authScram(s *session, initial []byte, has bool) (reply, error) {
	initial, err := s.initialResponse(initial, has)
	if err != nil {
		return reply{}, err
	}
	exchange, challenge, err := s.srv.o.Auth.StartScram(initial, s.c.peer)
	if err != nil {
		if errors.Is(err, auth.ErrMalformed) {
			return reply{}, bad("%s", err)
		}
		return reply{}, err
	}
	if err := refuseAuthzid(exchange.Authzid(), exchange.Login()); err != nil {
		return reply{}, err
	}
	final, err := s.challenge(challenge)
	if err != nil {
		return reply{}, err
	}
	signature, id, err := exchange.Finish(s.srv.stopping, final)
	if err != nil {
		if errors.Is(err, auth.ErrMalformed) {
			return reply{}, bad("%s", err)
		}
		return reply{}, s.loginFailed(err)
	}
	// IMAP has no place for data in the tagged OK: the client answers the last
	// challenge with nothing, once it has seen that we know the password too.
	rest, err := s.challenge(signature)
	if err != nil {
		return reply{}, err
	}
	if len(rest) > 0 {
		return reply{}, bad("authentication is complete, want an empty response")
	}
	return s.open(id)
}
