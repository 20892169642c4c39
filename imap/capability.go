package imap

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// CAPABILITY, RFC 9051 §6.1.1.
var cmdCapability = command{name: "CAPABILITY", state: anyState, parse: noArguments(runCapability)}

func runCapability(s *session, _ *request) (reply, error) {
	s.w.Raw("* ").Raw(codeCapability).SP().Raw(s.capabilities()).CRLF()
	return reply{}, nil
}

// capabilities are the names that hold for the session as it is now. They
// change with STARTTLS and login; both tell the client.
func (s *session) capabilities() string {
	var b strings.Builder
	for _, x := range s.srv.tables.extensions {
		if !s.has(x) {
			continue
		}
		for _, c := range x.caps {
			if c.when != nil && !c.when(s) {
				continue
			}
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			if c.text != nil {
				b.WriteString(c.text(s))
			} else {
				b.WriteString(c.name)
			}
		}
	}
	return b.String()
}

// NOOP, RFC 9051 §6.1.2: what changed is told by sync.
var cmdNoop = command{name: "NOOP", state: anyState, parse: noArguments(runNothing)}

// CHECK, RFC 3501 §6.4.1. What was acknowledged is on disk already.
var cmdCheck = command{name: "CHECK", state: selected, parse: noArguments(runNothing)}

func runNothing(*session, *request) (reply, error) { return reply{}, nil }

// LOGOUT, RFC 9051 §6.1.3.
var cmdLogout = command{name: "LOGOUT", state: anyState, flags: noSync, parse: noArguments(runLogout)}

func runLogout(s *session, _ *request) (reply, error) {
	s.status("", imap.StatusResponseTypeBye, "", "logging out")
	return reply{}, errLogout
}

// extLiteral: literals that need no go-ahead. The decoder takes "{n+}" of any
// client, before login too; only LITERAL- has a limit (RFC 7888 §5).
var extLiteral = extension{
	name: "LITERAL+", rfc: "RFC 7888", fixed: true,
	caps: []capability{
		{name: "LITERAL+", when: func(s *session) bool { return !s.srv.o.LiteralMinus }},
		{name: "LITERAL-", when: func(s *session) bool { return s.srv.o.LiteralMinus }},
	},
}
