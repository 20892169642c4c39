package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// notifying is what a session with NOTIFY SET knows of mailboxes.
type notifying struct {
	groups []notifyGroup
	homes  []*notifiedHome
	// left is the mailbox that is selected, as it was synced last: what happens
	// there is told by the session, until another one is selected.
	left storage.Mailbox
}

// A notifiedHome is an account, and what the client was told of it.
type notifiedHome struct {
	home
	told *storage.Overview
	stop func()
}

// begin watches the mailboxes of the groups, from now on or, where they were
// watched, from what was told.
func (n *notifying) begin(s *session, groups []notifyGroup, status bool) error {
	was := n.groups
	n.groups = groups
	homes, err := n.find(s)
	if err != nil {
		n.groups = was
		return err
	}
	for i, h := range homes {
		if h.told == nil {
			if h.told, err = h.account.Overview(); err != nil && h.who == nil {
				for _, h := range homes[i:] {
					h.stop()
				}
				n.groups = was
				return err
			}
		}
	}
	n.replace(homes)
	for _, h := range homes {
		if h.told == nil { // another's trouble
			h.told = new(storage.Overview)
		}
		byName := slices.SortedFunc(slices.Values(h.told.Mailboxes), func(x, y *storage.Mailbox) int {
			return treeOrder(x.Name, y.Name)
		})
		for _, box := range byName {
			if err := n.first(s, h, box, status); err != nil {
				return err
			}
		}
	}
	return nil
}

// first tells of a mailbox before NOTIFY is answered (RFC 5465 §3.1).
func (n *notifying) first(s *session, h *notifiedHome, box *storage.Mailbox, status bool) error {
	p := h.at(*box)
	events := n.events(&p, s.own(), n.subscriptions())
	switch {
	case events == 0 || p.rights&storage.RightLookup == 0:
		return nil
	case p.rights&storage.RightRead == 0:
		s.writeNoAccess(p.Name)
		return nil
	case !status || s.sel != nil && s.sel.box.ID == box.ID:
		return nil
	}
	var items []string
	if events&eventNew != 0 {
		items = []string{"UIDVALIDITY", "UIDNEXT", "MESSAGES"}
	}
	if events&eventFlags != 0 {
		items = append(items, "HIGHESTMODSEQ")
	}
	return s.writeItems(&p, items)
}

