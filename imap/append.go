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
	flags []imap.Flag
	date  time.Time
	data  appendData
}

// An appendData is where the octets of a message come from (RFC 4466 §6,
// append-data): a literal, or what an extension lets stand there.
type appendData interface {
	// announced is how many octets it has, -1 if that is not known yet.
	announced() int64
	// copyTo writes them to u, and reads what is left of the arguments up to
	// the end of this message. room says whether a message of so many octets
	// may be stored: it is asked before the client sends them.
	copyTo(s *session, u *storage.Upload, room func(octets int64) error) error
}

// An appendDatum is a kind of append-data that has a name.
type appendDatum struct {
	name   string
	inList bool // it may also be one of several, of which a message is put together
	parse  func(d *wire.Decoder) appendData
}

// parseAppend stops before the literal's bytes: run decides whether they are
// wanted.
func parseAppend(d *wire.Decoder, r *request) runner {
	c := new(appendCmd)
	d.SP()
	c.dest = d.Mailbox()
	c.first.parse(d, r.s)
	return c
}

// parse reads [SP flag-list] [SP date-time] SP, and the size of the literal.
func (m *appendMessage) parse(d *wire.Decoder, s *session) {
	d.SP()
	if d.Peek() == '(' {
		m.flags = d.FlagList()
		d.SP()
	}
	if d.Peek() == '"' {
		m.date = d.DateTime()
		d.SP()
	}
	if c := d.Peek(); c == '{' || c == '~' || d.Err() != nil {
		m.data = messageLiteral{d.Literal()}
		return
	}
	datum, ok := look(s, s.srv.tables.appendData, d.Word())
	if !ok {
		d.Fail("literal")
		return
	}
	m.data = datum.parse(d)
}

// maxAppends bounds the messages of one APPEND.
const maxAppends = 1000

func (c *appendCmd) run(s *session, _ *request) (reply, error) {
	// All that can be refused is refused before the client sends the message.
	box, err := s.mailbox(c.dest, storage.RightInsert)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	msgs, err := c.receive(s, &box)
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
	res, err := box.account.Append(box.ID, msgs)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	s.added(box.ID, res.UIDs)
	return reply{code: appendUID(&res)}, nil
}

// receive takes the messages of the command, which may be one. All of them are
// to be aborted if there is an error.
func (c *appendCmd) receive(s *session, dest *place) (msgs []storage.NewMessage, err error) {
	octets := int64(0)
	for m := c.first; ; m = (appendMessage{}) {
		if len(msgs) > 0 {
			if m.parse(s.d, s); s.d.Err() != nil {
				return msgs, s.d.Err()
			}
		}
		if len(msgs) == s.maxAppends() {
			return msgs, no(s.appendsCode(), "more than %d messages", s.maxAppends())
		}
		msg, err := m.receive(s, dest, func(n int64) error { return dest.account.MayAppend(octets + n) })
		if err != nil {
			return msgs, err
		}
		octets += msg.Upload.Size()
		msgs = append(msgs, msg)
		if !s.appendsMany() || s.d.AtEnd() {
			return msgs, nil
		}
	}
}

// maxAppends is how many messages an APPEND may have.
func (s *session) maxAppends() int {
	if most := s.most(); most > 0 {
		return min(most, maxAppends)
	}
	return maxAppends
}

// appendsCode is the response code for more.
func (s *session) appendsCode() imap.ResponseCode {
	if most := s.most(); most > 0 && most <= maxAppends {
		return imap.ResponseCode(codeMessageLimit + " " + strconv.Itoa(s.maxAppends()))
	}
	return imap.ResponseCodeLimit
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
func (m *appendMessage) receive(s *session, dest *place, room func(octets int64) error) (storage.NewMessage, error) {
	msg := storage.NewMessage{Flags: dest.rights.Flags(m.flags), Date: m.date} // RFC 4314 §4
	size := m.data.announced()
	if size == 0 { // RFC 3502: this cancels all of it
		return msg, errNoOctets
	}
	upload, err := dest.account.NewUpload(size)
	if err != nil {
		return msg, err
	}
	if err = room(max(size, 0)); err == nil {
		err = m.data.copyTo(s, upload, room)
	}
	if err == nil {
		err = upload.Close()
	}
	if err == nil {
		err = s.accepts(upload)
	}
	if err != nil {
		upload.Abort()
		return msg, err
	}
	msg.Upload = upload
	return msg, nil
}

// accepts looks at a message that is complete.
func (s *session) accepts(u *storage.Upload) error {
	if u.Size() == 0 {
		return errNoOctets
	}
	for _, x := range s.srv.tables.extensions {
		if x.onUpload != nil && s.has(x) {
			if err := x.onUpload(s, u); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNoOctets = no(imap.ResponseCodeCannot, "a message of no octets")

// A messageLiteral is a message, or a piece of one, that comes with the command.
type messageLiteral struct{ *wire.Literal }

func (l messageLiteral) announced() int64 { return l.Size }

func (l messageLiteral) copyTo(_ *session, u *storage.Upload, _ func(int64) error) error {
	return receive(u, l.Literal)
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
