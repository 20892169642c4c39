package imap

import (
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extQuotaSet: those who run the box set quotas (RFC 9208 §4.1.3). Nobody else is
// told of it.
var extQuotaSet = extension{
	name: "QUOTASET", rfc: "RFC 9208", needs: []*extension{&extQuota},
	caps:     []capability{{name: "QUOTASET", when: func(s *session) bool { return s.account != nil && s.isAdmin() }}},
	commands: []*command{{name: "SETQUOTA", state: loggedIn, parse: parseSetQuota}},
}

// maxQuotaLimit bounds a limit, far above any disk: 2^40 units of 1024 octets.
const maxQuotaLimit = 1 << 40

type setQuotaCmd struct {
	root   string
	limits map[string]int64
}

func parseSetQuota(d *wire.Decoder, _ *request) runner {
	c := &setQuotaCmd{limits: map[string]int64{}}
	d.SP()
	c.root = d.Astring()
	d.SP()
	d.List(func() {
		name := d.Word()
		d.SP()
		n := d.Number64()
		if _, twice := c.limits[name]; twice {
			d.FailErr(bad("%s is given twice", name))
		}
		c.limits[name] = n
	})
	d.End()
	return c
}

// run sets the limits of a root: a resource that is not among them has none
// afterwards, whatever the household has for others.
func (c *setQuotaCmd) run(s *session, _ *request) (reply, error) {
	if !s.isAdmin() {
		return reply{}, no("NOPERM", "only those who run the box can set quotas")
	}
	account, err := s.quotaAccount(c.root)
	if err != nil {
		return reply{}, err
	}
	limits := storage.Usage{}
	for name, n := range c.limits {
		switch {
		case n == 0:
			return reply{}, no("CANNOT", "a limit of 0 can't be set; leave %s out for none", name)
		case n > maxQuotaLimit:
			return reply{}, no("CANNOT", "the limit of %s is too high; leave it out for none", name)
		}
		switch name {
		case "STORAGE":
			limits.Octets = n * 1024
		case "MESSAGE":
			limits.Messages = n
		case "MAILBOX":
			limits.Mailboxes = n
		default:
			return reply{}, no("CANNOT", "%s can't be limited here", name)
		}
	}
	if err := s.srv.o.Store.SetQuota(account.ID(), limits); err != nil {
		return reply{}, err
	}
	s.log.Info("imap_quota_set", "owner", string(account.ID()), "octets", limits.Octets, "messages", limits.Messages, "mailboxes", limits.Mailboxes)
	return reply{}, writeQuota(s, c.root, account)
}
