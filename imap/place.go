package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// A home is where the mailboxes of one account are for a session: the login's
// own, or those of another account, as far as they are shared with it.
type home struct {
	account storage.ByLogin
	prefix  string             // of the names, "" for the login's own
	who     *storage.Principal // whom ACLs are asked about; nil: the login owns all
	shared  bool               // nobody owns it
}

// A place is a mailbox as a session may see it.
type place struct {
	storage.Mailbox // under the name that the session knows
	home
	rights storage.Rights
}

// own is the login's home.
func (s *session) own() home { return ownHome(s.account) }

func ownHome(a *storage.Account) home { return home{account: a.ByLogin("")} }

// home finds the home that a name belongs to, and the name in its account.
func (s *session) home(name string) (h home, local string, err error) {
	for _, x := range s.srv.tables.extensions {
		if x.home == nil || !s.has(x) {
			continue
		}
		if h, local, err = x.home(s, name); h.account.Account != nil || err != nil {
			return h, local, err
		}
	}
	return s.own(), name, nil
}

// at is what a mailbox of the account is for the session.
func (h *home) at(box storage.Mailbox) place {
	p := place{Mailbox: box, home: *h, rights: storage.AllRights}
	if h.who != nil {
		p.rights = box.ACL.Rights(h.who)
		p.Name = h.prefix + box.Name
		p.SpecialUse = nil // it is of use to its owner (RFC 6154 §2)
	}
	return p
}

// mailbox finds a mailbox in which the session has all these rights. One that
// it may not look up is none (RFC 4314 §6).
func (s *session) mailbox(name string, need storage.Rights) (place, error) {
	p, err := s.anyMailbox(name)
	if err != nil {
		return p, err
	}
	return p, p.needs(need)
}

// anyMailbox finds a mailbox, whatever the session may do in it.
func (s *session) anyMailbox(name string) (place, error) {
	h, local, err := s.home(name)
	if err != nil {
		return place{}, err
	}
	return h.find(local)
}

// find finds a mailbox by its name in the account.
func (h *home) find(local string) (place, error) {
	box, err := h.account.MailboxByName(local)
	if err != nil {
		return place{}, err
	}
	return h.at(box), nil
}

// needs refuses who lacks one of the rights.
func (p *place) needs(need storage.Rights) error {
	switch lacks := need &^ p.rights; {
	case lacks == 0:
		return nil
	case p.rights&storage.RightLookup == 0:
		return storage.ErrNoMailbox
	default:
		return noRight(lacks)
	}
}

func noRight(lacks storage.Rights) error {
	return no(imap.ResponseCodeNoPerm, "the right %q to the mailbox is missing", lacks.Letters())
}

// may refuses who lacks a right in the selected mailbox.
func (s *session) may(need storage.Rights) error {
	if lacks := need &^ s.sel.rights; lacks != 0 {
		return noRight(lacks)
	}
	return nil
}

// flagRights are those of which one must be there for changes by who doesn't
// add messages (RFC 4314 §5.2: "e" and the shared flag rights).
const flagRights = storage.RightSeen | storage.RightWrite | storage.RightDeleteMail

// writes reports whether anything can be changed with the rights.
func writes(r storage.Rights) bool {
	return r&(storage.RightInsert|storage.RightExpunge|flagRights) != 0
}

// accessCode is READ-ONLY or READ-WRITE. A \Seen that is the login's own makes
// no difference to others, and no READ-WRITE (RFC 4314 §5.2).
func (s *session) accessCode() string {
	sel := s.sel
	rights := sel.rights
	if own, err := sel.account.PrivateSeen(sel.box.ID); own && err == nil {
		rights &^= storage.RightSeen
	}
	if sel.examined || !writes(rights) {
		return codeReadOnly
	}
	return codeReadWrite
}

// recheck looks before a command in the selected mailbox what the session may
// do there now: rights are another's to give and to take.
func (s *session) recheck(r *request) error {
	if s.sel == nil || s.sel.who == nil || r.cmd.state != selected {
		return nil
	}
	box, err := s.sel.account.Mailbox(s.sel.box.ID)
	if err != nil {
		return s.lost(err)
	}
	return s.admit(&box)
}

// admit gives the row of the selected mailbox its name in this session, and
// tells of rights that changed (RFC 4314 §5.1.1).
func (s *session) admit(box *storage.Mailbox) error {
	sel := s.sel
	if sel.who == nil {
		return nil
	}
	who, err := s.srv.o.Store.Principal(sel.who.Account)
	if err != nil {
		return err
	}
	sel.who = who
	p := sel.at(*box)
	*box = p.Mailbox
	if p.rights&storage.RightRead == 0 {
		return &byeError{"", "the right to read the selected mailbox was taken away"}
	}
	if p.rights == sel.rights {
		return nil
	}
	sel.rights = p.rights
	was := sel.readOnly
	sel.readOnly = sel.examined || !writes(sel.rights)
	s.writeFlagTable(box)
	s.writePermanentFlags(box)
	sel.keywords = len(box.Keywords)
	if sel.readOnly != was {
		s.status("", imap.StatusResponseTypeOK, s.accessCode(), "the rights to the mailbox changed")
	}
	return nil
}

// mayCreate finds the home of a new mailbox, if the session may make it there.
// Above it stands the nearest mailbox that exists.
// In a shared account that is INBOX at last; at the top level of a login's own
// account only itself makes mailboxes.
func (s *session) mayCreate(name string) (home, string, error) {
	h, local, err := s.home(name)
	if err != nil || h.who == nil {
		return h, local, err
	}
	var p place
	found := false
	for up := range above(local) {
		box, err := h.account.MailboxByName(up)
		if err == nil {
			p, found = h.at(box), true
			break
		}
		if !errors.Is(err, storage.ErrNoMailbox) {
			return h, local, err
		}
	}
	if !found {
		box, err := h.account.MailboxByName("INBOX")
		if err != nil {
			return h, local, err
		}
		if p = h.at(box); !h.shared {
			p.rights = 0 // nobody but the owner makes mailboxes there
		}
	}
	if p.rights&storage.RightCreate == 0 {
		return h, local, noRight(storage.RightCreate)
	}
	return h, local, nil
}