// writeItems writes STATUS with those of the items that there are.
func (s *session) writeItems(p *place, names []string) error {
	var items []statusItem
	for _, name := range names {
		if item, ok := look(s, s.srv.tables.statusItems, name); ok {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return nil
	}
	return s.writeStatus(p, items)
}

func (s *session) writeNoAccess(name string) {
	s.w.Raw(`* LIST (\NoAccess) "` + separator + `" `).Mailbox(name).CRLF()
}

// stop ends watching.
func (n *notifying) stop() { n.replace(nil) }

// end is NOTIFY NONE.
func (n *notifying) end(s *session) {
	n.stop()
	n.groups = nil
	n.left = storage.Mailbox{}
	if m := s.metadataNews(); m != nil {
		m.notified, m.notifiedServer = nil, false
	}
}

// replace takes homes for those that were watched.
func (n *notifying) replace(homes []*notifiedHome) {
	for _, h := range n.homes {
		if !slices.Contains(homes, h) {
			h.stop()
		}
	}
	n.homes = homes
}

// find finds the accounts that have mailboxes of the groups: the login's own,
// and others that the names lead to. Those that are watched stay as they are.
func (n *notifying) find(s *session) ([]*notifiedHome, error) {
	var patterns []pattern
	add := func(name string) {
		if p, ok := newPattern(name); ok {
			patterns = append(patterns, p)
		}
	}
	for i := range n.groups {
		g := &n.groups[i]
		for _, name := range g.names {
			add(name)
			if g.kind == "SUBTREE" {
				add(name + separator + "*")
			}
		}
		if g.kind == "SUBSCRIBED" {
			subs, err := s.account.Subscriptions()
			if err != nil {
				return nil, err
			}
			for _, name := range subs {
				add(name)
			}
		}
	}
	homes := []home{s.own()}
	if len(patterns) > 0 {
		var err error
		if homes, err = s.homes(patterns); err != nil {
			return nil, err
		}
	}
	found := make([]*notifiedHome, 0, len(homes))
	for _, h := range homes {
		at := slices.IndexFunc(n.homes, func(k *notifiedHome) bool { return k.account == h.account && k.prefix == h.prefix })
		if at >= 0 {
			found = append(found, n.homes[at])
			continue
		}
		// Watched first, read then: no change can fall between.
		found = append(found, &notifiedHome{home: h, stop: h.account.WatchAll(s.c)})
	}
	return found, nil
}

// subscriptions are the login's.
func (n *notifying) subscriptions() []string {
	for _, h := range n.homes {
		if h.who == nil && h.told != nil {
			return h.told.Subscriptions
		}
	}
	return nil
}

// events are those that the groups want of a mailbox.
func (n *notifying) events(p *place, own home, subs []string) notifyEvents {
	return n.wanted(p.Name, p.account == own.account, subs)
}

func (n *notifying) wanted(name string, own bool, subs []string) (events notifyEvents) {
	_, subscribed := slices.BinarySearch(subs, name)
	for i := range n.groups {
		if n.groups[i].has(name, own, subscribed) {
			events |= n.groups[i].events
		}
	}
	return events
}

// tellNotify tells what happened. If that can't be found out, the client is told
// so, and nothing more (RFC 5465 §5.8).
func tellNotify(s *session) error {
	n := s.notifying()
	if n == nil || !s.wishes.listens {
		return nil
	}
	if err := n.pull(s); err != nil {
		s.log.Warn("imap_notify_failed", "error", err)
		s.status("", imap.StatusResponseTypeOK, codeNotifyOverflow, "changes can't be told any more")
		n.end(s)
		s.wishes = wishes{quiet: quietAll}
	}
	return s.w.Err()
}

// pull compares what there is with what was told.
func (n *notifying) pull(s *session) error {
	homes, err := n.find(s)
	if err != nil {
		return err
	}
	names := &nameNews{}
	for _, h := range n.homes {
		if !slices.Contains(homes, h) { // no longer the login's to see
			if err := n.look(s, names, h); err != nil {
				n.compare(s, names, h, h.home, new(storage.Overview))
			}
		}
	}
	n.replace(homes)
	for _, h := range homes {
		switch err := n.look(s, names, h); {
		case err != nil && h.who == nil:
			return err
		case err != nil:
			s.log.Warn("imap_shared_unavailable", "owner", string(h.account.ID()), "error", err)
		}
	}
	if n.left = (storage.Mailbox{}); s.sel != nil {
		n.left = s.sel.box
		n.left.Messages = uint32(s.sel.view.Messages()) // expunges may be withheld
	}
	return names.write(s)
}

// leaves reports whether the mailbox that was selected is no longer.
func (n *notifying) leaves(s *session) bool {
	return n.left.ID != storage.MailboxID{} && (s.sel == nil || s.sel.box.ID != n.left.ID)
}

// look compares an account with what was told of it.
func (n *notifying) look(s *session, names *nameNews, h *notifiedHome) (err error) {
	to := h.home
	if h.who != nil {
		if to.who, err = s.srv.o.Store.Principal(s.account.ID()); err != nil {
			return err
		}
	}
	now, err := h.account.Overview()
	if err != nil {
		return err
	}
	if h.told == nil {
		h.told = new(storage.Overview)
	}
	if now != h.told || n.leaves(s) || h.who != nil && !slices.Equal(h.who.Groups, to.who.Groups) {
		n.compare(s, names, h, to, now)
	}
	h.home, h.told = to, now
	return nil
}

// compare tells the difference of an account.
func (n *notifying) compare(s *session, names *nameNews, h *notifiedHome, to home, now *storage.Overview) {
	before := n.subscriptions()
	subs := before
	if h.who == nil {
		subs = now.Subscriptions
		n.subscribed(s, names, before, subs)
	}
	was, is := h.told.Mailboxes, now.Mailboxes
	for len(was) > 0 || len(is) > 0 {
		order := 0
		switch {
		case len(was) == 0:
			order = 1
		case len(is) == 0:
			order = -1
		default:
			order = strings.Compare(string(was[0].ID[:]), string(is[0].ID[:]))
		}
		d := notifyChange{n: n, s: s, names: names, subs: subs, own: h.who == nil}
		if order <= 0 {
			d.before(h, was[0])
			was = was[1:]
		}
		if order >= 0 {
			d.after(&to, is[0])
			is = is[1:]
		}
		if order != 0 || d.old != d.now || h.who != nil || n.leaves(s) && d.now.ID == n.left.ID {
			d.tell(h)
		}
	}
}

// subscribed notes the names whose subscription changed.
func (n *notifying) subscribed(s *session, names *nameNews, before, now []string) {
	note := func(list, other []string) {
		for _, name := range list {
			if _, there := slices.BinarySearch(other, name); there {
				continue
			}
			own := true
			if h, _, err := s.home(name); err == nil {
				own = h.who == nil
			}
			if (n.wanted(name, own, now)|n.wanted(name, own, before))&eventSubscription != 0 && !s.did(name) {
				names.add(name, "")
			}
		}
	}
	note(before, now)
	note(now, before)
}
