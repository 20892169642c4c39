package storage

import (
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Held lists what of the account is under a hold: whether all of it is, and
// the names of mailboxes that are, deleted ones included.
func (a *Account) Held() (all bool, mailboxes []string, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		mailboxes = nil
		owners, err := f.keptOwners(tx)
		for _, o := range owners {
			if o.Hold {
				mailboxes = append(mailboxes, o.Name)
			}
		}
		return err
	})
	slices.Sort(mailboxes)
	p := a.policy()
	return p.hold, slices.Compact(mailboxes), errors.Join(err, p.err)
}

// notHeld refuses to take away an account of which a hold keeps anything.
func (st *Store) notHeld(info AccountInfo) error {
	a, err := st.Account(info.ID)
	if err != nil {
		return err
	}
	all, mailboxes, err := a.Held()
	switch {
	case err != nil:
		return fmt.Errorf("it can't be seen whether a hold keeps mail of the account: %w", err)
	case all:
		return fmt.Errorf("%w: the account is held", ErrHeld)
	case len(mailboxes) > 0:
		return fmt.Errorf("%w: mailbox %q is held", ErrHeld, mailboxes[0])
	}
	return nil
}
