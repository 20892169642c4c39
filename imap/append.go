package imap

import (
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// APPEND, RFC 9051 §6.3.12, with literal8 (RFC 3516 §4.4) and APPENDUID
// (RFC 4315 §3).
var cmdAppend = command{name: "APPEND", state: loggedIn, parse: parseAppend}

type appendCmd struct {
	dest  string
	first appendMessage
}

// An appendMessage is a message of APPEND, up to its literal.
type appendMessage struct {
	flags   []imap.Flag
	date    time.Time
	literal *wire.Literal
}

// parseAppend stops before the literal's bytes: run decides whether they are
// wanted.
func parseAppend(d *wire.Decoder, _ *request) runner {
	c := new(appendCmd)
	d.SP()
	c.dest = d.Mailbox()
	c.first.parse(d)
	return c
}

// parse reads [SP flag-list] [SP date-time] SP, and the size of the literal.
func (m *appendMessage) parse(d *wire.Decoder) {
	d.SP()
	if d.Peek() == '(' {
		m.flags = d.FlagList()
		d.SP()
	}
	if d.Peek() == '"' {
		m.date = d.DateTime()
		d.SP()
	}
	m.literal = d.Literal()
}

// maxAppends bounds the messages of one APPEND.
const maxAppends = 1000

func (c *appendCmd) run(s *session, _ *request) (reply, error) {
	// All that can be refused is refused before the client sends the message.
	box, err := s.account.MailboxByName(c.dest)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	msgs, err := c.receive(s)
	if err == nil {
		s.d.End()
		err = s.d.Err()
	}
	if err != nil {
		for _, m := range msgs {
			m.Upload.Abort()
		}
		return reply{}, err
	}
	res, err := s.account.Append(box.ID, msgs)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	return reply{code: appendUID(&res)}, nil
}

// receive takes the messages of the command, which may be one. All of them are
// to be aborted if there is an error.
func (c *appendCmd) receive(s *session) (msgs []storage.NewMessage, err error) {
	octets := int64(0)
	for m := c.first; ; m = (appendMessage{}) {
		if len(msgs) > 0 {
			if m.parse(s.d); s.d.Err() != nil {
				return msgs, s.d.Err()
			}
		}
		if len(msgs) == maxAppends {
			return msgs, no(imap.ResponseCodeLimit, "more than %d messages", maxAppends)
		}
		octets += m.literal.Size
		if err := s.account.MayAppend(octets); err != nil {
			return msgs, err
		}
		msg, err := m.receive(s)
		if err != nil {
			return msgs, err
		}
		msgs = append(msgs, msg)
		if !s.appendsMany() || s.d.AtEnd() {
			return msgs, nil
		}
	}
}

// appendsMany reports whether APPEND may have more than one message.
func (s *session) appendsMany() bool {
	for _, x := range s.srv.tables.extensions {
		if x.appendsMany && s.has(x) {
			return true
		}
	}
	return false
}

// receive takes the message into the storage.
func (m *appendMessage) receive(s *session) (storage.NewMessage, error) {
	msg := storage.NewMessage{Flags: m.flags, Date: m.date}
	if m.literal.Size == 0 { // RFC 3502: this cancels all of it
		return msg, no(imap.ResponseCodeCannot, "a message of no octets")
	}
	upload, err := s.account.NewUpload(m.literal.Size)
	if err != nil {
		return msg, err
	}
	if err = receive(upload, m.literal); err == nil {
		err = upload.Close()
	}
	if err != nil {
		upload.Abort()
		return msg, err
	}
	msg.Upload = upload
	return msg, nil
}

// copyBuffers are for the way from the connection into storage.
var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// receive streams a literal into the storage. The message is never in memory
// as a whole.
func receive(upload *storage.Upload, literal *wire.Literal) error {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := literal.Read(buf[:])
		if n > 0 {
			if _, werr := upload.Write(buf[:n]); werr != nil {
				return werr // what is left of the literal is swallowed by dispatch
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return connError{err} // not of the storage
		}
	}
}

// appendUID is the response code of RFC 4315 §3.
func appendUID(res *storage.AppendResult) string {
	b := append([]byte("APPENDUID "), strconv.FormatUint(uint64(res.UIDValidity), 10)...)
	return string(wire.AppendUIDSet(append(b, ' '), res.UIDs))
}
