package storage

import (
	"errors"
	"fmt"
)

// makeAccount makes the folder of an account that system.db has already, with
// INBOX alone.
func (l *portableLoad) makeAccount(id AccountID, secret []byte, past highWater, deleted bool) error {
	if len(secret) != 32 {
		return errPortableRow
	}
	a, p, err := l.accountFor(id, deleted)
	if err == nil {
		err = a.create(p)
	}
	if err != nil {
		return fmt.Errorf("account %s: %w", id, err)
	}
	l.a, l.deleted, l.box, l.kept, l.messages, l.bodies = a, deleted, nil, nil, 0, 0
	return a.exec(func(f *files) error {
		f.secret = secret
		w, err := f.update(func(w *txn) error {
			if err := w.emptyNames(); err != nil {
				return err
			}
			w.dirty, w.modseq = true, max(w.modseq, past.ModSeq)
			meta := w.bucket(bucketMeta)
			return errors.Join(meta.Put([]byte("secret"), secret), meta.Put([]byte("validity"), le32(max(past.Validity, getUint32(meta, "validity")))))
		})
		if err == nil {
			w.publish()
		}
		return err
	})
}

// accountFor is an account that has no folder yet.
func (l *portableLoad) accountFor(id AccountID, deleted bool) (a *Account, p profile, err error) {
	if !deleted {
		if p, err = l.st.profile(id); err == nil {
			a, err = l.st.Account(id)
		}
		return a, p, err
	}
	d, err := l.st.findDeleted(string(id))
	if err != nil {
		return nil, p, err
	}
	a = newAccount(l.st, id)
	a.dir = l.st.accountDir(id) + deletedSuffix
	return a, profile{Name: d.Name, Addresses: d.Addresses, Settings: d.Settings}, nil
}

// emptyNames removes all mailboxes but INBOX, and all subscriptions, of an
// account that was just made.
func (w *txn) emptyNames() error {
	var ids []MailboxID
	if err := w.bucket(bucketNames).ForEach(func(name, id []byte) error {
		if string(name) != "INBOX" {
			ids = append(ids, MailboxID(id))
		}
		return w.bucket(bucketSubs).Delete(name)
	}); err != nil {
		return err
	}
	for _, id := range ids {
		m, err := w.mailbox(id)
		if err != nil {
			return err
		}
		w.boxes[id].deleted = true
		if err := errors.Join(w.bucket(bucketNames).Delete([]byte(m.Name)), w.bucket(bucketMailboxes).Delete(id[:])); err != nil {
			return err
		}
	}
	return nil
}

// mailbox makes a mailbox, without messages.
func (l *portableLoad) mailbox(b []byte) error {
	if l.a == nil || len(b) < 16 {
		return errPortableRow
	}
	if err := l.flush(); err != nil {
		return err
	}
	was, err := decodeMailbox(b[:16], b[16:])
	if err != nil {
		return err
	}
	name, err := MailboxName(was.Name)
	if err != nil {
		return err
	}
	l.last = 0
	return l.a.do(mailboxRequest(func(w *txn) error {
		m, err := w.byName(name)
		if err == ErrNoMailbox {
			m = w.newMailbox(name)
			err = w.putName(m)
		}
		if err != nil {
			return err
		}
		m.takeProperties(&was)
		m.UIDNext = max(m.UIDNext, was.UIDNext)
		m.FirstUnseen, m.RecentUID = m.UIDNext, was.RecentUID
		w.change(m, w.next())
		m.Floor = m.HighestModSeq // of the UIDs that are gone nothing came along
		l.box = &Mailbox{ID: m.ID, Name: name}
		return nil
	}))
}

// takeProperties takes what of a mailbox doesn't follow from its messages.
func (m *Mailbox) takeProperties(was *Mailbox) {
	same := *was
	same.ID, same.Name, same.Space, same.UIDValidity = m.ID, m.Name, m.Space, m.UIDValidity
	same.UIDNext, same.HighestModSeq, same.Floor = m.UIDNext, m.HighestModSeq, m.Floor
	same.Messages, same.Unseen, same.Deleted = 0, 0, 0
	same.Octets, same.DeletedOctets, same.FirstUnseen = 0, 0, m.FirstUnseen
	*m = same
}
