package imap

import (
	"nestbox/imap/wire"
)

// A state of the connection, RFC 9051 §3; a command names all it is legal in.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected

	loggedIn = authenticated | selected
	anyState = notAuthenticated | loggedIn
)

// cmdFlags say what dispatch has to know of a command.
type cmdFlags uint16

const (
	// hasUID: there is a UID form, "UID FETCH"; request.uid tells.
	hasUID cmdFlags = 1 << iota
	// onlyUID: there is no other form.
	onlyUID
	// usesSeq: expunges are withheld while the form without UID is answered
	// (RFC 9051 §7.5.1: FETCH, STORE, SEARCH; RFC 5256: SORT, THREAD).
	usesSeq
	// takesSet: the form without UID takes or gives sequence numbers.
	takesSet
	// removes: its answer tells the expunges that it made.
	removes
	// noSync: nothing unsolicited is sent before the tagged reply (LOGOUT, CLOSE).
	noSync
)

// A command is one line of the table of commands. parse reads the arguments,
// from the SP after the name up to and with End; it touches neither storage
// nor the mailbox. A wrong argument is left in d.Err(), and the runner is then
// not run. Only commands with a big literal (APPEND) leave End to their run.
type command struct {
	name  string // upper case
	state state
	flags cmdFlags
	parse func(d *wire.Decoder, r *request) runner
}

// A request is a command as it came from the client.
type request struct {
	tag string
	cmd *command
	uid bool // UID form
	s   *session
	// numbers: sequence numbers are in the arguments of a UID form.
	numbers bool
	// before is what is done to the session before the command runs: parsers
	// add to it what an argument switches on.
	before []func(s *session)
}

// name is the command as the client gave it, for texts.
func (r *request) name() string {
	if r.cmd == nil {
		return "?"
	}
	if r.uid {
		return "UID " + r.cmd.name
	}
	return r.cmd.name
}

// withholds reports whether expunges may not be told in the answer.
func (r *request) withholds() bool { return r.cmd.flags&usesSeq != 0 && (!r.uid || r.numbers) }

// A runner is a parsed command. run writes its untagged data to s.w and
// returns the tagged OK, or an error that errors.go turns into NO or BAD.
type runner interface {
	run(s *session, r *request) (reply, error)
}

// runFunc is a runner without arguments.
type runFunc func(s *session, r *request) (reply, error)

func (f runFunc) run(s *session, r *request) (reply, error) { return f(s, r) }

// noArguments is the parse of a command that has none.
func noArguments(f runFunc) func(*wire.Decoder, *request) runner {
	return func(d *wire.Decoder, _ *request) runner {
		d.End()
		return f
	}
}
