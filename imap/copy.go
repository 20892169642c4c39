package imap

import (
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// COPY, RFC 9051 §6.4.7, and MOVE, §6.4.8, with COPYUID (RFC 4315 §3).
var (
	cmdCopy = command{name: "COPY", state: selected, flags: hasUID | takesSet, parse: parseCopy}
	cmdMove = command{name: "MOVE", state: selected, flags: hasUID | takesSet | removes, parse: parseCopy}
)

var extMove = extension{
	name: "MOVE", rfc: "RFC 6851", caps: []capability{{name: "MOVE"}},
	commands: []*command{&cmdMove},
}

type copyCmd struct {
	set  imap.NumSet
	dest string
	move bool
}

func parseCopy(d *wire.Decoder, r *request) runner {
	c := &copyCmd{move: r.cmd.name == "MOVE"}
	d.SP()
	c.set = d.NumSet(r.uid)
	d.SP()
	c.dest = d.Mailbox()
	d.End()
	return c
}

func (c *copyCmd) run(s *session, r *request) (reply, error) {
	if c.move {
		if err := s.mayRemove(); err != nil {
			return reply{}, err
		}
	}
	ranges, err := s.resolve(c.set)
	if err != nil {
		return reply{}, err
	}
	ranges, limit := s.limited(ranges)
	if limit != "" && !c.move { // all or none
		return reply{}, no(imap.ResponseCode(limit), "too many messages to copy: try a smaller set")
	}
	rep, err := c.copy(s, r, ranges)
	if err != nil { // none was moved
		return reply{}, err
	}
	return s.withLimit(limit, rep, nil)
}

func (c *copyCmd) copy(s *session, r *request, ranges view.Ranges) (reply, error) {
	dest, err := s.mailbox(c.dest, storage.RightInsert)
	if err != nil {
		return reply{}, tryCreate(c.dest, err)
	}
	if !r.uid {
		if err := s.allThere(ranges); err != nil {
			return reply{}, err
		}
	}
	uids := s.sel.view.UIDs(ranges)
	if len(uids) == 0 {
		return reply{text: "no messages"}, nil
	}
	res, err := s.copyTo(&dest, uids, c.move)
	if err != nil {
		return reply{}, c.destGone(s, err)
	}
	if len(res.To) == 0 {
		return reply{text: "no messages"}, nil
	}
	s.added(dest.ID, res.To)
	code := copyUID(&res)
	if !c.move {
		return reply{code: code}, nil
	}
	// Before the EXPUNGEs, so that a client can follow (RFC 6851 §4.3).
	s.status("", imap.StatusResponseTypeOK, code, "moved")
	return reply{}, nil
}

// mayRemove refuses a MOVE or REPLACE out of a mailbox by who may not expunge
// there.
func (s *session) mayRemove() error {
	if err := s.writable(); err != nil {
		return err
	}
	return s.may(storage.RightDeleteMail | storage.RightExpunge)
}

// copyTo copies or moves messages of the selected mailbox.
func (s *session) copyTo(dest *place, uids []imap.UID, move bool) (storage.CopyResult, error) {
	return dest.account.CopyFor(s.sel.account, s.sel.box.ID, uids, dest.ID, move, dest.rights, s.progress)
}

// destGone tells a destination that vanished meanwhile from a source that did.
func (c *copyCmd) destGone(s *session, err error) error {
	if _, err := s.sel.account.Mailbox(s.sel.box.ID); err != nil {
		return err
	}
	return tryCreate(c.dest, err)
}

// allThere refuses a COPY or MOVE by sequence number of messages that were
// expunged, of which the client doesn't know yet (RFC 9051 §6.4.9, §7.1).
func (s *session) allThere(ranges view.Ranges) error {
	b := s.batch()
	cur := s.sel.view.Cursor(ranges)
	for uids := cur.Next(b.uids[:0]); len(uids) > 0; uids = cur.Next(b.uids[:0]) {
		rows, err := s.sel.account.Rows(s.sel.box.Space, uids, b.rows[:0])
		if err != nil {
			return err
		}
		if len(rows) < len(uids) || slices.ContainsFunc(rows, func(r storage.Row) bool { return r.Expunged }) {
			return storage.ErrExpunged
		}
	}
	return nil
}

// copyUID is the response code of RFC 4315 §3.
func copyUID(res *storage.CopyResult) string {
	b := append([]byte("COPYUID "), strconv.FormatUint(uint64(res.UIDValidity), 10)...)
	b = wire.AppendUIDSet(append(b, ' '), res.From)
	b = wire.AppendUIDSet(append(b, ' '), res.To)
	return string(b)
}
