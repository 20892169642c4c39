package imap

import (
	"github.com/emersion/go-imap/v2"
)

// extStartTLS: STARTTLS, and what is announced while there is no TLS.
var extStartTLS = extension{
	name: "STARTTLS", rfc: "RFC 9051 §6.2.1", fixed: true,
	caps: []capability{
		{name: "STARTTLS", when: func(s *session) bool { return s.account == nil && s.mayStartTLS() }},
		{name: "LOGINDISABLED", when: func(s *session) bool { return s.account == nil && !s.mayLogin() }},
		{name: "AUTH=PLAIN", text: announceAuth, when: func(s *session) bool { return s.account == nil && s.mayLogin() }},
	},
	commands: []*command{&cmdStartTLS},
}

// STARTTLS, RFC 9051 §6.2.1.
var cmdStartTLS = command{name: "STARTTLS", state: notAuthenticated, parse: noArguments(runStartTLS)}

func (s *session) mayStartTLS() bool { return !s.c.secure && s.srv.o.TLS != nil }

// mayLogin reports whether a password may come over this connection.
func (s *session) mayLogin() bool {
	return s.c.secure || s.c.private || s.c.loopback() || s.srv.o.InsecureAuth || within(s.srv.o.PlaintextFrom, s.c.via)
}

// runStartTLS writes its own tagged line: it has to be out before the
// handshake.
func runStartTLS(s *session, r *request) (reply, error) {
	if s.c.secure {
		return reply{}, bad("TLS is on already")
	}
	if s.srv.o.TLS == nil {
		return reply{}, no(imap.ResponseCodeUnavailable, "this server has no certificate")
	}
	s.ok(r, reply{text: "begin TLS now"})
	if err := s.w.Flush(); err != nil {
		return reply{}, &fatalError{err}
	}
	if err := s.c.handshake(); err != nil {
		s.log.Debug("imap_handshake_failed", "error", err)
		return reply{}, &fatalError{err}
	}
	// What came in plain text behind STARTTLS may be anybody's: it is dropped
	// (RFC 9051 §11.1, command injection).
	s.d.Reset(s.c)
	s.bad = 0
	return reply{}, errAnswered
}
