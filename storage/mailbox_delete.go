package storage

// DeleteMailbox removes a mailbox at once; the mailboxes below it stay. Its
// rows stay too, under an intent that says when it was deleted, until the
// time to keep expunged mail is over.
func (a *Account) DeleteMailbox(name string) (err error) {
	if name, err = MailboxName(name); err != nil {
		return ErrNoMailbox
	}
	if name == "INBOX" {
		return ErrInbox
	}
	return a.do(mailboxRequest(func(w *txn) error {
		m, err := w.byName(name)
		if err != nil {
			return err
		}
		return w.deleteMailbox(m)
	}))
}

// RemoveUnused takes a mailbox and its subscription away if it never had a
// message, and reports whether it did.
func (a *Account) RemoveUnused(id MailboxID) (removed bool, err error) {
	err = a.do(mailboxRequest(func(w *txn) error {
		removed = false
		m, err := w.mailbox(id)
		if err != nil || m.UIDNext != 1 || m.Name == "INBOX" {
			return err
		}
		if subs := w.bucket(bucketSubs); subs.Get([]byte(m.Name)) != nil {
			w.subs = true
			if err := subs.Delete([]byte(m.Name)); err != nil {
				return fatal(err)
			}
		}
		removed = true
		return w.deleteMailbox(m)
	}))
	return removed && err == nil, err
}

func (w *txn) deleteMailbox(m *Mailbox) error {
	if err := w.bucket(bucketNames).Delete([]byte(m.Name)); err != nil {
		return fatal(err)
	}
	w.change(m, w.next())
	if err := w.putIntent(m.Space, intentDeleted, encodeDeleted(m, w.f.a.now())); err != nil {
		return err
	}
	if err := w.bucket(bucketMailboxes).Delete(m.ID[:]); err != nil {
		return fatal(err)
	}
	if err := w.dropURLKey(m.ID); err != nil {
		return err
	}
	if err := w.dropAnnotations(m.ID); err != nil {
		return fatal(err)
	}
	w.used = w.used.plus(Usage{Octets: -m.Octets, Messages: -int64(m.Messages), Mailboxes: -1})
	w.kept = w.kept.plus(KeptCount{Octets: m.Octets, Messages: int64(m.Messages)})
	w.boxes[m.ID].deleted = true
	return nil
}
