package imap

import (
	"fmt"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// What the audit log is told beside logins: rights that change, and much mail
// that goes.

func (s *session) note(kind storage.AuditKind, format string, args ...any) {
	s.srv.o.Store.Audit(storage.AuditEvent{
		Kind: kind, Account: s.login.Account, Name: s.login.Name, Address: s.c.peer.String(), Client: s.client, Detail: fmt.Sprintf(format, args...),
	})
}

// expunge expunges messages of the selected mailbox; nil are all with \Deleted.
// However many commands a session takes for it, once it has expunged as many as
// are much it is noted, and in the end how many they were.
func (s *session) expunge(uids []imap.UID) error {
	res, err := s.sel.account.Expunge(s.sel.box.ID, uids)
	before := s.expunged
	s.expunged += len(res.UIDs)
	if before < storage.MassDeletion && s.expunged >= storage.MassDeletion {
		s.note(storage.AuditDeletion, "%d messages expunged, last in %s", s.expunged, s.sel.prefix+s.sel.box.Name)
		s.noted = s.expunged
	}
	return err
}

// endAudit notes how many messages a login expunged, if that isn't noted.
func (s *session) endAudit() {
	if s.expunged > s.noted && s.noted > 0 {
		s.note(storage.AuditDeletion, "%d messages expunged in all", s.expunged)
	}
}
