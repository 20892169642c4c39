package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// LIST, RFC 9051 §6.3.9 (RFC 5258). Its selection and return options are in
// listoptions.go, the tree of names in listtree.go.
var cmdList = command{name: "LIST", state: loggedIn, parse: parseList}

// maxPatterns bounds the patterns of one LIST.
const maxPatterns = 100

type listCmd struct {
	reference string
	patterns  []string
	extended  bool // extended syntax: another meaning of an empty pattern

	subscribed bool // selection: only subscribed names
	specialUse bool // selection: only mailboxes with a special use
	recursive  bool // selection: RECURSIVEMATCH
	remote     bool // selection: REMOTE, which selects nothing here

	withSubscribed bool // return \Subscribed
	status         []statusItem
	follows        []func(s *session, c *listCmd, box *place) error
}

func parseList(d *wire.Decoder, r *request) runner {
	c := new(listCmd)
	d.SP()
	if d.Peek() == '(' {
		c.extended = true
		c.parseOptions(d, r, r.s.srv.tables.listSelections)
		d.SP()
	}
	c.reference = d.Mailbox()
	d.SP()
	if d.Peek() == '(' {
		c.extended = true
		d.List(func() { c.patterns = append(c.patterns, d.ListMailbox()) })
		if len(c.patterns) == 0 {
			d.Fail("a pattern")
		}
	} else {
		c.patterns = []string{d.ListMailbox()}
	}
	if d.TrySP() {
		c.extended = true
		if !d.TryWord("RETURN") {
			d.Fail("RETURN")
		}
		d.SP()
		c.parseOptions(d, r, r.s.srv.tables.listReturns)
	}
	d.End()
	if c.recursive && !c.subscribed && !c.specialUse {
		d.FailErr(bad("RECURSIVEMATCH needs another selection option")) // RFC 9051 §6.3.9.1
	}
	return c
}

func (c *listCmd) parseOptions(d *wire.Decoder, r *request, table map[string]entry[listOption]) {
	d.List(func() {
		o, ok := look(r.s, table, d.Word())
		if !ok {
			d.Fail("an option of LIST")
			return
		}
		if o.parse != nil {
			o.parse(d, r, c)
		}
		if o.follow != nil {
			c.follows = append(c.follows, o.follow)
		}
	})
}

func (c *listCmd) run(s *session, _ *request) (reply, error) {
	if len(c.patterns) > maxPatterns {
		return reply{}, no(imap.ResponseCodeLimit, "at most %d patterns", maxPatterns)
	}
	if !c.extended && c.patterns[0] == "" {
		// The separator, and the root of the reference: names are not rooted.
		s.w.Raw(`* LIST (\Noselect) "` + separator + `" ""`).CRLF()
		return reply{}, nil
	}
	patterns := c.canonical()
	tree, err := s.readTree(patterns)
	if err != nil {
		return reply{}, err
	}
	for _, n := range tree.names {
		if !matches(patterns, n) {
			continue
		}
		chosen, info := c.chooses(n), false
		if c.recursive {
			info = c.childInfo(tree, n, patterns, chosen)
		}
		if !chosen && !info {
			continue
		}
		if err := c.write(s, n, info); err != nil {
			return reply{}, err
		}
		if err := s.progress(); err != nil {
			return reply{}, err
		}
	}
	return reply{}, nil
}

// canonical are the patterns in the context of the reference.
func (c *listCmd) canonical() []pattern {
	var ps []pattern
	for _, text := range c.patterns {
		if text == "" {
			continue // extended syntax: ignored
		}
		if p, ok := newPattern(c.reference + text); ok {
			ps = append(ps, p)
		}
	}
	return ps
}

// matches reports whether a pattern selects the name. A name that is only a
// level of the hierarchy is there for a pattern that ends in "%", or that is
// the name itself (RFC 9051 §6.3.9).
func matches(ps []pattern, n *listName) bool {
	return slices.ContainsFunc(ps, func(p pattern) bool {
		return (n.box != nil || n.subscribed || !p.endsIn('*')) && p.match(n.name)
	})
}

// chooses reports whether the selection options hold for the name.
func (c *listCmd) chooses(n *listName) bool {
	if c.subscribed && !n.subscribed {
		return false
	}
	if !c.subscribed && n.box == nil && !n.overBox {
		return false // it is there for its subscription alone
	}
	if c.specialUse && (n.box == nil || len(n.box.SpecialUse) == 0) {
		return false
	}
	return true
}

// childInfo reports whether a name below n satisfies the selection options
// (RFC 9051 §6.3.9.6). For a name that doesn't satisfy them itself it has to be
// one that is not listed: CHILDINFO would be redundant.
func (c *listCmd) childInfo(t *listTree, n *listName, ps []pattern, chosen bool) bool {
	return slices.ContainsFunc(t.below(n), func(m *listName) bool {
		return c.chooses(m) && (chosen || !matches(ps, m))
	})
}

// write writes the LIST line of a name, and what return options add.
func (c *listCmd) write(s *session, n *listName, info bool) error {
	w := s.w
	w.Raw("* LIST (")
	c.writeAttributes(s, n)
	w.Raw(`) "` + separator + `" `).Mailbox(n.name)
	if info {
		w.Raw(` ("CHILDINFO" (` + c.criteria() + "))")
	}
	w.CRLF()
	if n.box == nil || !c.chooses(n) {
		return nil // data follow what the options select only (RFC 5819 §2, RFC 9590 §4)
	}
	if len(c.status) > 0 && n.box.rights&storage.RightRead != 0 { // RFC 5819 §2: else no STATUS
		if err := s.writeStatus(n.box, c.status); err != nil {
			return err
		}
	}
	for _, follow := range c.follows {
		if err := follow(s, c, n.box); err != nil {
			return err
		}
	}
	return nil
}

// criteria are the selection options as CHILDINFO names them.
func (c *listCmd) criteria() string {
	switch {
	case !c.specialUse:
		return `"SUBSCRIBED"`
	case !c.subscribed:
		return `"SPECIAL-USE"`
	}
	return `"SUBSCRIBED" "SPECIAL-USE"`
}

func (c *listCmd) writeAttributes(s *session, n *listName) {
	var attrs []imap.MailboxAttr
	if n.subscribed && (c.subscribed || c.withSubscribed) {
		attrs = append(attrs, imap.MailboxAttrSubscribed)
	}
	switch {
	case n.box == nil && (c.extended || s.rev2()):
		attrs = append(attrs, imap.MailboxAttrNonExistent)
	case n.box == nil: // \NonExistent implies it; clients of old know only this
		attrs = append(attrs, imap.MailboxAttrNoSelect)
	case s.has(&extSpecialUse):
		attrs = append(attrs, n.box.SpecialUse...)
	}
	if n.overBox {
		attrs = append(attrs, imap.MailboxAttrHasChildren)
	} else {
		attrs = append(attrs, imap.MailboxAttrHasNoChildren)
	}
	for i, a := range attrs {
		if i > 0 {
			s.w.SP()
		}
		s.w.Raw(string(a))
	}
}
