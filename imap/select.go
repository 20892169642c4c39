package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// SELECT and EXAMINE, RFC 9051 §6.3.2 and §6.3.3.
var (
	cmdSelect  = command{name: "SELECT", state: loggedIn, flags: noSync, parse: parseSelect}
	cmdExamine = command{name: "EXAMINE", state: loggedIn, flags: noSync, parse: parseSelect}
)

type selectCmd struct {
	name     string
	readOnly bool
	// follow are what parameters write after the standard untagged data.
	follow []func(s *session) error
}

func parseSelect(d *wire.Decoder, r *request) runner {
	c := &selectCmd{readOnly: r.cmd.name == "EXAMINE"}
	d.SP()
	c.name = d.Mailbox()
	if d.TrySP() {
		d.List(func() {
			p, ok := look(r.s, r.s.srv.tables.selectParams, d.Word())
			if !ok {
				d.Fail("a parameter of " + r.cmd.name)
				return
			}
			p.parse(d, r, c)
		})
	}
	d.End()
	return c
}

func (c *selectCmd) run(s *session, _ *request) (reply, error) {
	if s.sel != nil {
		// The boundary between what is about the old mailbox and the new one
		// (RFC 9051 §7.1). A failed SELECT leaves none selected.
		s.unselect()
		s.status("", imap.StatusResponseTypeOK, codeClosed, "previous mailbox is closed")
	}
	p, err := s.mailbox(c.name, storage.RightRead)
	if err != nil {
		return reply{}, err
	}
	c.readOnly = c.readOnly || s.login.ReadOnly()
	sel := &selection{home: p.home, examined: c.readOnly}
	// Watched first, read then: no change can fall between.
	sel.stop = p.account.Watch(p.ID, s.c)
	box, blocks, err := p.account.Snapshot(p.ID)
	if p = p.at(box); err == nil {
		err = p.needs(storage.RightRead)
	}
	if err != nil {
		sel.stop()
		return reply{}, err
	}
	box = p.Mailbox
	sel.rights, sel.readOnly = p.rights, c.readOnly || !writes(p.rights)
	sel.box, sel.view, sel.keywords = box, view.New(box, blocks), len(box.Keywords)
	s.sel = sel
	sel.addRecent(s.recentFrom(&box), box.UIDNext)
	if err := s.describe(c); err != nil {
		s.unselect()
		return reply{}, err
	}
	sel.gaveModSeqs = false // the client has HIGHESTMODSEQ
	return reply{code: s.accessCode()}, nil
}

// describe writes the untagged data of SELECT.
func (s *session) describe(c *selectCmd) error {
	sel, w := s.sel, s.w
	s.writeFlagTable(&sel.box)
	w.Raw("* ").Number(uint32(sel.view.Messages())).Raw(" EXISTS").CRLF()
	s.writeRecent()
	if !s.rev2() && !s.uidOnly { // RFC 9051 dropped it
		first, err := s.firstUnseen()
		if err != nil {
			return err
		}
		if first != 0 {
			w.Raw("* OK [UNSEEN ").Number(uint32(first)).Raw("] first unseen message").CRLF()
		}
	}
	w.Raw("* OK [UIDVALIDITY ").Number(sel.box.UIDValidity).Raw("] UIDs valid").CRLF()
	w.Raw("* OK [UIDNEXT ").Number(uint32(sel.box.UIDNext)).Raw("] predicted next UID").CRLF()
	s.writePermanentFlags(&sel.box)
	if s.rev2() {
		s.writeName(c.name, sel.box.Name) // RFC 9051 §6.3.2
	}
	for _, x := range s.srv.tables.extensions {
		if x.onSelect != nil && s.has(x) {
			x.onSelect(s)
		}
	}
	for _, follow := range c.follow {
		if err := follow(s); err != nil {
			return err
		}
	}
	return nil
}

// writeFlagTable writes FLAGS: what messages of the mailbox may have.
func (s *session) writeFlagTable(box *storage.Mailbox) {
	s.w.Raw("* FLAGS ").Flags(box.FlagNames(^storage.Flags(0))).CRLF()
}

// writePermanentFlags writes PERMANENTFLAGS: what this client can change.
func (s *session) writePermanentFlags(box *storage.Mailbox) {
	sel := s.sel
	all := box.FlagNames(^sel.rights.FixedFlags())
	s.w.Raw("* OK [PERMANENTFLAGS ")
	switch {
	case sel.readOnly || sel.rights&flagRights == 0:
		s.w.Flags(nil).Raw("] no flags can be changed")
	case sel.rights&storage.RightWrite == 0:
		s.w.Flags(all).Raw("] these flags can be stored")
	case len(box.Keywords) < storage.MaxKeywords:
		s.w.Flags(append(all, imap.FlagWildcard)).Raw("] flags and new keywords can be stored")
	default:
		s.w.Flags(all).Raw("] flags can be stored, new keywords not")
	}
	s.w.CRLF()
}

// unseenReads bounds the search for the first unseen message. The mailbox row
// has a lower bound, which is nearly always right.
const unseenReads = 20

// firstUnseen is the number of the first message without \Seen, or 0 when there
// is none or it is far off.
func (s *session) firstUnseen() (view.Seq, error) {
	sel := s.sel
	if sel.box.Unseen == 0 || sel.view.Messages() == 0 {
		return 0, nil
	}
	b := s.batch()
	cur := sel.view.Cursor(view.Ranges{{Lo: max(sel.box.FirstUnseen, 1), Hi: sel.view.Last()}})
	room := b.uids[:0:1] // at first, no more than what is nearly always right
	for range unseenReads {
		uids := cur.Next(room)
		room = b.uids[:0]
		if len(uids) == 0 {
			return 0, nil
		}
		rows, err := s.sel.account.Rows(sel.box.Space, uids, b.rows[:0])
		if err != nil {
			return 0, err
		}
		for i := range rows {
			if rows[i].Flags&storage.FlagSeen == 0 && !rows[i].Expunged {
				return sel.view.Seq(rows[i].UID), nil
			}
		}
	}
	return 0, nil
}

// CLOSE, RFC 9051 §6.4.1, and UNSELECT, §6.4.2.
var (
	cmdClose    = command{name: "CLOSE", state: selected, flags: noSync, parse: noArguments(runClose)}
	cmdUnselect = command{name: "UNSELECT", state: selected, flags: noSync, parse: noArguments(runUnselect)}
)

var extUnselect = extension{
	name: "UNSELECT", rfc: "RFC 3691", caps: []capability{{name: "UNSELECT"}},
	commands: []*command{&cmdUnselect},
}

// runClose expunges without a word, unless the mailbox was EXAMINEd.
func runClose(s *session, _ *request) (reply, error) {
	if !s.sel.readOnly && s.sel.rights&storage.RightExpunge != 0 { // RFC 4314 §4: else closed all the same
		err := s.expunge(nil)
		if err != nil && !errors.Is(err, storage.ErrNoMailbox) { // deleted: closed all the same
			return reply{}, err
		}
	}
	s.unselect()
	return reply{}, nil
}

func runUnselect(s *session, _ *request) (reply, error) {
	s.unselect()
	return reply{}, nil
}
