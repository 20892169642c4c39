package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// EXPUNGE, RFC 9051 §6.4.3, and UID EXPUNGE, §6.4.9 (RFC 4315 §2.1). What is
// gone is told by sync.
var cmdExpunge = command{name: "EXPUNGE", state: selected, flags: hasUID | removes, parse: parseExpunge}

// extUIDPlus: UID EXPUNGE, APPENDUID, COPYUID. They are in IMAP4rev2 too, so
// switching it off only takes away the name.
var extUIDPlus = extension{
	name: "UIDPLUS", rfc: "RFC 4315", caps: []capability{{name: "UIDPLUS"}},
}

type expungeCmd struct{ set imap.NumSet }

func parseExpunge(d *wire.Decoder, r *request) runner {
	c := new(expungeCmd)
	if r.uid {
		d.SP()
		c.set = d.NumSet(true)
	}
	d.End()
	return c
}

func (c *expungeCmd) run(s *session, r *request) (reply, error) {
	if err := s.writable(); err != nil {
		return reply{}, err
	}
	if err := s.may(storage.RightExpunge); err != nil {
		return reply{}, err
	}
	if !r.uid {
		return reply{}, s.expunge(nil)
	}
	ranges, err := s.resolve(c.set)
	if err != nil {
		return reply{}, err
	}
	if s.most() > 0 { // it counts what is expunged (RFC 9738 §3.1)
		if ranges, err = s.deleted(ranges); err != nil {
			return reply{}, err
		}
	}
	ranges, limit := s.limited(ranges)
	uids := s.sel.view.UIDs(ranges)
	if len(uids) == 0 {
		return reply{}, nil
	}
	if err = s.expunge(uids); err != nil {
		return reply{}, err
	}
	return s.withLimit(limit, reply{}, nil)
}

// deleted are those of the messages that have the flag.
func (s *session) deleted(ranges view.Ranges) (view.Ranges, error) {
	b := s.batch()
	var all []imap.UID
	cursor := s.sel.view.Cursor(ranges)
	for uids := cursor.Next(b.uids[:0]); len(uids) > 0; uids = cursor.Next(b.uids[:0]) {
		rows, err := s.sel.account.Rows(s.sel.box.Space, uids, b.rows[:0])
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if rows[i].Flags&storage.FlagDeleted != 0 {
				all = append(all, rows[i].UID)
			}
		}
	}
	return view.RangesOf(all), nil
}

// writable refuses changes of a mailbox that was EXAMINEd.
func (s *session) writable() error {
	if s.sel.readOnly {
		return no(codeReadOnly, "the mailbox is selected read-only")
	}
	return nil
}
