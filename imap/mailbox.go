package imap

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// The commands that change the mailboxes themselves, RFC 9051 §6.3.4 to §6.3.8.
var (
	cmdCreate      = command{name: "CREATE", state: loggedIn, parse: parseCreate}
	cmdDelete      = command{name: "DELETE", state: loggedIn, parse: parseNamed(runDelete)}
	cmdRename      = command{name: "RENAME", state: loggedIn, parse: parseRename}
	cmdSubscribe   = command{name: "SUBSCRIBE", state: loggedIn, parse: parseNamed(runSubscribe)}
	cmdUnsubscribe = command{name: "UNSUBSCRIBE", state: loggedIn, parse: parseNamed(runUnsubscribe)}
)

// extCreateSpecialUse: CREATE with USE.
var extCreateSpecialUse = extension{
	name: "CREATE-SPECIAL-USE", rfc: "RFC 6154", caps: []capability{{name: "CREATE-SPECIAL-USE"}},
}

// specialUses are the uses that a mailbox can be given. \All and \Flagged are
// views of other mailboxes' messages, which there are none of here.
var specialUses = map[string]imap.MailboxAttr{
	`\ARCHIVE`: imap.MailboxAttrArchive,
	`\DRAFTS`:  imap.MailboxAttrDrafts,
	`\JUNK`:    imap.MailboxAttrJunk,
	`\SENT`:    imap.MailboxAttrSent,
	`\TRASH`:   imap.MailboxAttrTrash,
}

type createCmd struct {
	name string
	uses []string
}

func parseCreate(d *wire.Decoder, r *request) runner {
	c := new(createCmd)
	d.SP()
	c.name = d.Mailbox()
	if d.TrySP() {
		d.List(func() {
			if !r.s.has(&extCreateSpecialUse) || !d.TryWord("USE") {
				d.Fail("a parameter of CREATE")
				return
			}
			d.SP()
			d.List(func() { c.uses = append(c.uses, d.Word()) })
		})
	}
	d.End()
	return c
}

func (c *createCmd) run(s *session, _ *request) (reply, error) {
	var uses []imap.MailboxAttr
	for _, name := range c.uses {
		use, ok := specialUses[name]
		if !ok {
			return reply{}, no(codeUseAttr, "no mailbox can have that use")
		}
		uses = append(uses, use)
	}
	// A separator at the end only declares an intent (RFC 9051 §6.3.4).
	name := strings.TrimSuffix(c.name, separator)
	h, local, err := s.mayCreate(name)
	if err != nil {
		return reply{}, err
	}
	if h.who != nil && len(uses) > 0 {
		return reply{}, no(codeUseAttr, "only an account's owner gives its mailboxes a use")
	}
	made, err := h.account.CreateMailbox(local, uses...)
	if err != nil {
		return reply{}, err
	}
	box := h.at(made)
	s.named(box.Name)
	s.log.Debug("imap_mailbox_created", "mailbox", box.ID.String())
	s.tellNormalized(name, box.Name)
	for _, x := range s.srv.tables.extensions {
		if x.onCreate != nil && s.has(x) {
			return reply{code: x.onCreate(&made)}, nil
		}
	}
	return reply{}, nil
}

// tellNormalized tells of the name that a mailbox got instead of the one asked
// for (RFC 9051 §6.3.9.7).
func (s *session) tellNormalized(asked, got string) {
	if s.rev2() && asked != got {
		s.writeName(asked, got)
	}
}

// writeName writes a LIST line that nobody asked for, of the mailbox got that
// the client called asked.
func (s *session) writeName(asked, got string) {
	s.w.Raw(`* LIST () "` + separator + `" `).Mailbox(got)
	if asked != got {
		s.w.Raw(` ("OLDNAME" (`).Mailbox(asked).Raw("))")
	}
	s.w.CRLF()
}

type renameCmd struct{ from, to string }

func parseRename(d *wire.Decoder, _ *request) runner {
	c := new(renameCmd)
	d.SP()
	c.from = d.Mailbox()
	d.SP()
	c.to = d.Mailbox()
	d.End()
	return c
}

func (c *renameCmd) run(s *session, _ *request) (reply, error) {
	to := strings.TrimSuffix(c.to, separator)
	h, from, err := s.mayRename(c.from)
	if err != nil {
		return reply{}, err
	}
	there, local, err := s.mayCreate(to)
	if err != nil {
		return reply{}, err
	}
	if there.account.Account != h.account.Account {
		return reply{}, no(imap.ResponseCodeCannot, "a mailbox can't go to another account: make one there, and move the messages")
	}
	if err := h.account.RenameMailbox(from, local); err != nil {
		return reply{}, err
	}
	if name, err := storage.MailboxName(local); err == nil {
		s.named(h.prefix + name)
		s.tellNormalized(to, h.prefix+name)
	}
	return reply{}, nil
}

// mayRename finds the mailbox that is to be renamed. A name that is only a
// level above others can be renamed by the account's owner.
func (s *session) mayRename(name string) (home, string, error) {
	h, local, err := s.home(name)
	if err != nil || h.who == nil {
		return h, local, err
	}
	_, err = s.mailbox(name, storage.RightDelete)
	return h, local, err
}

// namedCmd is a command with a mailbox name and no more.
type namedCmd struct {
	name string
	do   func(s *session, name string) error
}

func parseNamed(do func(s *session, name string) error) func(*wire.Decoder, *request) runner {
	return func(d *wire.Decoder, _ *request) runner {
		c := &namedCmd{do: do}
		d.SP()
		c.name = d.Mailbox()
		d.End()
		return c
	}
}

func (c *namedCmd) run(s *session, _ *request) (reply, error) {
	return reply{}, c.do(s, c.name)
}

// runDelete deletes a mailbox. If it is the selected one, none is selected
// afterwards; other sessions that have it selected are disconnected when they
// find out (RFC 2180 §3.3).
func runDelete(s *session, name string) error {
	box, err := s.mailbox(name, storage.RightDelete)
	if err != nil {
		return err
	}
	if err := box.account.DeleteMailbox(strings.TrimPrefix(box.Name, box.prefix)); err != nil {
		return err
	}
	s.named(box.Name)
	s.log.Debug("imap_mailbox_deleted", "mailbox", box.ID.String())
	if box.Messages >= storage.MassDeletion {
		s.note(storage.AuditDeletion, "mailbox %s with %d messages deleted", box.Name, box.Messages)
	}
	if s.sel != nil && s.sel.box.ID == box.ID {
		s.unselect()
		s.status("", imap.StatusResponseTypeOK, codeClosed, "the selected mailbox is deleted")
	}
	return nil
}

func runSubscribe(s *session, name string) error {
	name = strings.TrimSuffix(name, separator)
	h, _, err := s.home(name)
	if err != nil {
		return err
	}
	if h.who == nil {
		err := s.account.Subscribe(name, true)
		s.namedAs(name, err)
		return err
	}
	p, err := s.mailbox(name, storage.RightLookup)
	if err != nil {
		return err
	}
	err = s.account.SubscribeShared(p.Name, true)
	s.namedAs(p.Name, err)
	return err
}

func runUnsubscribe(s *session, name string) error {
	name = strings.TrimSuffix(name, separator)
	err := s.account.Subscribe(name, false)
	s.namedAs(name, err)
	var unnameable *storage.NameError
	if errors.As(err, &unnameable) {
		return nil // such a name is not subscribed, as asked
	}
	return err
}
