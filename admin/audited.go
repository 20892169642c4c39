package admin

import (
	"context"
	"fmt"
	"io"
	"strings"

	"nestbox/storage"
)

// Audited is an API that notes in the audit log what it changes, and what leaves
// the box by it. What fails changes nothing, and isn't noted. Passwords and the
// values of settings are not in what it notes.
func Audited(l *Local) API { return &audited{l} }

type audited struct{ *Local }

// note notes what was done, unless it failed.
func (l *audited) note(err error, kind storage.AuditKind, id storage.AccountID, format string, args ...any) error {
	if err == nil {
		l.st.Audit(storage.AuditEvent{Kind: kind, Account: id, Detail: fmt.Sprintf(format, args...)})
	}
	return err
}

// id is an account's, before or after it is changed.
func (l *audited) id(account string) storage.AccountID {
	info, err := l.st.FindAccount(account)
	if err != nil {
		return ""
	}
	return info.ID
}

func (l *audited) AddAccount(ctx context.Context, name, password string) (Account, error) {
	a, err := l.Local.AddAccount(ctx, name, password)
	return a, l.note(err, storage.AuditAdmin, storage.AccountID(a.ID), "account added")
}

func (l *audited) AddSharedAccount(ctx context.Context, name string) (Account, error) {
	a, err := l.Local.AddSharedAccount(ctx, name)
	return a, l.note(err, storage.AuditAdmin, storage.AccountID(a.ID), "shared account added")
}

// gone notes that an account is gone, whose name can't be looked up any more.
func (l *audited) gone(err error, id storage.AccountID, name, what string) error {
	if err == nil {
		l.st.Audit(storage.AuditEvent{Kind: storage.AuditAdmin, Account: id, Name: name, Detail: what})
	}
	return err
}

func (l *audited) DeleteAccount(ctx context.Context, name string) error {
	id := l.id(name)
	return l.gone(l.Local.DeleteAccount(ctx, name), id, name, "account deleted")
}

func (l *audited) EraseAccount(ctx context.Context, name string) error {
	id := l.id(name)
	return l.gone(l.Local.EraseAccount(ctx, name), id, name, "account erased")
}

func (l *audited) Undelete(ctx context.Context, name, newName string) (Undeleted, error) {
	u, err := l.Local.Undelete(ctx, name, newName)
	return u, l.note(err, storage.AuditAdmin, storage.AccountID(u.Account.ID), "account undeleted")
}

func (l *audited) SetDisabled(ctx context.Context, name string, disabled bool) error {
	what := "account enabled"
	if disabled {
		what = "account disabled"
	}
	return l.note(l.Local.SetDisabled(ctx, name, disabled), storage.AuditAdmin, l.id(name), "%s", what)
}

func (l *audited) AddAddress(ctx context.Context, account, address string) error {
	return l.note(l.Local.AddAddress(ctx, account, address), storage.AuditAdmin, l.id(account), "address %s added", address)
}

func (l *audited) DeleteAddress(ctx context.Context, address string) error {
	id := l.id(address)
	return l.note(l.Local.DeleteAddress(ctx, address), storage.AuditAdmin, id, "address %s deleted", address)
}

func (l *audited) AddDomain(ctx context.Context, domain string) error {
	return l.note(l.Local.AddDomain(ctx, domain), storage.AuditAdmin, "", "domain %s added", domain)
}

func (l *audited) DeleteDomain(ctx context.Context, domain string) error {
	return l.note(l.Local.DeleteDomain(ctx, domain), storage.AuditAdmin, "", "domain %s deleted", domain)
}

func (l *audited) SetSetting(ctx context.Context, key string, value *string) error {
	return l.note(l.Local.SetSetting(ctx, key, value), storage.AuditAdmin, "", "setting %s", key)
}

func (l *audited) SetAccountSetting(ctx context.Context, account, key, value string) error {
	return l.note(l.Local.SetAccountSetting(ctx, account, key, value), storage.AuditAdmin, l.id(account), "setting %s", key)
}

func (l *audited) KeepMailbox(ctx context.Context, account, mailbox string, days int) error {
	return l.note(l.Local.KeepMailbox(ctx, account, mailbox, days), storage.AuditAdmin, l.id(account), "%s: what is expunged is kept %d days", mailbox, days)
}

func (l *audited) Hold(ctx context.Context, account, mailbox string, on bool) error {
	what := "hold ended"
	if on {
		what = "hold begun"
	}
	return l.note(l.Local.Hold(ctx, account, mailbox, on), storage.AuditAdmin, l.id(account), "%s", strings.TrimSuffix(what+": "+mailbox, ": "))
}

