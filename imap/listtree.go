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
	box        *storage.Mailbox // nil: no mailbox of that name
	subscribed bool
	overBox    bool // a level above a mailbox
	overSub    bool // a level above a subscribed name
}

// A listTree is all names in tree order: a name stands before those below it,
// which follow it without a gap.
type listTree struct{ names []*listName }

// readTree reads the names of the account.
func (s *session) readTree() (*listTree, error) {
	boxes, err := s.account.Mailboxes()
	if err != nil {
		return nil, err
	}
	subs, err := s.account.Subscriptions()
	if err != nil {
		return nil, err
	}
	return newTree(boxes, subs), nil
}

func newTree(boxes []storage.Mailbox, subs []string) *listTree {
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
