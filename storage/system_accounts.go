package storage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// AccountInfo is what system.db knows of an account.
type AccountInfo struct {
	ID       AccountID
	Name     string // in its canonical form: lower case, NFC
	Created  time.Time
	Disabled bool
	// Extensions are the names of IMAP extensions switched off for it.
	Extensions []string
	// Settings of the account, such as SettingQuota. Nil when there are none.
	Settings map[string]string
}

// profile is what an account's folder repeats of system.db, so that
// system.db can be made anew from the folders.
type profile struct {
	Name      string
	Addresses []string
	Settings  map[string]string
}

// Settings of a profile.
const (
	profileDisabled   = "disabled"
	profileExtensions = "extensions_off"
)

// CreateAccount makes an account with its first mailboxes. The credential is
// auth's; empty, nobody can log in yet.
func (st *Store) CreateAccount(name string, credential []byte) (AccountInfo, error) {
	if len(credential) == 0 {
		return st.CreateAccountWith(name, nil)
	}
	return st.CreateAccountWith(name, []Credential{{KindPassword, credential}})
}

// CreateAccountWith is CreateAccount for an account with any number of rows.
func (st *Store) CreateAccountWith(name string, rows []Credential) (AccountInfo, error) {
	name, err := CanonicalName(name)
	if err != nil {
		return AccountInfo{}, err
	}
	st.admin.Lock()
	defer st.admin.Unlock()
	if st.isClosed() {
		return AccountInfo{}, ErrClosed
	}
	if err := st.here(); err != nil {
		return AccountInfo{}, err
	}
	if missing, low := st.shortage(spaceSlack); missing > 0 {
		return AccountInfo{}, low
	}
	if err := st.view(func(tx *bolt.Tx) error { return nameFree(tx, name, "") }); err != nil {
		return AccountInfo{}, err
	}
	if err := st.makeAccountsFolder(); err != nil {
		return AccountInfo{}, err
	}
	info := AccountInfo{ID: newAccountID(), Name: name, Created: st.now().UTC().Truncate(time.Second)}
	a := newAccount(st, info.ID)
	// The folder comes first: an account that is listed can be opened.
	if err := st.beginMaking(info.ID); err != nil {
		return AccountInfo{}, err
	}
	if err := a.create(profile{Name: name}); err != nil {
		return AccountInfo{}, errors.Join(err, a.close(), st.endMaking(info.ID))
	}
	err = st.update(func(tx *bolt.Tx) error {
		if err := putCredentials(tx, info.ID, rows); err != nil {
			return err
		}
		return errors.Join(
			putSystem(tx, bucketLogins, []byte(name), []byte(info.ID)),
			putSystem(tx, bucketAccounts, []byte(info.ID), encodeAccount(info)))
	})
	if err != nil {
		return AccountInfo{}, errors.Join(err, a.close(), os.RemoveAll(st.accountDir(info.ID)), st.endMaking(info.ID))
	}
	if err := st.endMaking(info.ID); err != nil {
		st.log.Warn("account_mark_failed", "account", string(info.ID), "error", err) // the next open takes it away
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.accounts[info.ID] = a
	return info, nil
}

// makeAccountsFolder makes DATA/accounts if somebody removed it. The data folder
// itself was found to be there, by its id. A link that leads nowhere stays: its
// disk may be absent.
func (st *Store) makeAccountsFolder() error {
	dir := filepath.Join(st.dir, accountsFolder)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		if _, err := os.Stat(dir); err != nil {
			return leadsNowhere(dir)
		}
		return nil
	}
	if err != nil {
		return mapError(err)
	}
	st.log.Warn("accounts_folder_made", "folder", dir)
	if st.opts.NoSync {
		return nil
	}
	return syncDir(st.dir)
}

func leadsNowhere(link string) error {
	return fmt.Errorf("%w: %s leads to what is not there: is the disk mounted?", ErrUnavailable, link)
}

func newAccountID() AccountID {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return AccountID(idEncoding.EncodeToString(b[:]))
}

func (st *Store) isClosed() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.closed
}

// nameFree tells whether an account can have a name, which logs in and so
// must not be another account's name or address.
func nameFree(tx *bolt.Tx, name string, owner AccountID) error {
	id, err := getSystem(tx, bucketLogins, []byte(name))
	if err != nil {
		return err
	}
	if id != nil && AccountID(id) != owner {
		return ErrAccountExists
	}
	b, err := getSystem(tx, bucketAddresses, []byte(name))
	if err != nil || b == nil {
		return err
	}
	a, err := decodeAddress(b)
	if err == nil && a.Account != owner {
		err = ErrAddressExists
	}
	return err
}

// AccountInfo returns an account's entry.
func (st *Store) AccountInfo(id AccountID) (info AccountInfo, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		info, err = accountByID(tx, id)
		return err
	})
	return info, err
}

func accountByID(tx *bolt.Tx, id AccountID) (AccountInfo, error) {
	b, err := getSystem(tx, bucketAccounts, []byte(id))
	if err != nil {
		return AccountInfo{}, err
	}
	if b == nil {
		return AccountInfo{}, ErrNoAccount
	}
	return decodeAccount([]byte(id), b)
}

func accountByName(tx *bolt.Tx, name string) (AccountInfo, error) {
	name, err := CanonicalName(name)
	if err != nil {
		return AccountInfo{}, ErrNoAccount
	}
	id, err := getSystem(tx, bucketLogins, []byte(name))
	if err != nil {
		return AccountInfo{}, err
	}
	if id == nil {
		return AccountInfo{}, ErrNoAccount
	}
	return accountByID(tx, AccountID(id))
}

