package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A deleted account is kept like expunged messages: its folder as
// accounts/<id>.deleted, and in system.db what it takes to bring it back. When
// it was kept long enough both go: the folder first gets another name, so that
// no crash leaves half of one to be brought back.
const erasedSuffix = ".erased"

// ErrNoDeleted: there is no deleted account of that name or id.
var ErrNoDeleted = errors.New("no such deleted account")

// A DeletedAccount can be brought back.
type DeletedAccount struct {
	AccountInfo
	Addresses []string
	Deleted   time.Time
	Until     time.Time // when it goes for good
	Octets    int64     // of its files

	rows        []Address
	credentials [][2][]byte // kind, value
}

// Fields of a row in "deleted".
const (
	deletedName byte = iota + 1
	deletedTime
	deletedAccount
	deletedAddress    // repeated
	deletedCredential // kind, NUL, value; repeated
)

func (d *DeletedAccount) encode() []byte {
	b := appendSystemField(nil, deletedName, []byte(d.Name))
	b = appendSystemTime(b, deletedTime, d.Deleted)
	b = appendSystemField(b, deletedAccount, encodeAccount(d.AccountInfo))
	for _, a := range d.rows {
		b = appendSystemField(b, deletedAddress, encodeAddress(a))
	}
	for _, c := range d.credentials {
		b = appendSystemField(b, deletedCredential, slices.Concat(c[0], []byte{0}, c[1]))
	}
	return b
}

func decodeDeletedAccount(id, data []byte) (d DeletedAccount, err error) {
	d.ID = AccountID(id)
	bad := eachSystemField(data, func(tag byte, value []byte) {
		switch tag {
		case deletedName:
			d.Name = string(value)
		case deletedTime:
			d.Deleted = systemTime(value)
		case deletedAccount:
			info, derr := decodeAccount(id, value)
			d.AccountInfo, err = info, errors.Join(err, derr)
		case deletedAddress:
			a, derr := decodeAddress(value)
			d.rows, err = append(d.rows, a), errors.Join(err, derr)
			d.Addresses = append(d.Addresses, a.Address)
		case deletedCredential:
			kind, secret, _ := strings.Cut(string(value), "\x00")
			d.credentials = append(d.credentials, [2][]byte{[]byte(kind), []byte(secret)})
		}
	})
	return d, errors.Join(bad, err)
}

// DeletedAccounts lists the deleted accounts that can be brought back, by name
// and then by time.
func (st *Store) DeletedAccounts() ([]DeletedAccount, error) {
	var all []DeletedAccount
	err := st.view(func(tx *bolt.Tx) error {
		return eachSystem(tx, bucketDeleted, nil, func(k, data []byte) error {
			d, err := decodeDeletedAccount(k, data)
			all = append(all, d)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		d := &all[i]
		days, err := st.numberSetting(d.Settings[SettingKeptDays], SettingKeptDays, defaultKeptDays)
		if err != nil {
			return nil, err
		}
		d.Until = d.Deleted.Add(time.Duration(min(days, maxKeptDays)) * oneDay)
		d.Octets = folderOctets(st.accountDir(d.ID) + deletedSuffix)
	}
	slices.SortFunc(all, func(a, b DeletedAccount) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.Deleted.Compare(b.Deleted)
	})
	return all, nil
}

func folderOctets(dir string) (octets int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what isn't there takes no space
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			octets += info.Size()
		}
		return nil
	})
	return octets
}

// findDeleted finds a deleted account by its id or its name, which must not be
// that of several.
func (st *Store) findDeleted(name string) (found DeletedAccount, err error) {
	all, err := st.DeletedAccounts()
	if err != nil {
		return found, err
	}
	canonical, _ := CanonicalName(name)
	var ids []string
	for _, d := range all {
		if string(d.ID) == name {
			return d, nil
		}
		if d.Name == canonical {
			found, ids = d, append(ids, string(d.ID))
		}
	}
	switch len(ids) {
	case 0:
		return found, ErrNoDeleted
	case 1:
		return found, nil
	}
	return found, fmt.Errorf("%d deleted accounts had that name: give one's id instead (%s)", len(ids), strings.Join(ids, ", "))
}

// UndeleteAccount brings a deleted account back, by its name or id, as
// newName or if that is empty under the name it had, with its password. It
// gets those of its addresses that nobody else has meanwhile; lost are the
// others.
func (st *Store) UndeleteAccount(name, newName string) (info AccountInfo, lost []string, err error) {
	st.admin.Lock()
	defer st.admin.Unlock()
	d, err := st.findDeleted(name)
	if err != nil {
		return info, nil, err
	}
	if info = d.AccountInfo; newName != "" {
		if info.Name, err = CanonicalName(newName); err != nil {
			return info, nil, err
		}
	}
	if err := st.view(func(tx *bolt.Tx) error { return nameFree(tx, info.Name, "") }); err != nil {
		return info, nil, err
	}
	// The folder first: should the rest not happen, the next open finds that
	// the account is a deleted one, and puts it back.
	dir := st.accountDir(d.ID)
	if _, err := os.Stat(dir + deletedSuffix); err != nil {
		return info, nil, fmt.Errorf("its folder is not there any more: %w", err)
	}
	st.endReading(d.ID)
	if err := moveInto(dir+deletedSuffix, dir, !st.opts.NoSync); err != nil {
		return info, nil, err
	}
	err = st.update(func(tx *bolt.Tx) (err error) {
		lost, err = st.undeleteRows(tx, info, &d)
		return err
	})
	if err != nil {
		return info, nil, errors.Join(err, st.moveDeleted(d.ID))
	}
	st.copyProfile(d.ID)
	st.log.Info("account_undeleted", "account", string(d.ID), "name", info.Name)
	return info, lost, nil
}

