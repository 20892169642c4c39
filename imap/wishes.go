package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/storage"
)

// wishes are what a client wants to be told of without asking. The zero value
// is what every client gets: changes of the selected mailbox, with the answers
// to its commands.
type wishes struct {
	listens bool // at any time, not with answers and in IDLE alone
	delays  bool // but expunges then
	quiet   quiet
	uids    bool // UIDs with flags
	// arrived, if any, tells more of new messages.
	arrived func(s *session, fresh view.Ranges) error
}

// quiet is what of the selected mailbox a client doesn't want to be told.
type quiet uint8

const (
	quietNone  quiet = iota
	quietFlags       // of flags that others change
	quietAll         // nor of messages that come and go
)

// An ownWork is what a command of this client did to a mailbox by name, or to
// one that may not be the selected one: nobody is told of his own work.
type ownWork struct {
	name string
	id   storage.MailboxID
	uids []imap.UID // new messages
}

// added notes messages that this client put into a mailbox.
func (s *session) added(id storage.MailboxID, uids []imap.UID) {
	if s.wishes.listens {
		s.made = append(s.made, ownWork{id: id, uids: uids})
	}
}

// named notes names that this client made, took away or subscribed.
func (s *session) named(names ...string) {
	for _, name := range names {
		if s.wishes.listens {
			s.made = append(s.made, ownWork{name: name})
		}
	}
}

// namedAs is named for a name as the client gave it, if err is nil.
func (s *session) namedAs(name string, err error) {
	if canonical, cerr := storage.MailboxName(name); err == nil && cerr == nil {
		s.named(canonical)
	}
}

// syncAfter is sync at the end of a command.
func (s *session) syncAfter(r *request) error {
	if s.wishes.quiet == quietAll && r.cmd.flags&removes == 0 {
		return s.attend()
	}
	return s.sync(r.withholds(), r.uid)
}

// attend sees that the selected mailbox is still there, and the session's to
// read, when nothing is to be told of it.
func (s *session) attend() error {
	if s.sel == nil {
		return nil
	}
	box, err := s.sel.account.Mailbox(s.sel.box.ID)
	if err != nil {
		return s.lost(err)
	}
	if len(s.sel.skip) > maxSkipped {
		s.sel.skip = nil // then the client is told again
	}
	return s.admit(&box)
}

// maxSkipped bounds what is remembered of a session that is told nothing.
const maxSkipped = 1000

// toldFlags is up to which MODSEQ the client was told of flags.
func (sel *selection) toldFlags() storage.ModSeq {
	if sel.held != 0 {
		return sel.held
	}
	return sel.view.Head()
}

// toldUpTo is the MODSEQ up to which the client knows all of the selected
// mailbox.
func (s *session) toldUpTo() storage.ModSeq {
	return min(s.sel.toldFlags(), s.sel.view.Expunged())
}

// welcome tells more of the messages from UID first on, those apart that the
// client put there itself.
func (s *session) welcome(first imap.UID) error {
	v := s.sel.view
	if s.wishes.arrived == nil || first > v.Last() {
		return nil
	}
	fresh := view.Ranges{{Lo: first, Hi: v.Last()}}
	for _, own := range s.made {
		if own.id == s.sel.box.ID {
			fresh = fresh.Without(own.uids)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return s.wishes.arrived(s, fresh)
}