// FindAccount finds an account by its name or any of its addresses, in any case.
func (st *Store) FindAccount(login string) (info AccountInfo, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		if info, err = accountByName(tx, login); !errors.Is(err, ErrNoAccount) {
			return err
		}
		a, err := addressRow(tx, login)
		if err != nil {
			if errors.Is(err, ErrNoAddress) {
				return ErrNoAccount
			}
			return err
		}
		info, err = accountByID(tx, a.Account)
		return err
	})
	return info, err
}

// Accounts lists all accounts by name.
func (st *Store) Accounts() ([]AccountInfo, error) {
	var all []AccountInfo
	err := st.view(func(tx *bolt.Tx) error {
		return eachSystem(tx, bucketAccounts, nil, func(k, data []byte) error {
			info, err := decodeAccount(k, data)
			all = append(all, info)
			return err
		})
	})
	slices.SortFunc(all, func(a, b AccountInfo) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// RenameAccount gives an account another name; addresses, mail and sessions
// stay as they are.
func (st *Store) RenameAccount(from, to string) error {
	to, err := CanonicalName(to)
	if err != nil {
		return err
	}
	return st.changeAccount(
		func(tx *bolt.Tx) (AccountInfo, error) { return accountByName(tx, from) },
		func(tx *bolt.Tx, info *AccountInfo) error {
			if err := nameFree(tx, to, info.ID); err != nil {
				return err
			}
			if err := tx.Bucket(bucketLogins).Delete([]byte(info.Name)); err != nil {
				return err
			}
			info.Name = to
			return putSystem(tx, bucketLogins, []byte(to), []byte(info.ID))
		})
}

// SetDisabled closes an account to logins and ends its sessions, or opens it
// again.
func (st *Store) SetDisabled(id AccountID, disabled bool) error {
	err := st.changeAccount(
		func(tx *bolt.Tx) (AccountInfo, error) { return accountByID(tx, id) },
		func(_ *bolt.Tx, info *AccountInfo) error {
			info.Disabled = disabled
			return nil
		})
	if err == nil && disabled {
		st.endLogins(id, "the account was disabled")
	}
	return err
}

// SetExtensions says which IMAP extensions are switched off for an account.
func (st *Store) SetExtensions(id AccountID, off []string) error {
	return st.changeAccount(
		func(tx *bolt.Tx) (AccountInfo, error) { return accountByID(tx, id) },
		func(_ *bolt.Tx, info *AccountInfo) error {
			info.Extensions = slices.Compact(slices.Sorted(slices.Values(off)))
			return nil
		})
}

// SetAccountSetting changes a setting of an account; an empty value gives it
// its default again.
func (st *Store) SetAccountSetting(id AccountID, key, value string) error {
	if err := checkSetting(key, []byte(value)); err != nil {
		return err
	}
	if strings.ContainsRune(key, 0) || key == profileDisabled || key == profileExtensions {
		return &NameError{Name: key, Why: "is not a setting of an account"}
	}
	return st.changeAccount(
		func(tx *bolt.Tx) (AccountInfo, error) { return accountByID(tx, id) },
		func(_ *bolt.Tx, info *AccountInfo) error {
			if info.Settings == nil {
				info.Settings = map[string]string{}
			}
			info.Settings[key] = value
			if value == "" {
				delete(info.Settings, key)
			}
			return nil
		})
}

// SetQuota gives an account limits of its own, 0 for none: all at once.
func (st *Store) SetQuota(id AccountID, limits Usage) error {
	return st.changeAccount(
		func(tx *bolt.Tx) (AccountInfo, error) { return accountByID(tx, id) },
		func(_ *bolt.Tx, info *AccountInfo) error {
			if info.Settings == nil {
				info.Settings = map[string]string{}
			}
			info.Settings[SettingQuota] = strconv.FormatInt(limits.Octets, 10)
			info.Settings[SettingQuotaMessages] = strconv.FormatInt(limits.Messages, 10)
			info.Settings[SettingQuotaMailboxes] = strconv.FormatInt(limits.Mailboxes, 10)
			return nil
		})
}

// changeAccount changes an account's entry and the copy in its folder.
func (st *Store) changeAccount(find func(*bolt.Tx) (AccountInfo, error), change func(*bolt.Tx, *AccountInfo) error) error {
	st.admin.Lock()
	defer st.admin.Unlock()
	var info AccountInfo
	err := st.update(func(tx *bolt.Tx) (err error) {
		if info, err = find(tx); err != nil {
			return err
		}
		if err := change(tx, &info); err != nil {
			return err
		}
		return putSystem(tx, bucketAccounts, []byte(info.ID), encodeAccount(info))
	})
	if err != nil {
		return err
	}
	st.copyProfile(info.ID)
	return nil
}

// copyProfile brings the copy in the account's folder up to date. system.db
// has the change already, so a failure here is only logged: the next change
// writes the whole copy anew.
func (st *Store) copyProfile(id AccountID) {
	p, err := st.profile(id)
	if err == nil {
		var a *Account
		if a, err = st.Account(id); err == nil {
			err = a.setProfile(p)
		}
	}
	if err != nil {
		st.log.Warn("profile_copy_failed", slog.String("account", string(id)), slog.String("error", err.Error()))
	}
}

func (st *Store) profile(id AccountID) (profile, error) {
	p := profile{Settings: map[string]string{}}
	info, err := st.AccountInfo(id)
	if err != nil {
		return p, err
	}
	p.Name = info.Name
	maps.Copy(p.Settings, info.Settings)
	if info.Disabled {
		p.Settings[profileDisabled] = "true"
	}
	if len(info.Extensions) > 0 {
		p.Settings[profileExtensions] = strings.Join(info.Extensions, " ")
	}
	addresses, err := st.Addresses(id)
	for _, a := range addresses {
		p.Addresses = append(p.Addresses, a.Address)
	}
	return p, err
}
