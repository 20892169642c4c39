package storage

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Settings of an account; those that the household has under the same name
// are the default. An absent or empty one is not set.
const (
	// SettingQuota is the most octets of mail that it may hold; 0 for no limit.
	SettingQuota = "quota"
	// SettingQuotaMessages and SettingQuotaMailboxes are the same of messages
	// and mailboxes.
	SettingQuotaMessages  = "quota_messages"
	SettingQuotaMailboxes = "quota_mailboxes"
	// SettingKeptDays is for how many days expunged messages, and a deleted
	// account, are kept.
	SettingKeptDays = "kept_days"
	// SettingComment and SettingContact are what the server says of itself, and
	// how its people are reached (RFC 5464 §6.2). SettingAdmins names the
	// accounts that run the box, separated by blanks. Only of the household.
	SettingComment = "server_comment"
	SettingContact = "admin_contact"
	SettingAdmins  = "admins"
	// SettingHold, "true", forbids to remove anything for good. Only of an
	// account.
	SettingHold = "hold"
)

// defaultKeptDays is how long expunged messages are kept unless settings say
// otherwise; maxKeptDays is a century.
const (
	defaultKeptDays = 14
	maxKeptDays     = 36525
)

const oneDay = 24 * time.Hour

// A policy is what the settings say of an account's mail.
type policy struct {
	version uint64 // of the settings
	limits  Usage
	kept    time.Duration // for which expunged messages are kept
	hold    bool
	shared  bool // nobody logs in to it
	// err says that the settings can't be read: nothing is limited, and
	// nothing goes for good, until they can.
	err error
}

// knownPolicy is the account's policy as of the last change of settings.
type knownPolicy struct{ p atomic.Pointer[policy] }

// policy is what the settings say now. It reads system.db only after a change.
func (a *Account) policy() *policy {
	version := a.st.policies.Load()
	if p := a.rules.p.Load(); p != nil && p.version == version && p.err == nil {
		return p
	}
	p := a.st.policyOf(a.id)
	p.version = version
	a.rules.p.Store(p)
	return p
}

func (st *Store) policyOf(id AccountID) *policy {
	p := &policy{kept: defaultKeptDays * oneDay}
	info, err := st.AccountInfo(id)
	if err != nil {
		p.err = err
		return p
	}
	number := func(key string, def int64) int64 {
		n, err := st.numberSetting(info.Settings[key], key, def)
		p.err = errors.Join(p.err, err)
		return n
	}
	p.limits = Usage{Octets: number(SettingQuota, 0), Messages: number(SettingQuotaMessages, 0), Mailboxes: number(SettingQuotaMailboxes, 0)}
	p.kept = time.Duration(min(number(SettingKeptDays, defaultKeptDays), maxKeptDays)) * oneDay
	p.hold = info.Settings[SettingHold] == "true"
	p.shared = info.Shared()
	return p
}

// numberSetting is an account's setting, or where it has none the household's.
func (st *Store) numberSetting(own, key string, def int64) (int64, error) {
	if n, err := strconv.ParseInt(own, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	text, err := st.householdSetting(key)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	return def, err
}

// HouseholdSetting is a setting of the household as it holds: the machine's
// configuration wins. It is "" if it is not set.
func (st *Store) HouseholdSetting(key string) (string, error) { return st.householdSetting(key) }

// SettingsVersion counts the changes of what system.db holds.
func (st *Store) SettingsVersion() uint64 { return st.policies.Load() }

// settingShared is what the keys of the server's shared entries begin with
// (RFC 5464 §3.2.1.1), SettingComment and SettingContact aside.
const settingShared = "metadata:"

// ServerEntries are the server's shared entries by their names in lower case.
func (st *Store) ServerEntries() (map[string]string, error) {
	all, err := st.Settings()
	if err != nil {
		return nil, err
	}
	entries := map[string]string{}
	for key, value := range all {
		if name, ok := strings.CutPrefix(key, settingShared); ok {
			entries[name] = value
		}
	}
	return entries, nil
}

// SetServerEntry gives a shared entry of the server a value, or with ok false none.
func (st *Store) SetServerEntry(name, value string, ok bool) error {
	name = strings.ToLower(name)
	if !ok {
		return st.DeleteSetting(settingShared + name)
	}
	entries, err := st.ServerEntries()
	if err != nil {
		return err
	}
	if _, there := entries[name]; !there && len(entries) >= MaxAnnotations {
		return ErrTooManyAnnotations
	}
	return st.SetSetting(settingShared+name, value)
}

// SetHouseholdSetting changes a setting, or with "" gives it its default again.
// One that the machine's configuration has is refused.
func (st *Store) SetHouseholdSetting(key, value string) error {
	if _, ok := st.opts.Fixed[key]; ok {
		return &NameError{Name: key, Why: "is fixed in the configuration of the machine"}
	}
	if value == "" {
		return st.DeleteSetting(key)
	}
	return st.SetSetting(key, value)
}

// householdSetting is a setting as it holds: the machine's configuration wins.
func (st *Store) householdSetting(key string) (string, error) {
	if v, ok := st.opts.Fixed[key]; ok {
		return v, nil
	}
	v, _, err := st.Setting(key)
	return v, err
}
