package storage

import (
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The fields of a stored profile (see mailbox_row.go for the form).
const (
	profileName byte = iota + 1
	profileAddress
	profileSetting // key, NUL, value
)

func (p profile) encode() []byte {
	b := appendField(nil, profileName, []byte(p.Name))
	for _, a := range p.Addresses {
		b = appendField(b, profileAddress, []byte(a))
	}
	keys := make([]string, 0, len(p.Settings))
	for k := range p.Settings {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = appendField(b, profileSetting, []byte(k+"\x00"+p.Settings[k]))
	}
	return b
}

func decodeProfile(b []byte) profile {
	p := profile{Settings: map[string]string{}}
	_ = fields(b, func(tag byte, value []byte) error { // a copy: what is left of it is better than nothing
		switch tag {
		case profileName:
			p.Name = string(value)
		case profileAddress:
			p.Addresses = append(p.Addresses, string(value))
		case profileSetting:
			if i := slices.Index(value, 0); i >= 0 {
				p.Settings[string(value[:i])] = string(value[i+1:])
			}
		}
		return nil
	})
	return p
}

// renewProfile is a step of opening the account: a crash may have come between
// a change in system.db and the copy of it here.
func (f *files) renewProfile() {
	p, err := f.a.st.profile(f.a.id)
	if err != nil {
		return // of an account that is being made, or read without its household
	}
	want, same := p.encode(), false
	err = f.mail.View(func(tx *bolt.Tx) error {
		same = string(tx.Bucket(bucketMeta).Get([]byte("profile"))) == string(want)
		return nil
	})
	if err == nil && !same {
		err = f.mail.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("profile"), want) })
	}
	if err != nil {
		f.a.st.log.Warn("profile_copy_failed", "account", string(f.a.id), "error", err)
	}
}
