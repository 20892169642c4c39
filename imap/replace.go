package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extReplace: APPEND of a message and the expunge of another, as one (RFC 8508).
var extReplace = extension{
	name: "REPLACE", rfc: "RFC 8508", caps: []capability{{name: "REPLACE"}},
	commands: []*command{{name: "REPLACE", state: selected, flags: hasUID | takesSet | removes, parse: parseReplace}},
}

type replaceCmd struct {
	set     imap.NumSet // of one number
	dest    string
	message appendMessage
}

// parseReplace stops before the literal's bytes, as parseAppend.
func parseReplace(d *wire.Decoder, r *request) runner {
	c := new(replaceCmd)
	d.SP()
	c.set = oneNumber(d, r.uid)
	d.SP()
	c.dest = d.Mailbox()
	c.message.parse(d, r.s)
	return c
}

// oneNumber reads a seq-number or a uniqueid.
func oneNumber(d *wire.Decoder, uid bool) imap.NumSet {
	if uid {
		n := imap.UID(d.NzNumber())
		return imap.UIDSet{{Start: n, Stop: n}}
	}
	if d.TryByte('*') {
		return imap.SeqSet{{}}
	}
	n := d.NzNumber()
	return imap.SeqSet{{Start: n, Stop: n}}
}

func (c *replaceCmd) run(s *session, r *request) (reply, error) {
	if err := s.mayRemove(); err != nil {
		return reply{}, err
	}
	ranges, err := s.resolve(c.set)
	if err != nil {
		return reply{}, err
	}
	uids := s.sel.view.UIDs(ranges)
	if len(uids) != 1 {
		return reply{}, no(imap.ResponseCodeNonExistent, "no such message")
	}
	if err := s.allThere(ranges); err != nil {
		return reply{}, err
	}
	dest, err := s.mailbox(c.dest, storage.RightInsert)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	// No word of quota before: what the old message frees counts.
	msg, err := c.message.receive(s, &dest, func(int64) error { return nil })
	if err == nil {
		if s.d.End(); s.d.Err() != nil {
			msg.Upload.Abort()
			err = s.d.Err()
		}
	}
	if err != nil {
		return reply{}, err
	}
	res, err := s.replaceIn(&dest, uids[0], msg)
	if err != nil {
		if _, gone := s.sel.account.Mailbox(s.sel.box.ID); errors.Is(gone, storage.ErrNoMailbox) {
			return reply{}, err
		}
		return reply{}, tryCreate(c.dest, err)
	}
	s.added(dest.ID, res.UIDs)
	// Before the expunge is told, so that a client can follow (RFC 8508 §4.3).
	s.status("", imap.StatusResponseTypeOK, appendUID(&res), "replacement is there")
	return reply{}, nil
}

// replaceIn adds the message to dest, and expunges the other one. Between two
// accounts the new one is there first.
func (s *session) replaceIn(dest *place, uid imap.UID, msg storage.NewMessage) (storage.AppendResult, error) {
	if dest.account.Account == s.sel.account.Account {
		return dest.account.Replace(s.sel.box.ID, uid, dest.ID, msg)
	}
	res, err := dest.account.Append(dest.ID, []storage.NewMessage{msg})
	if err == nil {
		err = s.sel.account.Remove(s.sel.box.ID, []imap.UID{uid})
	}
	return res, err
}
