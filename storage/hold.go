package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	gone, err := st.folderGone(info.ID)
	if err != nil {
		return err
	}
	if gone { // what it kept can't be kept any more; what the household said is known
		switch p := a.policy(); {
		case p.hold:
			return fmt.Errorf("%w: the account is held; its folder is gone: if it is not to come back, lift the hold first", ErrHeld)
		default:
			return p.err
		}
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

// folderGone reports whether an account that is listed has no folder, while
// the data folder is where it should be.
func (st *Store) folderGone(id AccountID) (bool, error) {
	if err := st.here(); err != nil {
		return false, err
	}
	_, err := os.Lstat(st.accountDir(id))
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	accounts := filepath.Dir(st.accountDir(id))
	if _, err := os.Lstat(accounts); err == nil {
		if _, err := os.Stat(accounts); err != nil {
			return false, leadsNowhere(accounts)
		}
	}
	return true, nil
}

// DeletionNotice is what who deletes an account is to be told before, "" if
// nothing.
func (st *Store) DeletionNotice(name string) (string, error) {
	var info AccountInfo
	err := st.view(func(tx *bolt.Tx) (err error) {
		info, err = accountByName(tx, name)
		return err
	})
	if err != nil {
		return "", err
	}
	gone, err := st.folderGone(info.ID)
	if err != nil || !gone {
		return "", err
	}
	return fmt.Sprintf("%s, the folder with the mail of account %s, is not there. If it was moved or is on a backup, put it back first: "+
		"without it there is nothing to bring back, and whether a hold kept mailboxes of it can't be seen.", st.accountDir(info.ID), info.Name), nil
}
