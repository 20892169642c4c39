package imap

import (
	"errors"
	"strings"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extACL: who may do what in a mailbox (RFC 4314). What the rights allow is
// looked after where it is done, with session.mailbox and session.may; here
// are the commands that read and change them. The owner of an account has all
// rights to its mailboxes, always.
var extACL = extension{
	name: "ACL", rfc: "RFC 4314", caps: []capability{{name: "ACL"}, {name: "RIGHTS=texk"}},
	commands: []*command{
		{name: "SETACL", state: loggedIn, parse: parseSetACL},
		{name: "DELETEACL", state: loggedIn, parse: parseDeleteACL},
		{name: "GETACL", state: loggedIn, parse: parseNamed(runGetACL)},
		{name: "LISTRIGHTS", state: loggedIn, parse: parseListRights},
		{name: "MYRIGHTS", state: loggedIn, parse: parseNamed(runMyRights)},
	},
}

// extListMyRights: LIST RETURN (MYRIGHTS) (RFC 8440).
var extListMyRights = extension{
	name: "LIST-MYRIGHTS", rfc: "RFC 8440", caps: []capability{{name: "LIST-MYRIGHTS"}},
	needs: []*extension{&extACL, &extListExtended},
	listOptions: []listOption{{name: "MYRIGHTS", where: listReturn, follow: func(s *session, _ *listCmd, box *place) error {
		s.writeMyRights(box)
		return nil
	}}},
}

type setACLCmd struct {
	name, who string
	mode      storage.StoreMode
	rights    storage.Rights
	remove    bool
}

func parseSetACL(d *wire.Decoder, _ *request) runner {
	c := new(setACLCmd)
	c.parse(d)
	d.SP()
	text := d.Astring()
	if d.Err() == nil {
		switch {
		case strings.HasPrefix(text, "+"):
			c.mode = storage.StoreAdd
		case strings.HasPrefix(text, "-"):
			c.mode = storage.StoreRemove
		}
		if c.mode != storage.StoreReplace {
			text = text[1:]
		}
		var err error
		if c.rights, err = storage.ParseRights(text); err != nil {
			d.FailErr(bad("%s", err))
		}
	}
	d.End()
	return c
}

func parseDeleteACL(d *wire.Decoder, _ *request) runner {
	c := &setACLCmd{remove: true}
	c.parse(d)
	d.End()
	return c
}

// parse reads SP mailbox SP identifier.
func (c *setACLCmd) parse(d *wire.Decoder) {
	d.SP()
	c.name = d.Mailbox()
	d.SP()
	c.who = d.Astring()
}

func (c *setACLCmd) run(s *session, _ *request) (reply, error) {
	box, err := s.mailbox(c.name, storage.RightAdmin)
	if err != nil {
		return reply{}, err
	}
	who, err := s.identifier(c.who)
	if err != nil {
		return reply{}, err
	}
	if who == storage.AccountIdentifier(box.account.ID()) || who == "-"+storage.AccountIdentifier(box.account.ID()) {
		if who[0] == '=' && !c.remove && (c.mode == storage.StoreAdd || c.mode == storage.StoreReplace && c.rights == storage.AllRights) {
			return reply{}, nil // as it is
		}
		return reply{}, no("CANNOT", "the owner of a mailbox has all rights to it")
	}
	if !c.remove && c.rights != 0 && who[0] == '$' {
		if there, err := s.srv.o.Store.HasGroup(who); err != nil || !there {
			return reply{}, errors.Join(err, no("NONEXISTENT", "no such group"))
		}
	}
	err = box.account.ChangeACL(box.ID, storage.ACLChange{Who: who, Mode: c.mode, Rights: c.rights, Remove: c.remove})
	if err == nil {
		s.note(storage.AuditACL, "%s: %s gets %q", box.Name, c.who, c.letters())
	}
	return reply{}, err
}

// letters are the rights as SETACL has them.
func (c *setACLCmd) letters() string {
	sign := ""
	switch c.mode {
	case storage.StoreAdd:
		sign = "+"
	case storage.StoreRemove:
		sign = "-"
	}
	if c.remove {
		return ""
	}
	return sign + c.rights.Letters()
}

// identifier is what a client's identifier stands for (RFC 4314 §3).
func (s *session) identifier(text string) (storage.Identifier, error) {
	who, err := s.srv.o.Store.Identifier(text)
	var name *storage.NameError
	switch {
	case errors.As(err, &name):
		return "", bad("%s", err)
	case errors.Is(err, storage.ErrNoAccount):
		return "", no("NONEXISTENT", "no account of that name")
	}
	return who, err
}

// runGetACL tells the ACL, the owner's rights first.
func runGetACL(s *session, name string) error {
	box, err := s.mailbox(name, storage.RightAdmin)
	if err != nil {
		return err
	}
	st := s.srv.o.Store
	s.w.Raw("* ACL ").Mailbox(box.Name)
	if !box.shared {
		owner := storage.AccountIdentifier(box.account.ID())
		s.w.SP().Astring(st.IdentifierName(owner)).SP().Astring(storage.Rights(storage.AllRights).String())
	}
	for _, e := range box.ACL {
		s.w.SP().Astring(st.IdentifierName(e.Who)).SP().Astring(e.Rights.String())
	}
	s.w.CRLF()
	return nil
}

type listRightsCmd struct{ name, who string }

func parseListRights(d *wire.Decoder, _ *request) runner {
	c := new(listRightsCmd)
	d.SP()
	c.name = d.Mailbox()
	d.SP()
	c.who = d.Astring()
	d.End()
	return c
}

func (c *listRightsCmd) run(s *session, _ *request) (reply, error) {
	box, err := s.mailbox(c.name, storage.RightAdmin)
	if err != nil {
		return reply{}, err
	}
	who, err := s.identifier(c.who)
	if err != nil {
		return reply{}, err
	}
	// The identifier as the client gave it (RFC 4314 §3.4).
	s.w.Raw("* LISTRIGHTS ").Mailbox(box.Name).SP().Astring(c.who).SP()
	all := storage.Rights(storage.AllRights).String()
	if who == storage.AccountIdentifier(box.account.ID()) {
		s.w.Astring(all)
	} else {
		s.w.Raw(`""`)
		for i := range len(all) { // none is tied to another
			s.w.SP().Raw(all[i : i+1])
		}
	}
	s.w.CRLF()
	return reply{}, nil
}

// myRights are those of which one must be there for MYRIGHTS (RFC 4314 §4).
const myRights = storage.RightLookup | storage.RightRead | storage.RightInsert | storage.RightCreate | storage.RightDelete | storage.RightAdmin

func runMyRights(s *session, name string) error {
	box, err := s.anyMailbox(name)
	if err != nil {
		return err
	}
	if box.rights&myRights == 0 {
		return storage.ErrNoMailbox
	}
	s.writeMyRights(&box)
	return nil
}

func (s *session) writeMyRights(box *place) {
	s.w.Raw("* MYRIGHTS ").Mailbox(box.Name).SP().Astring(box.rights.String()).CRLF()
}
