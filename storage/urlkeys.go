package storage

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// URLKeySize is the length of a mailbox access key (RFC 4467 §2.2).
const URLKeySize = 32

// A URL that lets others read a message is good as long as the key is there
// with which it was signed. Each account has keys of its own, one a mailbox.

// URLKey is the account's key for URLs into a mailbox, nil if there is none.
func (a *Account) URLKey(id MailboxID) (key []byte, err error) {
	err = a.read(func(_ *files, tx *bolt.Tx) error {
		key, err = urlKey(tx, id)
		return err
	})
	return key, err
}

func urlKey(tx *bolt.Tx, id MailboxID) ([]byte, error) {
	keys := tx.Bucket(bucketURLKeys)
	if keys == nil {
		return nil, nil
	}
	b := keys.Get(id[:])
	if b != nil && len(b) != URLKeySize {
		return nil, fmt.Errorf("%w: URL key of mailbox %s", ErrCorrupt, id)
	}
	return bytes.Clone(b), nil
}

// MakeURLKey gives the account a key for URLs into a mailbox, if it has none or
// fresh is set. A fresh one makes all URLs worthless that were signed with the
// old one.
func (a *Account) MakeURLKey(id MailboxID, fresh bool) (key []byte, err error) {
	err = a.do(mailboxRequest(func(w *txn) error {
		if !fresh {
			key, err = urlKey(w.tx, id)
			if key != nil || err != nil {
				return err
			}
		}
		key = make([]byte, URLKeySize)
		_, _ = rand.Read(key) // it never fails
		keys, err := w.tx.CreateBucketIfNotExists(bucketURLKeys)
		if err != nil {
			return fatal(err)
		}
		w.dirty = true
		return fatal(keys.Put(id[:], key))
	}))
	if err != nil {
		return nil, err
	}
	if fresh {
		a.urlKeys.changed(id)
	}
	return key, nil
}

// DropURLKeys removes all of the account's keys: no URL that it signed is good
// any more.
func (a *Account) DropURLKeys() error {
	return a.do(mailboxRequest(func(w *txn) error {
		if w.tx.Bucket(bucketURLKeys) == nil {
			return nil
		}
		w.dirty = true
		return fatal(w.tx.DeleteBucket(bucketURLKeys))
	}))
}

// dropURLKey removes the key of a mailbox that is deleted.
func (w *txn) dropURLKey(id MailboxID) error {
	if keys := w.tx.Bucket(bucketURLKeys); keys != nil {
		return fatal(keys.Delete(id[:]))
	}
	return nil
}

// SettingURLSubmitters lists the logins of mail submission servers: they may
// fetch by URLs made for "submit+" somebody (RFC 4467 §3). Only of the household.
const SettingURLSubmitters = "url_submitters"

// IsURLSubmitter reports whether the account is a submission server's.
func (st *Store) IsURLSubmitter(id AccountID) (bool, error) {
	list, err := st.householdSetting(SettingURLSubmitters)
	for _, login := range strings.Fields(list) {
		if info, ferr := st.FindAccount(login); ferr == nil && info.ID == id {
			return true, err
		}
	}
	return false, err
}

// URLKeyChanges counts how often the account's key for a mailbox was made anew
// since the process started.
func (a *Account) URLKeyChanges(id MailboxID) uint64 {
	a.urlKeys.mu.Lock()
	defer a.urlKeys.mu.Unlock()
	return a.urlKeys.count[id]
}

// urlKeyChanges is what sessions compare with what their client was told.
type urlKeyChanges struct {
	mu    sync.Mutex
	count map[MailboxID]uint64
}

func (c *urlKeyChanges) changed(id MailboxID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[MailboxID]uint64{}
	}
	c.count[id]++
}