func (st *Store) undeleteRows(tx *bolt.Tx, info AccountInfo, d *DeletedAccount) (lost []string, err error) {
	if err := nameFree(tx, info.Name, ""); err != nil {
		return nil, err
	}
	for _, c := range d.credentials {
		if err := putSystem(tx, bucketCredentials, slices.Concat([]byte(info.ID), []byte{'/'}, c[0]), c[1]); err != nil {
			return nil, err
		}
	}
	for _, a := range d.rows {
		_, err := addressRow(tx, a.Address)
		if err == nil {
			lost = append(lost, a.Address)
			continue
		}
		if !errors.Is(err, ErrNoAddress) {
			return nil, err
		}
		if err := nameFree(tx, foldAddress(a.Address), info.ID); err != nil {
			lost = append(lost, a.Address) // it is an account's name now
			continue
		}
		if err := st.addDomain(tx, DomainOf(a.Address)); err != nil && !errors.Is(err, ErrDomainExists) {
			return nil, err
		}
		if err := putSystem(tx, bucketAddresses, []byte(foldAddress(a.Address)), encodeAddress(a)); err != nil {
			return nil, err
		}
	}
	return lost, errors.Join(
		putSystem(tx, bucketLogins, []byte(info.Name), []byte(info.ID)),
		putSystem(tx, bucketAccounts, []byte(info.ID), encodeAccount(info)),
		tx.Bucket(bucketDeleted).Delete([]byte(info.ID)))
}

// EraseDeleted removes a deleted account for good, by its name or id.
func (st *Store) EraseDeleted(name string) error {
	st.admin.Lock()
	defer st.admin.Unlock()
	d, err := st.findDeleted(name)
	if err != nil {
		return err
	}
	return st.erase(d.ID)
}

// erase removes a deleted account. The lock of administration is held.
func (st *Store) erase(id AccountID) error {
	dir := st.accountDir(id)
	st.endReading(id)
	if _, err := os.Stat(dir + deletedSuffix); err == nil {
		if err := moveInto(dir+deletedSuffix, dir+erasedSuffix, !st.opts.NoSync); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir + erasedSuffix); err != nil {
		return err
	}
	err := st.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketDeleted).Delete([]byte(id)) })
	if err == nil {
		st.log.Info("account_erased", "account", string(id))
	}
	return err
}

// expireDeleted removes the deleted accounts that were kept long enough: a job
// of the upkeep.
func (st *Store) expireDeleted(ctx context.Context) error {
	if !st.clockTrusted() {
		return nil
	}
	all, err := st.DeletedAccounts()
	for _, d := range all {
		if ctx.Err() == nil && !st.now().Before(d.Until) {
			st.admin.Lock()
			err = errors.Join(err, st.eraseStill(d.ID))
			st.admin.Unlock()
		}
	}
	return err
}

// eraseStill erases an account that nobody brought back meanwhile.
func (st *Store) eraseStill(id AccountID) error {
	_, err := st.findDeleted(string(id))
	if errors.Is(err, ErrNoDeleted) {
		return nil
	}
	if err != nil {
		return err
	}
	return st.erase(id)
}

// DeleteAccountNow deletes an account and erases it at once.
func (st *Store) DeleteAccountNow(name string) error {
	id, err := st.deleteAccount(name)
	if err != nil {
		return err
	}
	return st.EraseDeleted(string(id))
}

// DeleteAccount takes an account with its names and addresses away. Its
// sessions end, nobody can log in, and its mail stays in accounts/<id>.deleted
// for as long as expunged messages are kept: UndeleteAccount. Under a hold it
// is refused.
func (st *Store) DeleteAccount(name string) error {
	_, err := st.deleteAccount(name)
	return err
}

func (st *Store) deleteAccount(name string) (AccountID, error) {
	st.admin.Lock()
	defer st.admin.Unlock()
	var info AccountInfo
	err := st.view(func(tx *bolt.Tx) (err error) {
		info, err = accountByName(tx, name)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := st.notHeld(info); err != nil {
		return "", err
	}
	gone, err := st.folderGone(info.ID)
	if err != nil {
		return "", err
	}
	err = st.update(func(tx *bolt.Tx) (err error) {
		if info, err = accountByName(tx, name); err != nil {
			return err
		}
		return st.deleteRows(tx, info)
	})
	if err != nil {
		return "", err
	}
	if gone {
		st.log.Warn("account_without_folder_deleted", slog.String("account", string(info.ID)), slog.String("name", info.Name))
	}
	st.endLogins(info.ID, "the account was deleted")
	st.mu.Lock()
	a := st.accounts[info.ID]
	delete(st.accounts, info.ID)
	st.mu.Unlock()
	if a != nil {
		if err := a.close(); err != nil {
			st.log.Error("account_close_failed", slog.String("account", string(info.ID)), slog.String("error", err.Error()))
		}
	}
	return info.ID, st.moveDeleted(info.ID)
}
