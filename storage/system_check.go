package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// checkHousehold checks system.db and the folders, while no change of
// accounts is half done. The mail is read through without that lock: it may
// take minutes.
func (st *Store) checkHousehold() (findings []string, accounts []AccountInfo, err error) {
	st.admin.Lock()
	defer st.admin.Unlock()
	err = st.view(func(tx *bolt.Tx) error {
		findings = checkSystemRows(tx)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	accounts, err = st.Accounts()
	if errors.Is(err, ErrCorrupt) {
		return findings, nil, nil // the rows that can't be read are among the findings
	}
	if err != nil {
		return nil, nil, err
	}
	more, err := st.checkFolders(accounts)
	return append(findings, more...), accounts, err
}

// checkFolders compares the folders with the accounts. An unknown one may be
// a crash's, or one that was put back by hand: it is named and left alone.
func (st *Store) checkFolders(accounts []AccountInfo) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(st.dir, accountsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	have := map[string]bool{}
	for _, e := range entries {
		have[e.Name()] = true
	}
	var findings []string
	for _, info := range accounts {
		if !have[string(info.ID)] {
			findings = append(findings, fmt.Sprintf("account %s (%s) has no folder: put %s back, or restore it from a backup",
				info.Name, info.ID, filepath.Join(st.dir, accountsFolder, string(info.ID))))
		}
		delete(have, string(info.ID))
	}
	for name := range have {
		if !strings.HasSuffix(name, deletedSuffix) && !strings.HasSuffix(name, ".new") && !strings.HasSuffix(name, erasedSuffix) && !strings.HasSuffix(name, makingSuffix) {
			findings = append(findings, fmt.Sprintf("folder %s/%s belongs to no account: if system.db was put back from before it was made, `nestbox check --rebuild` finds it", accountsFolder, name))
		}
	}
	return findings, nil
}

// checkSystem reads a copy of system.db through that nobody writes to: bbolt's
// pages and what they hold.
func checkSystem(tx *bolt.Tx) (findings []string) {
	for err := range tx.Check() {
		findings = append(findings, fmt.Sprintf("%s: %v", systemFile, err))
	}
	return append(findings, checkSystemRows(tx)...)
}

// checkSystemRows reads all checksums, and sees whether names, addresses,
// accounts and credentials fit together.
func checkSystemRows(tx *bolt.Tx) []string {
	var c systemChecker
	accounts := map[AccountID]AccountInfo{}
	c.each(tx, bucketAccounts, func(k, data []byte) error {
		info, err := decodeAccount(k, data)
		accounts[info.ID] = info
		return err
	})
	named := map[AccountID]string{}
	c.each(tx, bucketLogins, func(k, data []byte) error {
		id := AccountID(data)
		if accounts[id].Name != string(k) {
			c.add("%s: name %q leads to account %s, which has another or is not there", systemFile, k, id)
		}
		named[id] = string(k)
		return nil
	})
	for id, info := range accounts {
		if named[id] == "" {
			c.add("%s: account %s (%s) can't be found by its name", systemFile, info.Name, id)
		}
	}
	domains := map[string]bool{}
	c.each(tx, bucketDomains, func(k, _ []byte) error {
		domains[string(k)] = true
		return nil
	})
	c.each(tx, bucketAddresses, func(k, data []byte) error {
		a, err := decodeAddress(data)
		if err != nil {
			return err
		}
		if _, ok := accounts[a.Account]; !ok {
			c.add("%s: address %s belongs to no account", systemFile, a.Address)
		}
		if string(k) != foldAddress(a.Address) || !domains[DomainOf(a.Address)] {
			c.add("%s: address %s is under a wrong key or has no domain", systemFile, a.Address)
		}
		return nil
	})
	c.each(tx, bucketCredentials, func(k, _ []byte) error {
		id, _, _ := strings.Cut(string(k), "/")
		if _, ok := accounts[AccountID(id)]; !ok {
			c.add("%s: a credential belongs to no account (%s)", systemFile, id)
		}
		return nil
	})
	nothing := func(_, _ []byte) error { return nil }
	for _, bucket := range [][]byte{bucketMeta, bucketDeleted, bucketSettings, bucketSecrets} {
		c.each(tx, bucket, nothing)
	}
	if tx.Bucket(bucketACME) != nil {
		c.each(tx, bucketACME, checkACME)
	}
	if tx.Bucket(bucketInvites) != nil {
		c.each(tx, bucketInvites, checkInvite)
	}
	return c.findings
}

type systemChecker struct{ findings []string }

func (c *systemChecker) add(format string, args ...any) {
	c.findings = append(c.findings, fmt.Sprintf(format, args...))
}

func (c *systemChecker) each(tx *bolt.Tx, bucket []byte, f func(key, data []byte) error) {
	if err := eachSystem(tx, bucket, nil, f); err != nil {
		c.add("bucket %s: %v", bucket, err)
	}
}