func (l *audited) AddRetention(ctx context.Context, account string, r storage.RetentionRule) (storage.RetentionRule, error) {
	r, err := l.Local.AddRetention(ctx, account, r)
	return r, l.note(err, storage.AuditAdmin, l.id(account), "retention rule %s added", r.ID)
}

func (l *audited) DeleteRetention(ctx context.Context, account, rule string) error {
	return l.note(l.Local.DeleteRetention(ctx, account, rule), storage.AuditAdmin, l.id(account), "retention rule %s deleted", rule)
}

func (l *audited) RunRetention(ctx context.Context, account string, dry bool) ([]storage.RetentionResult, error) {
	res, err := l.Local.RunRetention(ctx, account, dry)
	if dry {
		return res, err
	}
	return res, l.note(err, storage.AuditAdmin, l.id(account), "retention rules run")
}

func (l *audited) Purge(ctx context.Context, account string, c storage.Criteria, dry bool) (storage.PurgeResult, error) {
	res, err := l.Local.Purge(ctx, account, c, dry)
	if dry || res.Messages+res.Expunged == 0 {
		return res, err
	}
	return res, l.note(err, storage.AuditDeletion, l.id(account), "%d messages erased by purge", res.Messages+res.Expunged)
}

func (l *audited) RestoreKept(ctx context.Context, account string, q KeptQuery) (storage.RestoreResult, error) {
	res, err := l.Local.RestoreKept(ctx, account, q)
	return res, l.note(err, storage.AuditAdmin, l.id(account), "%d messages restored", res.Messages)
}

func (l *audited) SetACL(ctx context.Context, account, mailbox, identifier, rights string) error {
	return l.note(l.Local.SetACL(ctx, account, mailbox, identifier, rights), storage.AuditACL, l.id(account), "%s: %s gets %q", mailbox, identifier, rights)
}

func (l *audited) SetPrivateSeen(ctx context.Context, account, mailbox string, private bool) error {
	return l.note(l.Local.SetPrivateSeen(ctx, account, mailbox, private), storage.AuditACL, l.id(account), "%s: private \\Seen %t", mailbox, private)
}

func (l *audited) SetGroup(ctx context.Context, group, account string, in bool) error {
	what := "out of"
	if in {
		what = "in"
	}
	return l.note(l.Local.SetGroup(ctx, group, account, in), storage.AuditACL, l.id(account), "%s group %s", what, group)
}

func (l *audited) Import(ctx context.Context, account string, o ImportOptions) (Importer, error) {
	im, err := l.Local.Import(ctx, account, o)
	if err != nil {
		return im, err
	}
	return auditedImport{im, func(stats ImportStats) {
		_ = l.note(nil, storage.AuditAdmin, l.id(account), "%d messages imported", stats.Added)
	}}, nil
}

// An auditedImport is noted at its end, also when something of it failed.
type auditedImport struct {
	Importer
	done func(ImportStats)
}

func (im auditedImport) Close() (ImportStats, error) {
	stats, err := im.Importer.Close()
	if stats.Added > 0 {
		im.done(stats)
	}
	return stats, err
}

func (l *audited) Export(ctx context.Context, account, mailbox string, f func(*Message, io.Reader) error) error {
	return l.note(l.Local.Export(ctx, account, mailbox, f), storage.AuditExport, l.id(account), "mailbox %s", mailbox)
}

func (l *audited) Backup(ctx context.Context, have storage.BackupHave, sink func(*storage.BackupPart) error) error {
	return l.note(l.Local.Backup(ctx, have, sink), storage.AuditExport, "", "backup")
}

func (l *audited) Portable(ctx context.Context, w io.Writer) error {
	return l.note(l.Local.Portable(ctx, w), storage.AuditExport, "", "all mail as a portable stream")
}

func (l *audited) CA(ctx context.Context, renew bool) (CA, error) {
	ca, err := l.Local.CA(ctx, renew)
	if !renew {
		return ca, err
	}
	return ca, l.note(err, storage.AuditCertificate, "", "another local CA made")
}

func (l *audited) RenewCertificates(ctx context.Context) error {
	return l.note(l.Local.RenewCertificates(ctx), storage.AuditCertificate, "", "certificates renewed by command")
}

func (l *audited) ExportCA(ctx context.Context) ([]byte, error) {
	text, err := l.Local.ExportCA(ctx)
	return text, l.note(err, storage.AuditCertificate, "", "local CA exported with its key")
}

func (l *audited) ImportCA(ctx context.Context, pem []byte) error {
	return l.note(l.Local.ImportCA(ctx, pem), storage.AuditCertificate, "", "local CA imported")
}
