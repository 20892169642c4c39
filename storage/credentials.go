package storage

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A Credential is a row of what auth keeps to check an account's logins.
// KindPassword is what every nestbox knows; rows of kinds that it doesn't know
// stay as they are.
type Credential struct {
	Kind  string // without NUL
	Value []byte // nil in a change: the row goes
}

const (
	// KindPassword is the row of the main password.
	KindPassword = "password"
	// usedPrefix begins the kind of a row that says when another was last used.
	usedPrefix = "used/"
)

func credentialKey(id AccountID, kind string) []byte { return []byte(string(id) + "/" + kind) }

// Credentials returns all rows of an account, in the order of their kinds.
func (st *Store) Credentials(id AccountID) (all []Credential, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		all, err = readCredentials(tx, id)
		return err
	})
	return all, err
}

func readCredentials(tx *bolt.Tx, id AccountID) (all []Credential, err error) {
	if tx.Bucket(bucketAccounts).Get([]byte(id)) == nil {
		return nil, ErrNoAccount
	}
	prefix := credentialKey(id, "")
	err = eachSystem(tx, bucketCredentials, prefix, func(k, data []byte) error {
		if kind := string(k[len(prefix):]); !strings.HasPrefix(kind, usedPrefix) {
			all = append(all, Credential{Kind: kind, Value: bytes.Clone(data)})
		}
		return nil
	})
	return all, err
}

// A CredentialChange is what to change of an account's rows.
type CredentialChange struct {
	Set []Credential
	// Ends tells of the row that a session logged in with whether the session must
	// end, with Why; nil: none does.
	Ends func(kind string) bool
	Why  string
	// ActingWhy is why sessions must end in which the account acts for another;
	// "": they needn't.
	ActingWhy string
}

// ChangeCredentials changes rows in one commit, by what is there now.
func (st *Store) ChangeCredentials(id AccountID, change func(now []Credential) (CredentialChange, error)) error {
	var c CredentialChange
	err := st.update(func(tx *bolt.Tx) error {
		now, err := readCredentials(tx, id)
		if err == nil {
			c, err = change(now)
		}
		if err != nil {
			return err
		}
		return putCredentials(tx, id, c.Set)
	})
	if err == nil && c.Ends != nil {
		st.endLoginsBy(id, c.Ends, c.Why)
	}
	if err == nil && c.ActingWhy != "" {
		st.endLoginsWhere(id, func(l *Login) bool { return l.actor() == id }, c.ActingWhy)
	}
	return err
}

func putCredentials(tx *bolt.Tx, id AccountID, rows []Credential) error {
	b := tx.Bucket(bucketCredentials)
	for _, r := range rows {
		var err error
		if r.Value != nil {
			err = putSystem(tx, bucketCredentials, credentialKey(id, r.Kind), r.Value)
		} else if err = b.Delete(credentialKey(id, r.Kind)); err == nil {
			err = b.Delete(credentialKey(id, usedPrefix+r.Kind))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A credentialUse is the row that a login used.
type credentialUse struct {
	id   AccountID
	kind string
}

// NoteUse notes in memory that a row was used now. It reaches the disk with the
// next commit of notes, and when the store closes: a login writes nothing.
func (st *Store) NoteUse(id AccountID, kind string) {
	st.keepUses(map[credentialUse]time.Time{{id, kind}: st.now().UTC().Truncate(time.Second)})
}

// CredentialUses returns when rows of an account were last used, by their kinds.
func (st *Store) CredentialUses(id AccountID) (map[string]time.Time, error) {
	uses := map[string]time.Time{}
	err := st.view(func(tx *bolt.Tx) error {
		prefix := credentialKey(id, usedPrefix)
		return eachSystem(tx, bucketCredentials, prefix, func(k, data []byte) error {
			uses[string(k[len(prefix):])] = systemTime(data)
			return nil
		})
	})
	st.notes.Lock()
	defer st.notes.Unlock()
	for u, t := range st.notes.used {
		if u.id == id {
			uses[u.kind] = t
		}
	}
	return uses, err
}

// takeUses returns what is to be written of uses, and forgets it.
func (st *Store) takeUses() map[credentialUse]time.Time {
	st.notes.Lock()
	defer st.notes.Unlock()
	used := st.notes.used
	st.notes.used = nil
	return used
}

// keepUses has uses written the next time.
func (st *Store) keepUses(used map[credentialUse]time.Time) {
	st.notes.Lock()
	defer st.notes.Unlock()
	for u, t := range used {
		if st.notes.used == nil {
			st.notes.used = map[credentialUse]time.Time{}
		}
		if t.After(st.notes.used[u]) {
			st.notes.used[u] = t
		}
	}
}

// putUses writes uses of rows that are there.
func putUses(tx *bolt.Tx, used map[credentialUse]time.Time) error {
	for u, t := range used {
		if tx.Bucket(bucketCredentials).Get(credentialKey(u.id, u.kind)) == nil {
			continue // revoked meanwhile
		}
		at := binary.LittleEndian.AppendUint64(nil, uint64(t.Unix()))
		if err := putSystem(tx, bucketCredentials, credentialKey(u.id, usedPrefix+u.kind), at); err != nil {
			return err
		}
	}
	return nil
}
