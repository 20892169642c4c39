package storage

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// DeleteAccount takes an account with its names and addresses away. Its mail
// stays in accounts/<id>.deleted.
func (st *Store) DeleteAccount(name string) error {
	st.admin.Lock()
	defer st.admin.Unlock()
	var info AccountInfo
	err := st.update(func(tx *bolt.Tx) (err error) {
		if info, err = accountByName(tx, name); err != nil {
			return err
		}
		return st.deleteRows(tx, info)
	})
	if err != nil {
		return err
	}
	st.mu.Lock()
	a := st.accounts[info.ID]
	delete(st.accounts, info.ID)
	st.mu.Unlock()
	if a != nil {
		if err := a.close(); err != nil {
			st.log.Error("account_close_failed", slog.String("account", string(info.ID)), slog.String("error", err.Error()))
		}
	}
	return st.moveDeleted(info.ID)
}

func (st *Store) deleteRows(tx *bolt.Tx, info AccountInfo) error {
	addresses, err := addressesOf(tx, info.ID)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := tx.Bucket(bucketAddresses).Delete([]byte(foldAddress(a.Address))); err != nil {
			return err
		}
	}
	var credentials [][]byte
	err = eachSystem(tx, bucketCredentials, []byte(info.ID+"/"), func(k, _ []byte) error {
		credentials = append(credentials, slices.Clone(k))
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range credentials {
		if err := tx.Bucket(bucketCredentials).Delete(k); err != nil {
			return err
		}
	}
	if notes := tx.Bucket(bucketAccountNotes); notes != nil {
		if err := notes.Delete([]byte(info.ID)); err != nil {
			return err
		}
	}
	row := appendSystemField(nil, 1, []byte(info.Name))
	return errors.Join(
		tx.Bucket(bucketLogins).Delete([]byte(info.Name)),
		tx.Bucket(bucketAccounts).Delete([]byte(info.ID)),
		putSystem(tx, bucketDeleted, []byte(info.ID), appendSystemTime(row, 2, st.now())))
}

// moveDeleted puts a deleted account's folder out of the way.
func (st *Store) moveDeleted(id AccountID) error {
	from := st.accountDir(id)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return moveInto(from, from+deletedSuffix, !st.opts.NoSync)
}

// finishDeletions moves the folders of accounts whose deletion a crash
// interrupted after its commit.
func (st *Store) finishDeletions() error {
	var ids []AccountID
	err := st.view(func(tx *bolt.Tx) error {
		return eachSystem(tx, bucketDeleted, nil, func(k, _ []byte) error {
			ids = append(ids, AccountID(k))
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := st.moveDeleted(id); err != nil {
			return err
		}
	}
	return nil
}
