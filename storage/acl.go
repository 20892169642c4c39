package storage

import (
	"encoding/binary"
	"slices"
	"strings"
)

// An Identifier names whom an entry of an ACL is about (RFC 4314 §2), in the
// form in which it is stored: "anyone", "$group", or "=" and the id of an
// account, so that a rename keeps the rights and a later account of the same
// name doesn't get them. With a "-" in front, the rights are taken away.
type Identifier string

// Anyone is everybody who can log in.
const Anyone Identifier = "anyone"

// AccountIdentifier is the identifier of an account.
func AccountIdentifier(id AccountID) Identifier { return Identifier("=" + string(id)) }

// positive is the identifier without its "-".
func (who Identifier) positive() (base Identifier, negative bool) {
	rest, negative := strings.CutPrefix(string(who), "-")
	return Identifier(rest), negative
}

// An ACLEntry grants rights, or with a negative identifier takes them away.
type ACLEntry struct {
	Who    Identifier
	Rights Rights
}

// An ACL is the access control list of a mailbox. The owner of the account is
// in none: all is theirs.
type ACL []ACLEntry

// maxACL bounds the entries of an ACL: the mailbox row is read often.
const maxACL = 200

// Get is the entry's rights, or 0.
func (acl ACL) Get(who Identifier) Rights {
	for _, e := range acl {
		if e.Who == who {
			return e.Rights
		}
	}
	return 0
}

// with is acl with the entry, or without one of that name when remove is set.
func (acl ACL) with(who Identifier, rights Rights, remove bool) ACL {
	out := slices.Clone(acl)
	i := slices.IndexFunc(out, func(e ACLEntry) bool { return e.Who == who })
	switch {
	case remove && i >= 0:
		return slices.Delete(out, i, i+1)
	case remove:
		return out
	case i >= 0:
		out[i].Rights = rights
		return out
	}
	return append(out, ACLEntry{who, rights})
}

// A Principal is an account that logged in, as ACLs see it.
type Principal struct {
	Account AccountID
	Groups  []string // without "$"
}

// identifiers are those that stand for p.
func (p *Principal) identifiers() []Identifier {
	ids := []Identifier{AccountIdentifier(p.Account), Anyone}
	for _, g := range p.Groups {
		ids = append(ids, Identifier("$"+g))
	}
	return ids
}

// Rights are what p may do: all that it is granted under any identifier, less
// what is taken from it under any.
func (acl ACL) Rights(p *Principal) Rights {
	var granted, taken Rights
	ids := p.identifiers()
	for _, e := range acl {
		base, negative := e.Who.positive()
		switch {
		case !slices.Contains(ids, base):
		case negative:
			taken |= e.Rights
		default:
			granted |= e.Rights
		}
	}
	return granted &^ taken
}

func appendACL(b []byte, acl ACL) []byte {
	for _, e := range acl {
		b = appendField(b, tagACL, append(binary.LittleEndian.AppendUint16(nil, uint16(e.Rights)), e.Who...))
	}
	return b
}

func decodeACLEntry(value []byte) (ACLEntry, error) {
	if len(value) < 3 {
		return ACLEntry{}, ErrCorrupt
	}
	return ACLEntry{Identifier(value[2:]), Rights(binary.LittleEndian.Uint16(value)) & AllRights}, nil
}

// An ACLChange is a change of one entry of an ACL (RFC 4314 §3.1).
type ACLChange struct {
	Who    Identifier
	Mode   StoreMode // what becomes of the rights that the entry has
	Rights Rights
	Remove bool // the entry goes
}

// ChangeACL changes an entry of a mailbox's ACL.
func (a *Account) ChangeACL(id MailboxID, c ACLChange) error {
	a.changingACL.Lock()
	defer a.changingACL.Unlock()
	// The index of who may see what comes first, so that it never lacks
	// anything that the row has.
	if _, negative := c.Who.positive(); !negative && !c.Remove && c.Mode != StoreRemove {
		if err := a.st.addShares(a.id, map[Identifier]Rights{c.Who: c.Rights}); err != nil {
			return err
		}
	}
	err := a.do(mailboxRequest(func(w *txn) error {
		m, err := w.mailbox(id)
		if err != nil {
			return err
		}
		rights := c.Rights
		switch c.Mode {
		case StoreAdd:
			rights |= m.ACL.Get(c.Who)
		case StoreRemove:
			rights = m.ACL.Get(c.Who) &^ rights
		}
		// An entry without rights says nothing.
		acl := m.ACL.with(c.Who, rights, c.Remove || rights == 0)
		if len(acl) > maxACL {
			return &LimitError{What: "entries in an ACL", Max: maxACL}
		}
		if slices.Equal(acl, m.ACL) {
			return nil
		}
		m.ACL = acl
		w.change(m, 0)
		return nil
	}))
	if err != nil {
		return err
	}
	if err := a.trimShares(); err != nil { // too much in it only costs time
		a.st.log.Warn("acl_index_failed", "account", string(a.id), "error", err)
	}
	return nil
}

// inherit gives a new mailbox the ACL of the nearest mailbox above it (RFC 4314
// §4), and a private \Seen if that has one. In a shared account, INBOX stands above all.
func (w *txn) inherit(m *Mailbox) error {
	for name := m.Name; ; {
		at := strings.LastIndexByte(name, '/')
		if at < 0 {
			break
		}
		name = name[:at]
		if parent, err := w.byName(name); err == nil {
			m.ACL = slices.Clone(parent.ACL)
			return w.inheritPrivate(parent.Space, m.Space)
		} else if err != ErrNoMailbox {
			return err
		}
	}
	if !w.f.a.policy().shared {
		return nil
	}
	inbox, err := w.byName("INBOX")
	if err != nil {
		return err
	}
	m.ACL = slices.Clone(inbox.ACL)
	return w.inheritPrivate(inbox.Space, m.Space)
}
