package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// A notifyChange is one mailbox, before and now.
type notifyChange struct {
	n        *notifying
	s        *session
	names    *nameNews
	subs     []string
	own      bool // it is in the login's own account
	old, now *storage.Mailbox
	was, is  place // with its rights; none where there is no mailbox
}

func (d *notifyChange) before(h *notifiedHome, m *storage.Mailbox) { d.old, d.was = m, h.at(*m) }
func (d *notifyChange) after(h *home, m *storage.Mailbox)          { d.now, d.is = m, h.at(*m) }

// watchable are the rights without which nothing is told (RFC 5465 §5).
const watchable = storage.RightLookup | storage.RightRead

// tell tells what became of the mailbox.
func (d *notifyChange) tell(h *notifiedHome) {
	listed, lists := d.was.rights&storage.RightLookup != 0, d.is.rights&storage.RightLookup != 0
	switch {
	case listed && lists:
		d.renamed()
		d.access()
		d.messages()
	case lists:
		d.appeared(h)
	case listed:
		d.disappeared()
	}
}

func (d *notifyChange) wanted(name string) notifyEvents { return d.n.wanted(name, d.own, d.subs) }

func (d *notifyChange) renamed() {
	old, now := d.was.Name, d.is.Name
	if old != now && (d.wanted(old)|d.wanted(now))&eventName != 0 {
		d.names.rename(d.s, old, now)
	}
}

// access tells of the right to read that was given or taken.
func (d *notifyChange) access() {
	had, has := d.was.rights&storage.RightRead != 0, d.is.rights&storage.RightRead != 0
	switch {
	case had == has || d.wanted(d.is.Name) == 0:
	case has:
		d.names.add(d.is.Name, "")
	default:
		d.names.then = append(d.names.then, func() { d.s.writeNoAccess(d.is.Name) })
	}
}

// appeared: created, or the login may look it up now, which is the same to it
// (RFC 5465 §5.4). Its parent is affected too.
func (d *notifyChange) appeared(h *notifiedHome) {
	name := d.is.Name
	if d.s.did(name) {
		return
	}
	if d.wanted(name)&eventName != 0 {
		from := ""
		if d.own && d.old == nil && d.emptied(h) {
			from = "INBOX"
		}
		d.names.add(name, from)
	}
	if d.old != nil && d.wanted(name)&messageEvents != 0 {
		d.names.add(name, "") // RFC 5465 §5.9: access was granted again
	}
	d.parent(name)
}

// emptied reports whether the new mailbox has what was INBOX's: RENAME INBOX.
func (d *notifyChange) emptied(h *notifiedHome) bool {
	return slices.ContainsFunc(h.told.Mailboxes, func(m *storage.Mailbox) bool {
		return m.Name == "INBOX" && m.Space == d.now.Space
	})
}

func (d *notifyChange) disappeared() {
	name := d.was.Name
	if d.s.did(name) {
		return
	}
	switch events := d.wanted(name); {
	case events&eventName != 0:
		d.names.add(name, "")
	case events&messageEvents != 0 && d.now != nil: // not deleted
		d.s.writeNoAccess(name)
	}
	d.parent(name)
}

func (d *notifyChange) parent(name string) {
	for up := range above(name) {
		if d.wanted(up)&eventName != 0 {
			d.names.add(up, "")
		}
		return
	}
}

// messages tells what changed in a mailbox that is not selected.
func (d *notifyChange) messages() {
	was, is := &d.was.Mailbox, &d.is.Mailbox
	if d.s.sel != nil && d.s.sel.box.ID == is.ID {
		return
	}
	if d.n.left.ID == is.ID { // it was, and what happened there is told up to there
		was = &d.n.left
	}
	events := d.wanted(d.is.Name)
	if events&messageEvents == 0 || d.is.rights&watchable != watchable || d.ownWork(was, is) {
		return
	}
	modSeq := d.s.modSeqs && was.HighestModSeq != is.HighestModSeq
	flags := events&eventFlags != 0
	var items []string
	if was.UIDNext != is.UIDNext || was.Messages != is.Messages {
		items = append(items, "UIDNEXT", "MESSAGES")
		if modSeq {
			items = append(items, "HIGHESTMODSEQ")
		}
	} else if flags && modSeq {
		items = append(items, "HIGHESTMODSEQ", "UIDVALIDITY")
	}
	if flags && was.Unseen != is.Unseen {
		items = append(items, "UNSEEN")
	}
	if was.UIDValidity != is.UIDValidity && !slices.Contains(items, "UIDVALIDITY") {
		items = append(items, "UIDVALIDITY")
	}
	if len(items) == 0 {
		return
	}
	d.names.then = append(d.names.then, func() {
		if err := d.s.writeItems(&d.is, items); err != nil {
			d.s.log.Warn("imap_notify_failed", "error", err)
		}
	})
}

