package imap

// extUnauthenticate: another login over the same connection (RFC 8437).
var extUnauthenticate = extension{
	name: "UNAUTHENTICATE", rfc: "RFC 8437",
	caps:     []capability{{name: "UNAUTHENTICATE", when: func(s *session) bool { return s.account != nil }}},
	commands: []*command{{name: "UNAUTHENTICATE", state: loggedIn, flags: noSync, parse: noArguments(runUnauthenticate)}},
}

// runUnauthenticate writes its own tagged line: compression ends with it. What
// the client pipelined behind the command is not lost.
func runUnauthenticate(s *session, r *request) (reply, error) {
	s.log.Info("imap_unauthenticate")
	s.ok(r, reply{text: "logged out of the account"})
	if err := s.w.Flush(); err != nil {
		return reply{}, &fatalError{err}
	}
	s.c.endCompression()
	s.reset()
	return reply{}, errAnswered
}
