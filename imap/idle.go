package imap

import "strings"

var extIdle = extension{
	name: "IDLE", rfc: "RFC 2177", caps: []capability{{name: "IDLE"}},
	commands: []*command{&cmdIdle},
}

// IDLE, RFC 9051 §6.3.13. It is a state of the session, not a loop of its own: the
// connection waits for DONE where it waits for commands, and news of the
// mailbox end the wait too.
var cmdIdle = command{name: "IDLE", state: loggedIn, parse: noArguments(runIdle)}

// maxDone bounds the line that ends IDLE.
const maxDone = 64

func runIdle(s *session, r *request) (reply, error) {
	s.idle = r
	s.w.Raw("+ idling").CRLF()
	return reply{}, errAnswered
}

// wakes are the news that end a wait.
func (s *session) wakes() news {
	if s.idle != nil || s.wishes.listens {
		return newsMailbox | newsShutdown | newsLogin
	}
	return newsShutdown | newsLogin
}

// push tells a client in IDLE, or one that always listens, what changed.
func (s *session) push() (err error) {
	r := s.idle
	if r == nil {
		r = &request{s: s}
	}
	defer s.dropBatch()
	defer s.recovered(r, s.c.writes, &err)
	s.c.seen(newsMailbox)
	if s.wishes.quiet == quietAll {
		err = s.attend()
	} else {
		err = s.sync(s.idle == nil && s.wishes.delays, false)
	}
	if err != nil {
		return err
	}
	err = s.tell()
	s.made = nil
	return err
}

// done reads the line that ends IDLE.
func (s *session) done() (err error) {
	r := s.idle
	s.idle = nil
	defer s.dropBatch()
	defer s.recovered(r, s.c.writes, &err)
	line, err := s.d.Line(maxDone)
	switch {
	case err != nil:
		if _, known := asReply(err); !known {
			return err
		}
	case !strings.EqualFold(string(line), "DONE"):
		err = bad("want DONE")
	}
	return s.finish(r, reply{}, err)
}