// ownWork reports whether all that changed is new messages that this client put
// there (RFC 5465 §5: not told).
func (d *notifyChange) ownWork(was, is *storage.Mailbox) bool {
	put := 0
	var last imap.UID
	for _, own := range d.s.made {
		if own.id == is.ID && len(own.uids) > 0 {
			put += len(own.uids)
			last = own.uids[len(own.uids)-1]
		}
	}
	return put > 0 && was.Messages+uint32(put) == is.Messages && last+1 == is.UIDNext && was.UIDNext+imap.UID(put) == is.UIDNext
}

// did reports whether the running command made, renamed, took away or
// subscribed a name.
func (s *session) did(name string) bool {
	return slices.ContainsFunc(s.made, func(own ownWork) bool { return own.name == name })
}

// nameNews are the names of which LIST lines are to be written, once each, in
// the order in which they were found.
type nameNews struct {
	names   []string
	oldName map[string]string
	renames [][2]string
	// then writes what is told of mailboxes under the names that they have now.
	then []func()
}

func (n *nameNews) add(name, old string) {
	if n.oldName == nil {
		n.oldName = map[string]string{}
	}
	if had, ok := n.oldName[name]; ok {
		if had == "" {
			n.oldName[name] = old
		}
		return
	}
	n.oldName[name] = old
	n.names = append(n.names, name)
}

func (n *nameNews) rename(s *session, old, now string) {
	if !s.did(now) && !slices.ContainsFunc(s.made, func(own ownWork) bool {
		return own.name != "" && strings.HasPrefix(now, own.name+separator)
	}) {
		n.renames = append(n.renames, [2]string{old, now})
	}
}

// settle adds the renames, without the mailboxes below one that was renamed:
// they went along (RFC 5465 §5.4).
func (n *nameNews) settle() {
	for _, r := range n.renames {
		if !slices.ContainsFunc(n.renames, func(up [2]string) bool {
			rest, ok := strings.CutPrefix(r[0], up[0]+separator)
			return ok && r[1] == up[1]+separator+rest
		}) {
			n.add(r[1], r[0])
		}
	}
}

// write writes the LIST lines, each with all that is true now, and what follows.
func (n *nameNews) write(s *session) error {
	defer func() {
		for _, tell := range n.then {
			tell()
		}
	}()
	n.settle()
	if len(n.names) == 0 {
		return nil
	}
	var patterns []pattern
	for _, name := range n.names {
		if p, ok := newPattern(name); ok {
			patterns = append(patterns, p)
		}
	}
	tree, err := s.readTree(patterns)
	if err != nil {
		return err
	}
	n.order()
	c := &listCmd{extended: true, withSubscribed: true}
	for _, name := range n.names {
		at, ok := slices.BinarySearchFunc(tree.names, name, func(l *listName, name string) int { return treeOrder(l.name, name) })
		l := &listName{name: name}
		if ok {
			l = tree.names[at]
		}
		s.w.Raw("* LIST (")
		c.writeAttributes(s, l)
		s.w.Raw(`) "` + separator + `" `).Mailbox(name)
		if old := n.oldName[name]; old != "" {
			s.w.Raw(` ("OLDNAME" (`).Mailbox(old).Raw("))")
		}
		s.w.CRLF()
	}
	return nil
}

// maxOrdered is how many renames are told in an order that can be followed line
// by line; nobody does more at once.
const maxOrdered = 200

// order puts the lines in the order in which a client can follow them: renames
// before what is made under the old names, and before what is renamed to them.
func (n *nameNews) order() {
	slices.SortFunc(n.names, treeOrder)
	var renamed, others []string
	for _, name := range n.names {
		if n.oldName[name] != "" {
			renamed = append(renamed, name)
		} else {
			others = append(others, name)
		}
	}
	if len(renamed) > maxOrdered {
		return
	}
	n.names = n.names[:0]
	for len(renamed) > 0 {
		at := max(0, slices.IndexFunc(renamed, func(name string) bool { // in a ring, any
			return !slices.ContainsFunc(renamed, func(other string) bool {
				old := n.oldName[other]
				return other != name && (name == old || strings.HasPrefix(name, old+separator))
			})
		}))
		n.names = append(n.names, renamed[at])
		renamed = slices.Delete(renamed, at, at+1)
	}
	n.names = append(n.names, others...)
}
