package imap

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// maxBadCommands before login end the connection: no client needs as many, a
// port scanner or an HTTP client does.
const maxBadCommands = 10

// A fatalError ends the connection without another byte to the client, who
// is out of step with the server: a literal that broke off.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return "connection out of step: " + e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// errAnswered says that a command has written its tagged line itself.
var errAnswered = errors.New("answered")

// errLogout ends the connection after a complete answer.
var errLogout = errors.New("logout")

// input takes what the client sent: a command, or the end of IDLE.
func (s *session) input() error {
	if s.idle != nil {
		return s.done()
	}
	return s.command()
}

// recovered makes a panic the end of this connection alone. The client is told
// if nothing of the answer has left: BYE must not become part of a literal.
func (s *session) recovered(r *request, writes int, err *error) {
	p := recover()
	if p == nil {
		return
	}
	s.log.Error("imap_panic", "command", r.name(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if s.c.writes != writes {
		*err = &fatalError{errors.New("panic")}
		return
	}
	s.w.Reset(s.c)
	*err = &byeError{imap.ResponseCodeServerBug, "internal error, see the server's log"}
}

// command reads and answers one command. An error ends the connection.
func (s *session) command() (err error) {
	r := &request{s: s}
	defer s.dropBatch()
	defer s.recovered(r, s.c.writes, &err)
	if err := s.d.Next(); err != nil {
		return s.reject(r, err)
	}
	runner, err := s.parse(r)
	if err == nil {
		err = s.d.Err()
	}
	if err != nil {
		return s.reject(r, err)
	}
	for _, f := range r.before {
		f(s)
	}
	s.tag = r.tag
	rep, err := reply{}, s.permitted(r)
	if err == nil {
		err = s.recheck(r)
	}
	if err == nil {
		rep, err = runner.run(s, r)
	}
	if derr := s.d.Err(); derr != nil && !isReply(err) {
		// A command with a big literal reads the rest of its arguments as
		// it runs.
		return s.reject(r, derr)
	}
	// What run left unread, an APPEND's literal that nobody wanted, goes.
	if derr := s.d.Discard(); derr != nil && ends(err) == nil {
		return errors.Join(derr, s.answerError(r, err))
	}
	return s.finish(r, rep, err)
}

// parse reads tag, name and arguments of the command in the decoder.
func (s *session) parse(r *request) (runner, error) {
	d := s.d
	if r.tag = d.Tag(); d.Err() != nil {
		return nil, nil
	}
	d.SP()
	name := d.Word()
	if name == "UID" {
		r.uid = true
		d.SP()
		name = d.Word()
	}
	if d.Err() != nil {
		return nil, nil
	}
	cmd, ok := look(s, s.srv.tables.commands, name)
	if ok && !r.uid && cmd.flags&onlyUID != 0 || ok && r.uid && cmd.flags&(hasUID|onlyUID) == 0 {
		ok = false
	}
	if !ok {
		return nil, bad("unknown command")
	}
	r.cmd = cmd
	if at := s.state(); cmd.state&at == 0 {
		return nil, bad("%s is not legal %s", r.name(), at)
	}
	if s.uidOnly && !r.uid && cmd.flags&takesSet != 0 {
		return nil, errUIDRequired
	}
	run := cmd.parse(d, r)
	if s.uidOnly && r.numbers && d.Err() == nil {
		return nil, errUIDRequired
	}
	return run, nil
}

// String says when, for error texts.
func (st state) String() string {
	switch st {
	case notAuthenticated:
		return "before login"
	case authenticated:
		return "when no mailbox is selected"
	}
	return "when a mailbox is selected"
}

// finish tells what changed, then the tagged reply.
func (s *session) finish(r *request, rep reply, err error) error {
	if errors.Is(err, errAnswered) {
		return nil
	}
	if end := ends(err); end != nil {
		return s.answerEnd(r, rep, end)
	}
	if errors.Is(err, storage.ErrClosed) {
		return errors.Join(s.answerError(r, err), errClosed)
	}
	if r.cmd.flags&noSync == 0 && s.sel != nil {
		if serr := s.syncAfter(r); serr != nil {
			if ends(serr) != nil || s.w.Err() != nil {
				return errors.Join(s.answerError(r, err), serr)
			}
			// The command is done; what changed is told next time.
			s.log.Error("imap_sync_failed", "command", r.name(), "error", serr)
		}
		s.tellHighestModSeq(&rep, err == nil)
	}
	if r.cmd.flags&noSync == 0 {
		if terr := s.tell(); terr != nil {
			s.log.Error("imap_sync_failed", "command", r.name(), "error", terr)
		}
		s.made = nil
	}
	if err != nil {
		return s.answerError(r, err)
	}
	s.ok(r, rep)
	return s.w.Flush()
}

// answerEnd ends the connection as a command wants it.
func (s *session) answerEnd(r *request, rep reply, end error) error {
	if errors.Is(end, errLogout) {
		s.ok(r, rep)
		return errors.Join(s.w.Flush(), end)
	}
	return end
}

func (s *session) ok(r *request, rep reply) {
	if rep.text == "" {
		rep.text = r.name() + " completed"
	}
	s.status(r.tag, imap.StatusResponseTypeOK, rep.code, rep.text)
}

// answerError writes the tagged line that err stands for, and flushes. A nil
// err is answered with OK.
func (s *session) answerError(r *request, err error) error {
	if err == nil {
		s.ok(r, reply{})
		return s.w.Flush()
	}
	e, known := asReply(err)
	switch {
	case !known:
		s.log.Error("imap_command_failed", "command", r.name(), "error", err)
	case isTrouble(err):
		s.log.Warn("imap_command_refused", "command", r.name(), "error", err)
	}
	s.status(r.tag, e.kind, string(e.code), e.text)
	return s.w.Flush()
}

// status writes a status response; an empty tag is an untagged one.
func (s *session) status(tag string, kind imap.StatusResponseType, code, text string) {
	if tag == "" {
		tag = "*"
	}
	w := s.w
	w.Raw(tag).SP().Raw(string(kind)).SP()
	if code != "" {
		w.Raw("[").Raw(code).Raw("] ")
	}
	if s.language != nil {
		text = readable(s.say(text))
	} else {
		text = plain(text)
	}
	w.Raw(text).CRLF()
}

// plain is text as resp-text may hold it: printable ASCII (RFC 3501 §9).
func plain(text string) string {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < ' ' || c > '~' {
			return strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return '?'
				}
				return r
			}, text)
		}
	}
	return text
}

