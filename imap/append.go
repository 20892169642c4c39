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
	dest    string
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
	d.SP()
	if d.Peek() == '(' {
		c.flags = d.FlagList()
		d.SP()
	}
	if d.Peek() == '"' {
		c.date = d.DateTime()
		d.SP()
	}
	c.literal = d.Literal()
	return c
}

func (c *appendCmd) run(s *session, _ *request) (reply, error) {
	// All that can be refused is refused before the client sends the message.
	box, err := s.account.MailboxByName(c.dest)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	if c.literal.Size == 0 {
		return reply{}, no(imap.ResponseCodeCannot, "a message of no octets")
	}
	if err := s.account.MayAppend(c.literal.Size); err != nil {
		return reply{}, err
	}
	upload, err := s.account.NewUpload(c.literal.Size)
	if err != nil {
		return reply{}, err
	}
	if err := receive(upload, c.literal); err != nil {
		upload.Abort()
		return reply{}, err
	}
	s.d.End()
	if err := s.d.Err(); err != nil {
		upload.Abort()
		return reply{}, err
	}
	if err := upload.Close(); err != nil {
		upload.Abort()
		return reply{}, err
	}
	res, err := s.account.Append(box.ID, []storage.NewMessage{{Upload: upload, Flags: c.flags, Date: c.date}})
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	return reply{code: appendUID(&res)}, nil
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
