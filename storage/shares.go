package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Kinds of accounts, and who is in which group, are settings of the account:
// they come along when system.db is made anew from the folders.
const (
	// SettingKind is "shared" for an account that nobody logs in to.
	SettingKind = "kind"
	// SettingGroups are the groups that the account is in, parted by blanks.
	SettingGroups = "groups"

	kindShared = "shared"
)

// Shared reports whether the account is one that nobody logs in to.
func (info *AccountInfo) Shared() bool { return info.Settings[SettingKind] == kindShared }

// Groups are the groups that the account is in.
func (info *AccountInfo) Groups() []string { return strings.Fields(info.Settings[SettingGroups]) }

// Principal is an account as ACLs see it now.
func (st *Store) Principal(id AccountID) (*Principal, error) {
	info, err := st.AccountInfo(id)
	return &Principal{Account: id, Groups: info.Groups()}, err
}

// CreateSharedAccount makes an account without a login, whose mailboxes are
// for those whom their ACLs name.
func (st *Store) CreateSharedAccount(name string) (AccountInfo, error) {
	info, err := st.CreateAccount(name, nil)
	if err != nil {
		return info, err
	}
	if err := st.SetAccountSetting(info.ID, SettingKind, kindShared); err != nil {
		return info, err
	}
	return st.AccountInfo(info.ID)
}

// SetGroup puts an account into a group or takes it out. A group is there as
// long as somebody is in it.
func (st *Store) SetGroup(id AccountID, group string, in bool) error {
	group, err := groupName(group)
	if err != nil {
		return err
	}
	err = st.changeAccount(
		func(tx *bolt.Tx) (AccountInfo, error) { return accountByID(tx, id) },
		func(_ *bolt.Tx, info *AccountInfo) error {
			groups := slices.DeleteFunc(info.Groups(), func(g string) bool { return g == group })
			if in {
				groups = append(groups, group)
			}
			if info.Settings == nil {
				info.Settings = map[string]string{}
			}
			slices.Sort(groups)
			info.Settings[SettingGroups] = strings.Join(groups, " ")
			if len(groups) == 0 {
				delete(info.Settings, SettingGroups)
			}
			return nil
		})
	if err == nil {
		st.wakeWatchers() // what they may see may be another
	}
	return err
}

// groupName is the form in which a group's name is stored; a "$" in front is
// not part of it.
func groupName(name string) (string, error) {
	name, err := CanonicalName(strings.TrimPrefix(name, "$"))
	if err == nil && strings.ContainsAny(name, " $") {
		err = &NameError{Name: name, Why: "is not the name of a group: it has a blank or a $ in it"}
	}
	return name, err
}

// wakeWatchers wakes all sessions that watch a mailbox.
func (st *Store) wakeWatchers() {
	st.mu.Lock()
	accounts := make([]*Account, 0, len(st.accounts))
	for _, a := range st.accounts {
		accounts = append(accounts, a)
	}
	st.mu.Unlock()
	for _, a := range accounts {
		a.watch.wakeAll()
	}
}

func (ws *watchers) wakeAll() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, list := range ws.all {
		for _, e := range list {
			e.w.Wake()
		}
	}
	for _, e := range ws.over.every {
		e.w.Wake()
	}
}

// Identifier is what a client's identifier stands for: a name or an address of
// an account, a group, anyone. An identifier that can't be one is a *NameError;
// one that stands for nobody is ErrNoAccount.
func (st *Store) Identifier(text string) (Identifier, error) {
	base, negative := strings.CutPrefix(text, "-")
	sign := Identifier("")
	if negative {
		sign = "-"
	}
	switch {
	case strings.EqualFold(base, string(Anyone)):
		return sign + Anyone, nil
	case strings.HasPrefix(base, "$"):
		group, err := groupName(base)
		return sign + Identifier("$"+group), err
	case strings.HasPrefix(base, "="):
		return sign + Identifier(base), nil // as IdentifierName gives it of an account that is gone
	}
	if _, err := CanonicalName(base); err != nil {
		return "", err
	}
	info, err := st.FindAccount(base)
	return sign + AccountIdentifier(info.ID), err
}

// IdentifierName is the identifier as clients see it.
func (st *Store) IdentifierName(who Identifier) string {
	base, negative := who.positive()
	id, ok := strings.CutPrefix(string(base), "=")
	if !ok {
		return string(who)
	}
	info, err := st.AccountInfo(AccountID(id))
	if err != nil {
		return string(who)
	}
	if negative {
		return "-" + info.Name
	}
	return info.Name
}

// The index of shares in system.db says of each account and identifier which
// rights the ACLs of its mailboxes grant to that identifier, all together
// (schema_system.go). It is a help, to open no account in vain: what counts is
// in the mailbox rows. It may have too much, never too little.

