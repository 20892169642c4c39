package storage

import (
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

// A RebuildResult is what Rebuild did.
type RebuildResult struct {
	Accounts []string `json:"accounts"`        // their names
	Aside    string   `json:"aside,omitempty"` // where the old system.db is
}

// Rebuild makes a new system.db from the folders of the accounts, which know
// names, addresses and settings. Passwords, secrets and the household's
// settings are not in them. The old file stays, under another name. Nobody may
// have the folder open.
func Rebuild(dir string, o Options, tell func(Finding) error) (res RebuildResult, err error) {
	id, err := readStoreID(dir)
	if err != nil {
		return res, err
	}
	lock, err := lockFolder(dir, o.Version)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, unlockFolder(lock)) }()
	r := &checkReport{tell: tell, kind: "rebuild"}
	b := &rebuild{dir: dir, r: r, taken: map[string]bool{}}
	if err := b.readFolders(); err != nil {
		return res, err
	}
	path := filepath.Join(dir, systemFile)
	temp := path + ".rebuilt"
	if err := b.create(temp, id); err != nil {
		return res, err
	}
	stamp := time.Now().Unix()
	for exists(fmt.Sprintf("%s.old-%d", path, stamp)) || exists(fmt.Sprintf("%s.old-%d", filepath.Join(dir, systemCopyFile), stamp)) {
		stamp++
	}
	for _, name := range []string{systemFile, systemCopyFile} {
		from := filepath.Join(dir, name)
		aside := fmt.Sprintf("%s.old-%d", from, stamp)
		if err := os.Rename(from, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return res, err
		} else if err == nil && name == systemFile {
			res.Aside = aside
		}
	}
	if err := syncDir(dir); err != nil { // else a power cut may keep the next rename alone, and the old file is gone
		return res, err
	}
	if err := moveInto(temp, path, true); err != nil {
		return res, err
	}
	for _, a := range b.accounts {
		res.Accounts = append(res.Accounts, a.info.Name)
	}
	return res, r.failed
}

// rebuild is one run of Rebuild.
type rebuild struct {
	dir      string
	r        *checkReport
	accounts []foundAccount
	taken    map[string]bool // names and addresses that log in
}

type foundAccount struct {
	info      AccountInfo
	addresses []string
}

// readFolders reads what each account's folder says of it.
func (b *rebuild) readFolders() error {
	entries, err := os.ReadDir(filepath.Join(b.dir, accountsFolder))
	if err != nil {
		return err
	}
	for _, e := range entries {
		raw, err := idEncoding.DecodeString(e.Name())
		if err != nil || len(raw) != 10 || !e.IsDir() {
			continue // deleted, or being made
		}
		p, err := readProfile(filepath.Join(b.dir, accountsFolder, e.Name(), "mail.db"), AccountID(e.Name()))
		if err != nil {
			b.r.line(Left, "folder %s/%s: %v; its account has a new name and is empty of settings", accountsFolder, e.Name(), err)
		}
		b.account(AccountID(e.Name()), p, e)
		b.r.flush()
	}
	return nil
}

func (b *rebuild) account(id AccountID, p profile, e fs.DirEntry) {
	name, err := CanonicalName(p.Name)
	if err != nil || b.taken[name] {
		name = "account-" + string(id[:6])
		b.r.line(Left, "account %s: the name %q is not to be had, it is %q now", id, p.Name, name)
	}
	a := foundAccount{info: AccountInfo{ID: id, Name: name, Created: time.Now().UTC().Truncate(time.Second), Settings: p.Settings}}
	if info, err := e.Info(); err == nil {
		a.info.Created = info.ModTime().UTC().Truncate(time.Second)
	}
	b.taken[name] = true
	a.info.Disabled = p.Settings[profileDisabled] == "true"
	a.info.Extensions = strings.Fields(p.Settings[profileExtensions])
	delete(a.info.Settings, profileDisabled)
	delete(a.info.Settings, profileExtensions)
	for _, address := range p.Addresses {
		canonical, err := CanonicalAddress(address)
		if key := foldAddress(canonical); err == nil && (!b.taken[key] || key == name) {
			b.taken[key] = true
			a.addresses = append(a.addresses, canonical)
			continue
		}
		b.r.line(Left, "account %s: the address %s is left out", name, address)
	}
	b.r.line(Did, "account %s with %d addresses", name, len(a.addresses))
	b.accounts = append(b.accounts, a)
}

// readProfile reads an account's profile and nothing else, without changing
// the file.
func readProfile(path string, id AccountID) (p profile, err error) {
	db, err := openMap(path, &bolt.Options{ReadOnly: true, PageSize: 4096, Timeout: time.Second})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return p, db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%w: %s", ErrCorrupt, path)
		}
		if has := meta.Get([]byte("account")); string(has) != string(id) {
			return fmt.Errorf("mail.db belongs to account %s and was put here by hand", has)
		}
		p = decodeProfile(meta.Get([]byte("profile")))
		return nil
	})
}

// create writes the new file and reads it through.
func (b *rebuild) create(path, id string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := createSystemAt(path, id); err != nil {
		return err
	}
	db, err := openSystem(path, id, &bolt.Options{})
	if err != nil {
		return err
	}
	st := &Store{log: slog.New(slog.DiscardHandler), id: id}
	st.clock = openClock(b.dir, nil, time.Time{})
	err = db.Update(func(tx *bolt.Tx) error {
		for _, a := range b.accounts {
			if err := b.put(st, tx, &a); err != nil {
				return err
			}
		}
		return countCommit(tx)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return mapError(err)
	}
	return st.verifySystem(path)
}

func (b *rebuild) put(st *Store, tx *bolt.Tx, a *foundAccount) error {
	slices.Sort(a.addresses)
	for _, address := range a.addresses {
		if err := st.addDomain(tx, DomainOf(address)); err != nil && !errors.Is(err, ErrDomainExists) {
			return err
		}
		row := Address{Address: address, Account: a.info.ID, Created: a.info.Created}
		if err := putSystem(tx, bucketAddresses, []byte(foldAddress(address)), encodeAddress(row)); err != nil {
			return err
		}
	}
	return errors.Join(putSystem(tx, bucketLogins, []byte(a.info.Name), []byte(a.info.ID)),
		putSystem(tx, bucketAccounts, []byte(a.info.ID), encodeAccount(a.info)))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
