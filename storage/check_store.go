package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Check reads system.db and every account, without the contents of all
// messages, and returns what is wrong with them: nothing when all is sound.
func (st *Store) Check() (findings []string, err error) {
	_, err = st.CheckEach(context.Background(), CheckOptions{Quick: true}, func(f Finding) error {
		findings = append(findings, f.String())
		return nil
	})
	return findings, err
}

// CheckEach reads system.db and the accounts through, and calls tell with what
// it finds and, if it is to repair, with what it does. tell may be slow: mail
// is served meanwhile. left is how many findings there are at the end.
func (st *Store) CheckEach(ctx context.Context, o CheckOptions, tell func(Finding) error) (left int, err error) {
	if o.Account != "" {
		info, err := st.FindAccount(o.Account)
		if err != nil {
			return 0, err
		}
		return st.checkAccount(ctx, o, info, tell)
	}
	left, err = st.checkSystemEach(ctx, o, tell)
	if err != nil {
		return left, err
	}
	accounts, err := st.Accounts()
	if errors.Is(err, ErrCorrupt) {
		return left, nil // told already: which accounts there are can't be said
	}
	for _, info := range accounts {
		if err != nil {
			break
		}
		var n int
		n, err = st.checkAccount(ctx, o, info, tell)
		left += n
	}
	return left, err
}

func (st *Store) checkAccount(ctx context.Context, o CheckOptions, info AccountInfo, tell func(Finding) error) (left int, err error) {
	a, err := st.Account(info.ID)
	if errors.Is(err, ErrNoAccount) {
		return 0, nil // deleted meanwhile
	}
	if err != nil {
		return 0, err
	}
	r := &checkReport{ctx: ctx, repair: o.Repair, name: info.Name, id: info.ID, tell: tell}
	if gone := a.missing(); gone != "" {
		if gone == a.dir && o.Account == "" {
			return 0, nil // told with the household
		}
		r.kind = "files"
		r.line(Found, "%s is missing: put it back, or restore it from a backup", gone)
		r.flush()
		return 1, r.failed
	}
	if err := a.check(r, o.Quick); err != nil {
		if isClosed(err) || ctx.Err() != nil || r.failed != nil {
			return r.left, err
		}
		r.kind = "account"
		r.line(Found, "%v", err)
		r.flush()
		r.left++
	}
	return r.left, r.failed
}

