package storage

import (
	"context"
	"time"
)

// SetKeptDays says for how many days the expunged messages of a mailbox are
// kept; -1 for as long as the account's.
func (a *Account) SetKeptDays(mailbox string, days int) error {
	return a.setMailbox(mailbox, func(m *Mailbox) { m.KeptDays = uint32(max(-1, min(days, maxKeptDays)) + 1) })
}

// SetHold puts a mailbox under a legal hold, or takes it from there. With a
// hold nothing of it goes for good: its expunged messages are kept for ever,
// also those that were moved elsewhere, and also when the mailbox is deleted.
func (a *Account) SetHold(mailbox string, hold bool) error {
	return a.setMailbox(mailbox, func(m *Mailbox) { m.Hold = hold })
}

// setMailbox changes what no client sees of a mailbox.
func (a *Account) setMailbox(mailbox string, change func(*Mailbox)) (err error) {
	if mailbox, err = MailboxName(mailbox); err != nil {
		return ErrNoMailbox
	}
	return a.do(mailboxRequest(func(w *txn) error {
		m, err := w.byName(mailbox)
		if err == ErrNoMailbox {
			return w.setDeleted(mailbox, change)
		}
		if err != nil {
			return err
		}
		change(m)
		w.change(m, 0)
		return nil
	}))
}

// setDeleted is the same of the deleted mailboxes of a name.
func (w *txn) setDeleted(name string, change func(*Mailbox)) error {
	owners, err := w.f.keptOwners(w.tx)
	if err != nil {
		return err
	}
	err = ErrNoMailbox
	for space, o := range owners {
		if !o.deleted || o.Name != name {
			continue
		}
		change(&o.Mailbox)
		if err = w.putIntent(space, intentDeleted, encodeDeleted(&o.Mailbox, time.Unix(o.when, 0))); err != nil {
			return err
		}
	}
	return err
}

// expireWhenDue is the account's share of the upkeep: what was kept long
// enough goes for good, if the clock can be trusted. next is when there may be
// something to do again.
func (a *Account) expireWhenDue(ctx context.Context) (next time.Time, err error) {
	now := a.now()
	if !a.st.clockTrusted() {
		return now.Add(time.Hour), nil
	}
	gone, next, err := a.expireKept(ctx, now)
	if gone.Messages > 0 {
		a.st.log.Info("kept_expired", "account", string(a.id), "messages", gone.Messages, "octets", gone.Octets)
	}
	return next, err
}

// KeptDays is for how many days expunged messages are kept where a mailbox
// has no number of its own.
func (a *Account) KeptDays() int { return int(a.policy().kept / oneDay) }
