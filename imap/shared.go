package imap

import (
	"errors"
	"strings"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extShared: the mailboxes of other accounts, as far as their ACLs allow it
// (acl.go): under Users/NAME/ those of a person, under Shared/NAME/ those of an
// account that nobody logs in to (RFC 2342 §5). A mailbox of the login's own
// that has such a name from before keeps it, and hides the other.
var extShared = extension{
	name: "SHARED", rfc: "RFC 2342",
	home:  sharedHome,
	homes: sharedHomes,
	namespaces: func(s *session) (others, shared string) {
		return s.namespace(usersPrefix), s.namespace(sharedPrefix)
	},
}

const (
	usersPrefix  = "Users" + separator
	sharedPrefix = "Shared" + separator
)

// namespace describes a namespace, with its name in the session's language (RFC
// 5255 §3.4).
func (s *session) namespace(prefix string) string {
	text := `(("` + prefix + `" "` + separator + `"`
	if said := s.say(prefix); said != prefix {
		text += ` "TRANSLATION" ("` + wire.EncodeUTF7(said) + `")`
	}
	return text + "))"
}

// sharedHome finds the account in a name of another namespace.
func sharedHome(s *session, name string) (h home, local string, err error) {
	users := strings.HasPrefix(name, usersPrefix)
	if !users && !strings.HasPrefix(name, sharedPrefix) {
		return h, "", nil
	}
	if _, err := s.account.MailboxByName(name); !errors.Is(err, storage.ErrNoMailbox) {
		return h, "", err // its own
	}
	_, rest, _ := strings.Cut(name, separator)
	owner, local, _ := strings.Cut(rest, separator)
	if local == "" { // a level of the hierarchy
		return h, "", storage.ErrNoMailbox
	}
	who, err := s.srv.o.Store.Principal(s.account.ID())
	if err != nil {
		return h, "", err
	}
	// The index knows whether there can be anything for this login, so that
	// asking for names tells nobody which accounts there are.
	shares, err := s.srv.o.Store.Shares(who, storage.AllRights)
	if err != nil {
		return h, "", err
	}
	owner, err = storage.CanonicalName(owner)
	if err != nil {
		return h, "", storage.ErrNoMailbox
	}
	for i := range shares {
		if info := &shares[i]; info.Name == owner && info.Shared() != users {
			h, err = s.homeOf(info, who)
			return h, local, err
		}
	}
	return h, "", storage.ErrNoMailbox
}

// homeOf is another account as the session sees it.
func (s *session) homeOf(info *storage.AccountInfo, who *storage.Principal) (home, error) {
	a, err := s.srv.o.Store.Account(info.ID)
	prefix := usersPrefix
	if info.Shared() {
		prefix = sharedPrefix
	}
	if err != nil {
		return home{}, err
	}
	return home{account: a.ByLogin(who.Account), prefix: prefix + info.Name + separator, who: who, shared: info.Shared()}, nil
}

// sharedHomes are the accounts in which the login may look up mailboxes that a
// pattern may match. It opens none of the others.
func sharedHomes(s *session, patterns []pattern) (all []home, err error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	who, err := s.srv.o.Store.Principal(s.account.ID())
	if err != nil {
		return nil, err
	}
	shares, err := s.srv.o.Store.Shares(who, storage.RightLookup)
	if err != nil {
		return nil, err
	}
	for i := range shares {
		h, err := s.homeOf(&shares[i], who)
		switch {
		case errors.Is(err, storage.ErrNoAccount):
			continue // deleted meanwhile
		case err != nil:
			return nil, err
		}
		for _, p := range patterns {
			if p.mayReach(h.prefix) {
				all = append(all, h)
				break
			}
		}
	}
	return all, nil
}

// mayReach reports whether the pattern could match a name that begins with
// prefix, or a level of it: what stands before its first wildcard decides.
func (p pattern) mayReach(prefix string) bool {
	text := string(p.text)
	if at := strings.IndexAny(text, "*%"); at >= 0 {
		text = text[:at]
	} else {
		text += separator // it could be a level itself
	}
	return strings.HasPrefix(text, prefix) || strings.HasPrefix(prefix, text)
}
