package imap

import (
	"iter"
	"slices"
	"strings"

	"nestbox/storage"
)

// A listName is a name in the hierarchy: of a mailbox, of a subscription, of a
// level above one of them, or of several of these.
type listName struct {
	name       string
	box        *place // nil: no mailbox of that name
	subscribed bool
	overBox    bool // a level above a mailbox
	overSub    bool // a level above a subscribed name
}

// A listTree is all names in tree order: a name stands before those below it,
// which follow it without a gap.
type listTree struct{ names []*listName }

// readTree reads the names that are the login's own, and those of others that
// it may look up, as far as patterns may match them.
func (s *session) readTree(patterns []pattern) (*listTree, error) {
	boxes, err := s.places(patterns)
	if err != nil {
		return nil, err
	}
	subs, err := s.account.Subscriptions()
	if err != nil {
		return nil, err
	}
	return newTree(boxes, subs), nil
}

// places are the mailboxes that the session may look up: all its own, and of
// others those that patterns may match.
func (s *session) places(patterns []pattern) ([]place, error) {
	homes, err := s.homes(patterns)
	if err != nil {
		return nil, err
	}
	return s.placesIn(homes)
}

// homes are the login's own and those in which names that match a pattern may be.
func (s *session) homes(patterns []pattern) ([]home, error) {
	homes := []home{s.own()}
	for _, x := range s.srv.tables.extensions {
		if x.homes == nil || !s.has(x) {
			continue
		}
		more, err := x.homes(s, patterns)
		if err != nil {
			return nil, err
		}
		homes = append(homes, more...)
	}
	return homes, nil
}

// placesIn are the mailboxes of homes that the login may look up.
func (s *session) placesIn(homes []home) ([]place, error) {
	var all []place
	names := map[string]bool{}
	for i := range homes {
		boxes, err := homes[i].account.Mailboxes()
		switch {
		case err != nil && homes[i].who == nil:
			return nil, err
		case err != nil: // another's trouble doesn't hide what is there
			s.log.Warn("imap_shared_unavailable", "owner", string(homes[i].account.ID()), "error", err)
			continue
		}
		for _, box := range boxes {
			if p := homes[i].at(box); p.rights&storage.RightLookup != 0 && !names[p.Name] {
				names[p.Name] = len(homes) > 1
				all = append(all, p)
			}
		}
	}
	return all, nil
}

func newTree(boxes []place, subs []string) *listTree {
	byName := make(map[string]*listName, len(boxes))
	get := func(name string) *listName {
		n := byName[name]
		if n == nil {
			n = &listName{name: name}
			byName[name] = n
		}
		return n
	}
	for i := range boxes {
		get(boxes[i].Name).box = &boxes[i]
		for name := range above(boxes[i].Name) {
			get(name).overBox = true
		}
	}
	for _, name := range subs {
		get(name).subscribed = true
		for name := range above(name) {
			get(name).overSub = true
		}
	}
	t := &listTree{names: make([]*listName, 0, len(byName))}
	for _, n := range byName {
		t.names = append(t.names, n)
	}
	slices.SortFunc(t.names, func(a, b *listName) int { return treeOrder(a.name, b.name) })
	return t
}

// above walks the levels above a name, the nearest first.
func above(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at := strings.LastIndex(name, separator); at > 0; at = strings.LastIndex(name[:at], separator) {
			if !yield(name[:at]) {
				return
			}
		}
	}
}

// treeOrder is the order of bytes with INBOX first and the separator below all
// other bytes, so that a tree's names stand together.
func treeOrder(a, b string) int {
	if inA, inB := inInbox(a), inInbox(b); inA != inB {
		if inA {
			return -1
		}
		return 1
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		if a[i] == separator[0] {
			return -1
		}
		if b[i] == separator[0] {
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

func inInbox(name string) bool {
	return name == "INBOX" || strings.HasPrefix(name, "INBOX"+separator)
}

// below are the names below n.
func (t *listTree) below(n *listName) []*listName {
	i, _ := slices.BinarySearchFunc(t.names, n.name, func(m *listName, name string) int {
		return treeOrder(m.name, name)
	})
	prefix := n.name + separator
	rest := t.names[i+1:]
	end := len(rest)
	for j, m := range rest {
		if !strings.HasPrefix(m.name, prefix) {
			end = j
			break
		}
	}
	return rest[:end]
}
