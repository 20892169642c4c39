package imap

import (
	"nestbox/imap/wire"
)

// extQuota: what an account holds and may hold (RFC 9208, and RFC 2087 for
// older clients). An account is one quota root, named "". Its limits are the
// household's business: there is no SETQUOTA.
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

// quotaRoot is the name of the only quota root.
const quotaRoot = ""

func parseGetQuota(d *wire.Decoder, _ *request) runner {
	d.SP()
	root := d.Astring()
	d.End()
	return runFunc(func(s *session, _ *request) (reply, error) {
		if root != quotaRoot {
			return reply{}, no("NONEXISTENT", "no such quota root: there is one, with the name \"\"")
		}
		return reply{}, writeQuota(s)
	})
}

// parseGetQuotaRoot reads GETQUOTAROOT. The mailbox need not exist (RFC 9208
// §4.1.2).
func parseGetQuotaRoot(d *wire.Decoder, _ *request) runner {
	d.SP()
	mailbox := d.Mailbox()
	d.End()
	return runFunc(func(s *session, _ *request) (reply, error) {
		s.w.Raw("* QUOTAROOT ")
		s.w.Mailbox(mailbox)
		s.w.SP()
		s.w.String(quotaRoot)
		s.w.CRLF()
		return reply{}, writeQuota(s)
	})
}

// writeQuota writes the resources that have a limit (RFC 9208 §4.2.1).
func writeQuota(s *session) error {
	used, limits, err := s.account.Quota()
	if err != nil {
		return err
	}
	s.w.Raw("* QUOTA ")
	s.w.String(quotaRoot)
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