// reject answers a command that could not be parsed or is not legal now, and
// swallows the rest of it. A line without a tag is answered without one. An
// error of the connection itself is returned.
func (s *session) reject(r *request, err error) error {
	derr := s.d.Discard()
	e, known := asReply(err)
	if !known {
		return err // the connection broke off
	}
	s.status(r.tag, e.kind, string(e.code), e.text)
	if err := s.countBad(); err != nil {
		return err
	}
	return errors.Join(s.w.Flush(), derr)
}

// countBad counts what a client did wrong before login.
func (s *session) countBad() error {
	if s.account != nil {
		return nil
	}
	if s.bad++; s.bad >= maxBadCommands {
		s.log.Warn("imap_bad_client", "commands", s.bad)
		return &byeError{"", "too many bad commands"}
	}
	return nil
}

func isReply(err error) bool {
	var e *replyError
	return errors.As(err, &e)
}

// ends is err if it ends the connection.
func ends(err error) error {
	var bye *byeError
	var fatal *fatalError
	if errors.As(err, &bye) || errors.As(err, &fatal) || errors.Is(err, errLogout) || isConnError(err) {
		return err
	}
	return nil
}

// farewell is the last line to a client whose connection ends with err.
func (s *session) farewell(err error) {
	var bye *byeError
	switch {
	case errors.As(err, &bye):
		s.status("", imap.StatusResponseTypeBye, string(bye.code), bye.text)
		err = s.w.Flush()
	case errors.Is(err, errLogout):
		err = nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.log.Debug("imap_connection_ended", "error", err)
	}
}
