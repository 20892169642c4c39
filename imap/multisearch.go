package imap

import (
	"errors"
	"slices"
	"strings"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extMultiSearch: ESEARCH looks in several mailboxes, none of which need be
// selected (RFC 7377). The answer is in UIDs, one line a mailbox that has a match.
var extMultiSearch = extension{
	name: "MULTISEARCH", rfc: "RFC 7377", caps: []capability{{name: "MULTISEARCH"}},
	needs: []*extension{&extESearch},
	// The examples have UID ESEARCH too, the grammar doesn't.
	commands: []*command{{name: "ESEARCH", state: loggedIn, flags: hasUID | usesSeq, parse: parseMultiSearch}},
}

type multiSearchCmd struct {
	searchCmd
	sources  []searchSource
	selected bool // the selected mailbox is among them
}

// A searchSource says which mailboxes are searched (RFC 5465 §6, RFC 7377 §2.2).
type searchSource struct {
	own   bool                   // of the login's own
	match func(name string) bool // of a mailbox
	names []string               // or by name
}

func parseMultiSearch(d *wire.Decoder, r *request) runner {
	c := new(multiSearchCmd)
	d.SP()
	if d.TryWord("IN") {
		d.SP()
		d.List(func() { c.source(d) })
		if len(c.sources) == 0 && !c.selected {
			d.Fail("which mailboxes")
		}
		d.SP()
	} else {
		c.selected = true
	}
	c.parseSearch(d, r)
	if c.returns == 0 && c.update == nil {
		c.returns = returnAll
	}
	switch {
	case d.Err() != nil:
	case (c.selected || c.update != nil) && r.s.sel == nil:
		d.FailErr(bad("no mailbox is selected"))
	case c.returns&returnSave != 0 && len(c.sources) > 0:
		d.FailErr(bad("SAVE is for the selected mailbox alone"))
	}
	return c
}

// source reads one of filter-mailboxes.
func (c *multiSearchCmd) source(d *wire.Decoder) {
	switch name := d.Word(); name {
	case "SELECTED":
		c.selected = true
	case "INBOXES":
		c.sources = append(c.sources, searchSource{own: true, names: []string{"INBOX"}})
	case "PERSONAL":
		c.sources = append(c.sources, searchSource{own: true, match: func(string) bool { return true }})
	case "SUBSCRIBED":
		c.sources = append(c.sources, searchSource{})
	case "MAILBOXES":
		c.sources = append(c.sources, searchSource{names: parseMailboxes(d)})
	case "SUBTREE", "SUBTREE-ONE":
		for _, root := range parseMailboxes(d) {
			c.sources = append(c.sources, searchSource{match: below(root, name == "SUBTREE-ONE")})
		}
	default:
		d.Fail("which mailboxes")
	}
}

// parseMailboxes reads SP one-or-more-mailbox.
func parseMailboxes(d *wire.Decoder) (names []string) {
	add := func() {
		if name, err := storage.MailboxName(d.Mailbox()); err == nil { // else there is none
			names = append(names, name)
		}
	}
	d.SP()
	if d.Peek() == '(' {
		d.List(add)
	} else {
		add()
	}
	if names == nil {
		names = []string{} // by name, and none
	}
	return names
}

// below matches a mailbox and those under it.
func below(root string, oneLevel bool) func(name string) bool {
	return func(name string) bool {
		rest, ok := strings.CutPrefix(name, root)
		if !ok || rest == "" {
			return ok
		}
		rest, ok = strings.CutPrefix(rest, separator)
		return ok && !(oneLevel && strings.Contains(rest, separator))
	}
}

func (c *multiSearchCmd) run(s *session, r *request) (reply, error) {
	if c.charset != nil {
		return reply{}, c.charset
	}
	boxes, err := c.mailboxes(s)
	if err != nil {
		return reply{}, err
	}
	uid := *r
	uid.uid = true // RFC 7377 §2.1
	for i := range boxes {
		if err := c.searchIn(s, &uid, &boxes[i]); err != nil && !errors.Is(err, storage.ErrNoMailbox) {
			return reply{}, err
		}
		if err := s.w.Err(); err != nil {
			return reply{}, err
		}
	}
	return reply{}, nil
}

// mailboxes are those of the sources that the session may read, each once.
func (c *multiSearchCmd) mailboxes(s *session) (boxes []place, err error) {
	if c.selected {
		boxes = append(boxes, place{Mailbox: s.sel.box, home: s.sel.home, rights: s.sel.rights})
	}
	if len(c.sources) == 0 {
		return boxes, nil
	}
	all, err := s.places(c.patterns())
	if err != nil {
		return nil, err
	}
	subscribed, err := s.account.Subscriptions()
	if err != nil {
		return nil, err
	}
	for i := range all {
		p := &all[i]
		had := func(q place) bool { return q.ID == p.ID }
		for _, src := range c.sources {
			names := src.names
			if names == nil && src.match == nil {
				names = subscribed
			}
			hit := slices.Contains(names, p.Name) || src.match != nil && src.match(p.Name)
			if hit && (!src.own || p.who == nil) && p.rights&storage.RightRead != 0 && !slices.ContainsFunc(boxes, had) {
				boxes = append(boxes, *p)
			}
		}
	}
	return boxes, nil
}

// patterns are what the names of the mailboxes match: nothing of other
// accounts if only the login's own are searched.
func (c *multiSearchCmd) patterns() []pattern {
	for _, src := range c.sources {
		if !src.own {
			everything, _ := newPattern("*")
			return []pattern{everything}
		}
	}
	return nil
}

// searchIn searches one mailbox as if it were selected.
func (c *multiSearchCmd) searchIn(s *session, r *request, p *place) error {
	one := c.searchCmd
	if old := s.sel; old == nil || old.box.ID != p.ID {
		one.update = nil // RFC 7377 §2.2
		box, blocks, err := p.account.Snapshot(p.ID)
		if err != nil {
			return err
		}
		box = p.at(box).Mailbox
		defer func() { s.sel = old }()
		s.sel = &selection{home: p.home, rights: p.rights, box: box, view: view.New(box, blocks), readOnly: true, stop: func() {}}
	}
	found, err := one.find(s, r, c.returns)
	if c.returns&returnSave != 0 {
		s.sel.saved = found.saved
	}
	if err != nil {
		return err
	}
	if found.count > 0 && c.returns != returnSave && c.returns != 0 {
		found.box = &s.sel.box
		found.writeESearch(s.w, r)
	}
	if one.update != nil {
		one.update.begin(s, r, found, nil)
	}
	return nil
}
