package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"nestbox/storage"
)

// kindActAs is the row that says for whom an account may log in: "*" for all, or
// their ids, one a line. It is with the passwords, not with the settings that an
// account's folder repeats: a folder brings no rights over other accounts.
const kindActAs = "act-as"

// An ActAs says for whom an account may log in besides itself: with its own
// password, and the other's name as authorization identity (RFC 4422 §3.4.1).
type ActAs struct {
	All      bool
	Accounts []storage.AccountID
}

// Any tells whether it is for anybody.
func (r ActAs) Any() bool { return r.All || len(r.Accounts) > 0 }

// For tells whether it is for an account.
func (r ActAs) For(id storage.AccountID) bool { return r.All || slices.Contains(r.Accounts, id) }

func parseActAs(rows []storage.Credential) (r ActAs) {
	for _, row := range rows {
		if row.Kind != kindActAs {
			continue
		}
		for _, line := range strings.Fields(string(row.Value)) {
			if line == "*" {
				r.All = true
			} else {
				r.Accounts = append(r.Accounts, storage.AccountID(line))
			}
		}
	}
	return r
}

func (r ActAs) row() storage.Credential {
	var lines []string
	if r.All {
		lines = []string{"*"}
	}
	for _, id := range r.Accounts {
		lines = append(lines, string(id))
	}
	if len(lines) == 0 {
		return storage.Credential{Kind: kindActAs}
	}
	return storage.Credential{Kind: kindActAs, Value: []byte(strings.Join(lines, "\n"))}
}

// ActsAs tells for whom an account may log in.
func ActsAs(st *storage.Store, id storage.AccountID) (ActAs, error) {
	rows, err := st.Credentials(id)
	return parseActAs(rows), err
}

// ChangeActAs changes for whom an account may log in. If that is for fewer, its
// sessions end in which it acts for another.
func ChangeActAs(st *storage.Store, id storage.AccountID, change func(ActAs) (ActAs, error)) error {
	return st.ChangeCredentials(id, func(rows []storage.Credential) (c storage.CredentialChange, err error) {
		was := parseActAs(rows)
		is, err := change(ActAs{All: was.All, Accounts: slices.Clone(was.Accounts)})
		if err != nil {
			return c, err
		}
		c.Set = []storage.Credential{is.row()}
		if was.All && !is.All || slices.ContainsFunc(was.Accounts, func(id storage.AccountID) bool { return !is.For(id) }) {
			c.ActingWhy = "the right to act for other accounts was taken away"
		}
		return c, nil
	})
}

// actFor makes a login that of the account that it asked for. Whether there is
// no such account or no right, the answer is one.
func (a *Authenticator) actFor(c *Conn, who *Identity, authzid string) error {
	if authzid == "" || strings.EqualFold(authzid, who.Login) {
		return nil
	}
	info, err := a.st.FindAccount(authzid)
	if err != nil && !errors.Is(err, storage.ErrNoAccount) {
		return err
	}
	if err == nil && info.ID == who.Account {
		who.Login = authzid
		return nil
	}
	right, rightErr := ActsAs(a.st, who.Account)
	if rightErr != nil {
		return rightErr
	}
	if err != nil || !right.For(info.ID) || info.Disabled || info.Shared() {
		a.log.Info("login_for_another_refused", slog.String("peer", c.Peer.String()), slog.String("account", string(who.Account)))
		a.auditRefused(c, storage.AccountInfo{ID: who.Account, Name: who.Name}, "not_allowed_for_another")
		return fmt.Errorf("%w: this account may not act for that one", ErrNotAllowed)
	}
	who.Actor, who.ActorName = who.Account, who.Name
	who.Account, who.Name, who.Login = info.ID, info.Name, authzid
	return nil
}
