package auth

import (
	"bytes"
	"errors"

	"nestbox/storage"
)

// foreignSource are the hashes that came along from other servers. One that was
// the right one is replaced by a verifier (Authenticator.renew).
type foreignSource struct{}

func (foreignSource) match(c *claim) error {
	h := c.secrets.foreign
	if c.reason != "" {
		h = c.decoy.foreign
	}
	if h == nil {
		return nil
	}
	ok, err := h.matches(c.raw)
	if errors.Is(err, ErrHash) { // it can't be computed here
		c.reason = "hash_unusable"
		return nil
	}
	if err == nil && ok && c.reason == "" {
		c.matched = c.secrets.find(kindForeign)
	}
	return err
}

// A decoy is what is computed for a claim that can't succeed.
type decoy struct {
	verifier
	foreign foreignHash
	both    bool // or else foreign alone
}

// decoyFor makes a claim cost what it would if it could succeed; one of an
// account that doesn't exist what one of the others costs, always the same.
func (a *Authenticator) decoyFor(c *claim) (decoy, error) {
	d := decoy{verifier: a.decoyVerifier(c.login)}
	s := &c.secrets
	if !c.known || s.none() {
		others, err := a.foreignAccounts()
		if err != nil {
			return d, err
		}
		var most []byte
		for i := range others {
			if weight := sum(a.decoy, string(others[i].id)+" "+c.login); bytes.Compare(weight, most) > 0 {
				most, s = weight, &others[i].secrets
			}
		}
	}
	d.foreign, d.both = s.foreign, len(s.list) > 0
	return d, nil
}

// An accountSecrets is of an account.
type accountSecrets struct {
	id      storage.AccountID
	secrets secrets
}

// foreignAccounts are all accounts that somebody logs in to; none if no one of
// them has a foreign hash.
func (a *Authenticator) foreignAccounts() ([]accountSecrets, error) {
	version := a.st.SettingsVersion() // before it is looked at
	a.readyMu.Lock()
	defer a.readyMu.Unlock()
	if a.decoysAt == version && a.decoysKnown {
		return a.decoys, nil
	}
	accounts, err := a.st.Accounts()
	if err != nil {
		return nil, err
	}
	var all []accountSecrets
	foreign := false
	for _, info := range accounts {
		rows, err := a.st.Credentials(info.ID)
		if errors.Is(err, storage.ErrNoAccount) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		if s, _ := parseSecrets(rows); !s.none() {
			all = append(all, accountSecrets{info.ID, s})
			foreign = foreign || s.foreign != nil
		}
	}
	if !foreign {
		all = nil
	}
	a.decoys, a.decoysAt, a.decoysKnown = all, version, true
	return all, nil
}

// NewForeignCredentials is all that is stored of the hash of another server for a
// new account. Errors: ErrHash.
func NewForeignCredentials(hash string) ([]storage.Credential, error) {
	if _, err := parseHash(hash); err != nil {
		return nil, err
	}
	return []storage.Credential{{Kind: kindForeign, Value: []byte(hash)}}, nil
}

// SetForeign puts the hash of another server in the place of an account's main
// password. Its sessions end; app passwords stay. Errors: ErrHash, or of the storage.
func SetForeign(st *storage.Store, id storage.AccountID, hash string) error {
	rows, err := NewForeignCredentials(hash)
	if err != nil {
		return err
	}
	return audited(st, id, "changed to a hash of another server", st.ChangeCredentials(id, func([]storage.Credential) (change storage.CredentialChange, err error) {
		change.Set = append(rows, storage.Credential{Kind: storage.KindPassword}, storage.Credential{Kind: kindSHA1})
		change.Ends, change.Why = func(string) bool { return true }, "the password was changed"
		return change, nil
	}))
}

// PasswordState is how an account's main password is kept.
type PasswordState struct {
	Any     bool // there is one
	Foreign bool // another server's hash
	SCRAM   bool // it, and the account's other secrets, log in by SCRAM-SHA-256
	Broken  bool // it can't be read
}

// PasswordKind tells how an account's main password is kept.
func PasswordKind(st *storage.Store, id storage.AccountID) (k PasswordState, err error) {
	rows, err := st.Credentials(id)
	if err != nil {
		return k, err
	}
	s, err := parseSecrets(rows)
	main := s.find(storage.KindPassword) != nil
	return PasswordState{Any: main || s.foreign != nil, Foreign: s.foreign != nil, SCRAM: main && s.complete(false), Broken: err != nil}, nil
}
