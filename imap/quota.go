package imap

import (
	"errors"
	"slices"
	"strings"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extQuota: what an account holds and may hold (RFC 9208, and RFC 2087 for
// older clients). An account is one quota root.
var extQuota = extension{
	name: "QUOTA", rfc: "RFC 9208",
	caps: []capability{{name: "QUOTA"}, {name: "QUOTA=RES-STORAGE"}, {name: "QUOTA=RES-MESSAGE"}, {name: "QUOTA=RES-MAILBOX"}},
	commands: []*command{
		{name: "GETQUOTA", state: loggedIn, parse: parseGetQuota},
		{name: "GETQUOTAROOT", state: loggedIn, parse: parseGetQuotaRoot},
	},
	statusItems: []statusItem{{name: "DELETED-STORAGE", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Number64(box.DeletedOctets)
		return nil
	}}},
}

// ownRoot is the name of the login's own root. That of another account is what
// its mailboxes begin with: Users/NAME or Shared/NAME.
const ownRoot = ""

var errNoQuotaRoot = no("NONEXISTENT", "no such quota root; your own has the name \"\"")

// quotaAccount is the account of a root, for those who run the box, and for who
// may read a mailbox in it.
func (s *session) quotaAccount(root string) (*storage.Account, error) {
	if root == ownRoot {
		return s.account, nil
	}
	name, shared := strings.CutPrefix(root, sharedPrefix)
	if !shared {
		users := false
		if name, users = strings.CutPrefix(root, usersPrefix); !users {
			return nil, errNoQuotaRoot
		}
	}
	if s.isAdmin() {
		info, err := s.srv.o.Store.FindAccount(name)
		if err != nil || info.Shared() != shared {
			return nil, errNoQuotaRoot
		}
		return s.srv.o.Store.Account(info.ID)
	}
	every, _ := newPattern(root + separator + "*")
	homes, err := s.homes([]pattern{every})
	if err != nil {
		return nil, err
	}
	for _, h := range homes {
		if rootOf(&h) != root {
			continue
		}
		boxes, err := s.placesIn([]home{h})
		if err != nil || !slices.ContainsFunc(boxes, func(p place) bool { return p.rights&storage.RightRead != 0 }) {
			return nil, errors.Join(err, errNoQuotaRoot)
		}
		return h.account.Account, nil
	}
	return nil, errNoQuotaRoot
}

// rootOf is the name of the quota root of an account's mailboxes.
func rootOf(h *home) string {
	if h.who == nil {
		return ownRoot
	}
	return strings.TrimSuffix(h.prefix, separator)
}

func parseGetQuota(d *wire.Decoder, _ *request) runner {
	d.SP()
	root := d.Astring()
	d.End()
	return runFunc(func(s *session, _ *request) (reply, error) {
		account, err := s.quotaAccount(root)
		if err != nil {
			return reply{}, err
		}
		return reply{}, writeQuota(s, root, account)
	})
}

// parseGetQuotaRoot reads GETQUOTAROOT. The mailbox need not exist (RFC 9208
// §4.1.2), but in another account one has to be able to read it (§6).
func parseGetQuotaRoot(d *wire.Decoder, _ *request) runner {
	d.SP()
	mailbox := d.Mailbox()
	d.End()
	return runFunc(func(s *session, _ *request) (reply, error) {
		h, local, err := s.home(mailbox)
		if err != nil {
			return reply{}, err
		}
		if h.who != nil {
			box, err := h.find(local)
			if err == nil {
				err = box.needs(storage.RightLookup | storage.RightRead)
			}
			if err != nil {
				return reply{}, err
			}
		}
		s.w.Raw("* QUOTAROOT ")
		s.w.Mailbox(mailbox)
		s.w.SP()
		s.writeRoot(rootOf(&h))
		s.w.CRLF()
		return reply{}, writeQuota(s, rootOf(&h), h.account.Account)
	})
}

func (s *session) writeRoot(root string) { s.w.Astring(root) }

// writeQuota writes the resources that have a limit (RFC 9208 §4.2.1).
func writeQuota(s *session, root string, account *storage.Account) error {
	used, limits, err := account.Quota()
	if err != nil {
		return err
	}
	s.w.Raw("* QUOTA ")
	s.writeRoot(root)
	s.w.Raw(" (")
	first := true
	for _, r := range []struct {
		name        string
		used, limit int64
	}{
		{"STORAGE", kilo(used.Octets), kilo(limits.Octets)},
		{"MESSAGE", used.Messages, limits.Messages},
		{"MAILBOX", used.Mailboxes, limits.Mailboxes},
	} {
		if r.limit == 0 {
			continue
		}
		if !first {
			s.w.SP()
		}
		first = false
		s.w.Raw(r.name).SP().Number64(r.used).SP().Number64(r.limit)
	}
	s.w.Raw(")").CRLF()
	return nil
}

// kilo is octets in units of 1024 (RFC 9208 §5.1).
func kilo(octets int64) int64 { return (octets + 1023) / 1024 }
