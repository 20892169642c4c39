package storage

import (
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Credential returns what auth made of an account's password, nil when it has none.
func (st *Store) Credential(id AccountID) (c []byte, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketAccounts).Get([]byte(id)) == nil {
			return ErrNoAccount
		}
		b, err := getSystem(tx, bucketCredentials, credentialKey(id, KindPassword))
		c = slices.Clone(b)
		return err
	})
	return c, err
}

// SetCredential stores what auth made of an account's password; empty, nobody
// can log in.
//
// Sessions that logged in with the one before end.
func (st *Store) SetCredential(id AccountID, c []byte) error {
	err := st.update(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketAccounts).Get([]byte(id)) == nil {
			return ErrNoAccount
		}
		if len(c) == 0 {
			return tx.Bucket(bucketCredentials).Delete(credentialKey(id, KindPassword))
		}
		return putSystem(tx, bucketCredentials, credentialKey(id, KindPassword), c)
	})
	if err == nil {
		st.endLogins(id, "the password was changed")
	}
	return err
}

// maxSettingKey and maxSetting bound what callers can put in.
const (
	maxSettingKey = 255
	maxSetting    = 64 << 10
)

func checkSetting(key string, value []byte) error {
	if key == "" || len(key) > maxSettingKey {
		return &NameError{Name: key, Why: fmt.Sprintf("must have 1 to %d bytes", maxSettingKey)}
	}
	if len(value) > maxSetting {
		return &LimitError{What: "bytes in a setting", Max: maxSetting}
	}
	return nil
}

// Setting returns a setting of the household, and whether it is set.
func (st *Store) Setting(key string) (value string, ok bool, err error) {
	b, err := st.systemValue(bucketSettings, key)
	return string(b), b != nil, err
}

// SetSetting changes a setting of the household. What keys and values are
// good for is config's business.
func (st *Store) SetSetting(key, value string) error {
	return st.setSystemValue(bucketSettings, key, []byte(value))
}

// DeleteSetting gives a setting its default again.
func (st *Store) DeleteSetting(key string) error {
	return st.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketSettings).Delete([]byte(key)) })
}

// Settings returns all settings of the household that are set.
func (st *Store) Settings() (map[string]string, error) {
	all := map[string]string{}
	err := st.view(func(tx *bolt.Tx) error {
		return eachSystem(tx, bucketSettings, nil, func(k, data []byte) error {
			all[string(k)] = string(data)
			return nil
		})
	})
	return all, err
}

// Secret returns a certificate or key, nil when there is none of that name.
func (st *Store) Secret(name string) ([]byte, error) { return st.systemValue(bucketSecrets, name) }

// SetSecret stores a certificate or key.
func (st *Store) SetSecret(name string, b []byte) error {
	return st.setSystemValue(bucketSecrets, name, b)
}

// DeleteSecret forgets a certificate or key.
func (st *Store) DeleteSecret(name string) error {
	return st.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketSecrets).Delete([]byte(name)) })
}

// systemValue copies a value out, not nil when it is there.
func (st *Store) systemValue(bucket []byte, key string) (value []byte, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		b, err := getSystem(tx, bucket, []byte(key))
		value = slices.Clone(b)
		return err
	})
	return value, err
}

func (st *Store) setSystemValue(bucket []byte, key string, value []byte) error {
	if err := checkSetting(key, value); err != nil {
		return err
	}
	return st.update(func(tx *bolt.Tx) error { return putSystem(tx, bucket, []byte(key), value) })
}
