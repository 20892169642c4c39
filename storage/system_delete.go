package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

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
	d := DeletedAccount{AccountInfo: info, Deleted: st.now(), rows: addresses}
	var credentials [][]byte
	err = eachSystem(tx, bucketCredentials, []byte(info.ID+"/"), func(k, v []byte) error {
		credentials = append(credentials, slices.Clone(k))
		d.credentials = append(d.credentials, [2][]byte{slices.Clone(k[len(info.ID)+1:]), slices.Clone(v)})
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
	return errors.Join(
		tx.Bucket(bucketLogins).Delete([]byte(info.Name)),
		tx.Bucket(bucketAccounts).Delete([]byte(info.ID)),
		putSystem(tx, bucketDeleted, []byte(info.ID), d.encode()))
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
	return st.finishErasing()
}

// finishErasing removes the folders of accounts whose erasing a crash
// interrupted, and their rows.
func (st *Store) finishErasing() error {
	half, err := filepath.Glob(filepath.Join(st.dir, accountsFolder, "*"+erasedSuffix))
	if err != nil {
		return err
	}
	for _, dir := range half {
		if err := st.erase(AccountID(strings.TrimSuffix(filepath.Base(dir), erasedSuffix))); err != nil {
			return err
		}
	}
	return nil
}
