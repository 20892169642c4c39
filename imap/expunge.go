package imap

import (
	"github.com/emersion/go-imap/v2"

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
		_, err := s.sel.account.Expunge(s.sel.box.ID, nil)
		return reply{}, err
	}
	ranges, err := s.resolve(c.set)
	if err != nil {
		return reply{}, err
	}
	uids := s.sel.view.UIDs(ranges)
	if len(uids) == 0 {
		return reply{}, nil
	}
	_, err = s.sel.account.Expunge(s.sel.box.ID, uids)
	return reply{}, err
}

// writable refuses changes of a mailbox that was EXAMINEd.
func (s *session) writable() error {
	if s.sel.readOnly {
		return no(codeReadOnly, "the mailbox is selected read-only")
	}
	return nil
}
