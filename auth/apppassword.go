package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"nestbox/storage"
)

// An AppPassword is what can be told of one.
type AppPassword struct {
	Name     string
	Scope    Scope
	Created  time.Time
	LastUsed time.Time // zero: never
	// Unreadable: it logs nobody in, and can only be revoked.
	Unreadable bool
}

// ErrAppPassword says that an app password can't be made or isn't there. It wraps
// to a text that says why.
var ErrAppPassword = errors.New("app password")

func appPasswordError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAppPassword, fmt.Sprintf(format, args...))
}

// appPasswordName is the canonical form of a name.
func appPasswordName(name string) (string, error) {
	const most = 64
	name = norm.NFC.String(strings.TrimSpace(name))
	switch {
	case name == "" || len(name) > most:
		return "", appPasswordError("its name has 1 to %d bytes", most)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return "", appPasswordError("its name has characters that can't be printed")
	}
	return name, nil
}

// AddAppPassword makes an app password and returns it: it is stored nowhere.
func AddAppPassword(st *storage.Store, id storage.AccountID, name string, scope Scope) (string, error) {
	name, err := appPasswordName(name)
	if err != nil {
		return "", err
	}
	password := generate(appGroups, appGroup)
	s := secret{kind: kindApp + name, scope: scope, created: st.Now().UTC().Truncate(time.Second)}
	err = put(st, id, s, password, func(rows []storage.Credential) error {
		apps := 0
		for _, r := range rows {
			if r.Kind == s.kind {
				return appPasswordError("there is one named %q already: revoke it, or choose another name", name)
			}
			if strings.HasPrefix(r.Kind, kindApp) {
				apps++
			}
		}
		if apps >= maxAppPasswords {
			return appPasswordError("an account has at most %d: revoke some", maxAppPasswords)
		}
		return nil
	})
	return password, audited(st, id, fmt.Sprintf("app password %s added, for %s", name, scope), err)
}

// AppPasswords lists those of an account by name.
func AppPasswords(st *storage.Store, id storage.AccountID) ([]AppPassword, error) {
	rows, err := st.Credentials(id)
	if err != nil {
		return nil, err
	}
	used, err := st.CredentialUses(id)
	if err != nil {
		return nil, err
	}
	var all []AppPassword
	for _, r := range rows {
		if !strings.HasPrefix(r.Kind, kindApp) {
			continue
		}
		s, err := parseApp(r.Kind, string(r.Value))
		all = append(all, AppPassword{Name: appName(r.Kind), Scope: s.scope, Created: s.created, LastUsed: used[r.Kind], Unreadable: err != nil})
	}
	slices.SortFunc(all, func(a, b AppPassword) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// RevokeAppPassword takes an app password away and ends its sessions.
func RevokeAppPassword(st *storage.Store, id storage.AccountID, name string) error {
	name, err := appPasswordName(name)
	if err != nil {
		return err
	}
	kind := kindApp + name
	err = st.ChangeCredentials(id, func(rows []storage.Credential) (change storage.CredentialChange, err error) {
		if !slices.ContainsFunc(rows, func(r storage.Credential) bool { return r.Kind == kind }) {
			return change, appPasswordError("there is none named %q", name)
		}
		change.Set = []storage.Credential{{Kind: kind}}
		change.Ends, change.Why = func(by string) bool { return by == kind }, "the app password was revoked"
		return change, nil
	})
	return audited(st, id, fmt.Sprintf("app password %s revoked", name), err)
}