// missing is which of the files without which there is no account is not there.
func (a *Account) missing() string {
	for _, path := range []string{a.dir, filepath.Join(a.dir, "mail.db")} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// checkSystemEach checks system.db, its copy and the folders.
func (st *Store) checkSystemEach(ctx context.Context, o CheckOptions, tell func(Finding) error) (left int, err error) {
	r := &checkReport{ctx: ctx, repair: o.Repair, tell: tell}
	pages := func() error {
		return st.useSys(func(sys *boltFile) error { return r.auditDB(systemFile, sys) })
	}
	rows := func() error {
		findings, _, err := st.checkHousehold()
		for _, f := range findings {
			r.find("%s", f)
		}
		return err
	}
	for _, s := range []checkStep{
		{"system", pages, nil},
		{"household", rows, func() error { return st.mendSystem(r) }},
		{"system copy", func() error { return st.lookAtCopy(r) }, func() error {
			r.did("%s is copied to %s", systemFile, systemCopyFile)
			return st.copySystem()
		}},
		{"events", func() error { return st.lookAtEvents(r) }, func() error { return st.mendEvents(r) }},
	} {
		if err := r.run(&s); err != nil {
			return r.left, err
		}
	}
	return r.left, nil
}

// lookAtCopy checks system.db.1. One that is about to be made anew is passed
// over.
func (st *Store) lookAtCopy(r *checkReport) error {
	st.copies.mu.Lock()
	defer st.copies.mu.Unlock()
	path := filepath.Join(st.dir, systemCopyFile)
	if st.copies.pending {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		r.find("%s is missing", systemCopyFile)
		return nil
	}
	if err := st.verifySystem(path); err != nil {
		r.find("%v", err)
	}
	return nil
}

// mendSystem mends what system.db derives from other rows, and takes values
// that fail their checksum from its copy.
func (st *Store) mendSystem(r *checkReport) error {
	st.admin.Lock()
	defer st.admin.Unlock()
	copied := st.copiedValues()
	defer r.flush()
	return st.update(func(tx *bolt.Tx) error {
		for _, b := range systemBuckets {
			if err := mendValues(r, tx, b, copied[string(b)]); err != nil {
				return err
			}
		}
		return st.mendLogins(r, tx)
	})
}

// copiedValues are the sound values of system.db.1.
func (st *Store) copiedValues() map[string]map[string][]byte {
	all := map[string]map[string][]byte{}
	db, err := openSystem(filepath.Join(st.dir, systemCopyFile), st.id, &bolt.Options{ReadOnly: true})
	if err != nil {
		return all
	}
	defer db.Close()
	_ = db.View(func(tx *bolt.Tx) error {
		for _, name := range systemBuckets {
			values := map[string][]byte{}
			all[string(name)] = values
			_ = tx.Bucket(name).ForEach(func(k, v []byte) error {
				if _, err := unsealSystem(k, v); err == nil {
					values[string(k)] = append([]byte(nil), v...)
				}
				return nil
			})
		}
		return nil
	})
	return all
}

// mendValues mends the values of a bucket that fail their checksum.
func mendValues(r *checkReport, tx *bolt.Tx, bucket []byte, copied map[string][]byte) error {
	b := tx.Bucket(bucket)
	mended := map[string][]byte{}
	_ = b.ForEach(func(k, v []byte) error {
		if _, err := unsealSystem(k, v); err == nil {
			return nil
		}
		if m, ok := mendByte(v, func(v []byte) bool { _, err := unsealSystem(k, v); return err == nil }); ok {
			r.did("%s, %s: the value of %.40q is mended: one byte had changed", systemFile, bucket, k)
			mended[string(k)] = m
		} else if c := copied[string(k)]; c != nil {
			r.did("%s, %s: the value of %.40q is taken from %s", systemFile, bucket, k, systemCopyFile)
			mended[string(k)] = c
		}
		return nil
	})
	for k, v := range mended {
		if err := b.Put([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// mendLogins makes the index of names anew from the accounts, adds domains that
// addresses have, and drops addresses and credentials of no account.
func (st *Store) mendLogins(r *checkReport, tx *bolt.Tx) error {
	accounts, names := map[AccountID]AccountInfo{}, map[string]AccountID{}
	whole := eachSystem(tx, bucketAccounts, nil, func(k, data []byte) error {
		info, err := decodeAccount(k, data)
		accounts[info.ID], names[info.Name] = info, info.ID
		return err
	})
	if whole != nil {
		return nil // who has what can't be said
	}
	var bad [][2][]byte // bucket and key
	drop := func(bucket, key []byte, what string) {
		r.did("%s: %s", systemFile, what)
		bad = append(bad, [2][]byte{bucket, append([]byte(nil), key...)})
	}
	have := map[string]bool{}
	_ = tx.Bucket(bucketLogins).ForEach(func(k, v []byte) error {
		data, err := unsealSystem(k, v)
		if id, ok := names[string(k)]; err != nil || !ok || id != AccountID(data) {
			drop(bucketLogins, k, fmt.Sprintf("name %q led to no account of that name", k))
		} else {
			have[string(k)] = true
		}
		return nil
	})
	var domains []string
	_ = eachSystem(tx, bucketAddresses, nil, func(k, data []byte) error {
		a, err := decodeAddress(data)
		if _, ok := accounts[a.Account]; err != nil || !ok || string(k) != foldAddress(a.Address) {
			drop(bucketAddresses, k, fmt.Sprintf("address %s belonged to no account, or lay under another key", a.Address))
		} else {
			domains = append(domains, DomainOf(a.Address))
		}
		return nil
	})
	_ = tx.Bucket(bucketCredentials).ForEach(func(k, _ []byte) error {
		id, _, _ := strings.Cut(string(k), "/")
		if _, ok := accounts[AccountID(id)]; !ok {
			drop(bucketCredentials, k, fmt.Sprintf("a credential of no account (%s) is dropped", id))
		}
		return nil
	})
	for _, b := range bad {
		if err := tx.Bucket(b[0]).Delete(b[1]); err != nil {
			return err
		}
	}
	for name, id := range names {
		if !have[name] {
			r.did("%s: account %q can be found by its name", systemFile, name)
			if err := putSystem(tx, bucketLogins, []byte(name), []byte(id)); err != nil {
				return err
			}
		}
	}
	return st.addDomains(tx, domains)
}

func (st *Store) addDomains(tx *bolt.Tx, domains []string) error {
	for _, d := range domains {
		if err := st.addDomain(tx, d); err != nil && !errors.Is(err, ErrDomainExists) {
			return err
		}
	}
	return nil
}