func shareKey(who Identifier, id AccountID) []byte { return []byte(string(who) + "\x00" + string(id)) }

// sharesIn are the rights that the mailboxes grant, by identifier.
func sharesIn(all map[Identifier]Rights, m *Mailbox) {
	for _, e := range m.ACL {
		if _, negative := e.Who.positive(); !negative && e.Rights != 0 {
			all[e.Who] |= e.Rights
		}
	}
}

// addShares sees that the index has what an account is about to grant.
func (st *Store) addShares(id AccountID, more map[Identifier]Rights) error {
	missing := false
	err := st.view(func(tx *bolt.Tx) error {
		for who, rights := range more {
			have, err := shareOf(tx, who, id)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				return err
			}
			missing = missing || rights&^have != 0
		}
		return nil
	})
	if err != nil || !missing {
		return err
	}
	defer st.wakeWatchers() // somebody may see mailboxes of an account that had none for it
	return st.update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketShares); err != nil {
			return err
		}
		for who, rights := range more {
			have, _ := shareOf(tx, who, id) // a damaged one is written anew
			if err := putSystem(tx, bucketShares, shareKey(who, id), binary.LittleEndian.AppendUint16(nil, uint16(have|rights))); err != nil {
				return err
			}
		}
		return nil
	})
}

// noteShares completes the index by an account that is opened: system.db may
// be older than it, or the account from a backup.
func (f *files) noteShares() {
	if len(f.shares) == 0 {
		return
	}
	if err := f.a.st.addShares(f.a.id, f.shares); err != nil {
		f.a.st.log.Warn("acl_index_failed", "account", string(f.a.id), "error", err)
	}
}

func shareOf(tx *bolt.Tx, who Identifier, id AccountID) (Rights, error) {
	if tx.Bucket(bucketShares) == nil {
		return 0, nil
	}
	data, err := getSystem(tx, bucketShares, shareKey(who, id))
	if err != nil || len(data) != 2 {
		return 0, err
	}
	return Rights(binary.LittleEndian.Uint16(data)), nil
}

// trimShares takes out of the index what no mailbox of the account grants. No
// ACL may change meanwhile.
func (a *Account) trimShares() error {
	boxes, err := a.Mailboxes()
	if err != nil {
		return err
	}
	now := map[Identifier]Rights{}
	for i := range boxes {
		sharesIn(now, &boxes[i])
	}
	stale := map[Identifier]Rights{}
	look := func(tx *bolt.Tx) error {
		clear(stale)
		if tx.Bucket(bucketShares) == nil {
			return nil
		}
		return eachSystem(tx, bucketShares, nil, func(k, data []byte) error {
			who, id, _ := bytes.Cut(k, []byte{0})
			if string(id) == string(a.id) && len(data) == 2 && Rights(binary.LittleEndian.Uint16(data)) != now[Identifier(who)] {
				stale[Identifier(who)] = now[Identifier(who)]
			}
			return nil
		})
	}
	if err := a.st.view(look); err != nil || len(stale) == 0 {
		return err
	}
	return a.st.update(func(tx *bolt.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		for who, rights := range stale {
			var err error
			if rights == 0 {
				err = tx.Bucket(bucketShares).Delete(shareKey(who, a.id))
			} else {
				err = putSystem(tx, bucketShares, shareKey(who, a.id), binary.LittleEndian.AppendUint16(nil, uint16(rights)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Shares lists the accounts in which p may have one of the rights in some
// mailbox, by name. No account's files are opened.
func (st *Store) Shares(p *Principal, need Rights) (all []AccountInfo, err error) {
	err = st.view(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketShares) == nil {
			return nil
		}
		found := map[AccountID]bool{p.Account: true} // its own isn't shared with it
		for _, who := range p.identifiers() {
			prefix := shareKey(who, "")
			err := eachSystem(tx, bucketShares, prefix, func(k, data []byte) error {
				id := AccountID(k[len(prefix):])
				if found[id] || len(data) != 2 || Rights(binary.LittleEndian.Uint16(data))&need == 0 {
					return nil
				}
				found[id] = true
				info, err := accountByID(tx, id)
				if errors.Is(err, ErrNoAccount) {
					return nil // deleted: it may come back
				}
				all = append(all, info)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b AccountInfo) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// HasGroup reports whether somebody is in the group of an identifier.
func (st *Store) HasGroup(who Identifier) (bool, error) {
	all, err := st.Accounts()
	return slices.ContainsFunc(all, func(info AccountInfo) bool {
		return slices.ContainsFunc(info.Groups(), func(g string) bool { return Identifier("$"+g) == who })
	}), err
}
