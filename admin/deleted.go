package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"nestbox/storage"
)

// DeletedAPI is what can be done with accounts on their way out.
type DeletedAPI interface {
	// Deleted lists the deleted accounts that can be brought back.
	Deleted(ctx context.Context) ([]DeletedAccount, error)
	// Undelete brings one back by its name or id, as newName or under the name
	// that it had.
	Undelete(ctx context.Context, name, newName string) (Undeleted, error)
	// EraseAccount deletes an account, or takes a deleted one, and removes its
	// files at once.
	EraseAccount(ctx context.Context, name string) error
	// SetDisabled closes an account to logins and ends its sessions, or opens it.
	SetDisabled(ctx context.Context, name string, disabled bool) error
}

// DeletedAccount is an account that can be brought back.
type DeletedAccount struct {
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Deleted   time.Time `json:"deleted"`
	Until     time.Time `json:"until"` // when it goes for good
	Addresses []string  `json:"addresses"`
	FileBytes int64     `json:"file_bytes"`
}

// Undeleted is an account that is back.
type Undeleted struct {
	Account
	// Lost are addresses that others have now.
	Lost []string `json:"lost_addresses"`
}

// Deleted lists the deleted accounts.
func (l *Local) Deleted(context.Context) ([]DeletedAccount, error) {
	found, err := l.st.DeletedAccounts()
	if err != nil {
		return nil, err
	}
	all := make([]DeletedAccount, 0, len(found))
	for _, d := range found {
		a := DeletedAccount{Name: d.Name, ID: string(d.ID), Deleted: d.Deleted, Until: d.Until, Addresses: []string{}, FileBytes: d.Octets}
		all = append(all, a)
		all[len(all)-1].Addresses = append(a.Addresses, d.Addresses...)
	}
	return all, nil
}

// Undelete brings a deleted account back.
func (l *Local) Undelete(_ context.Context, name, newName string) (Undeleted, error) {
	info, lost, err := l.st.UndeleteAccount(name, newName)
	if err != nil {
		return Undeleted{}, err
	}
	a, err := l.describe(info)
	return Undeleted{Account: a, Lost: append([]string{}, lost...)}, err
}

// EraseAccount removes an account for good.
func (l *Local) EraseAccount(_ context.Context, name string) error {
	err := l.st.DeleteAccountNow(name)
	if errors.Is(err, storage.ErrNoAccount) {
		if derr := l.st.EraseDeleted(name); !errors.Is(derr, storage.ErrNoDeleted) {
			return derr
		}
	}
	return err
}

// SetDisabled closes an account to logins, or opens it.
func (l *Local) SetDisabled(_ context.Context, name string, disabled bool) error {
	info, err := l.st.FindAccount(name)
	if err != nil {
		return err
	}
	return l.st.SetDisabled(info.ID, disabled)
}

// Deleted lists the deleted accounts.
func (r *Remote) Deleted(ctx context.Context) (all []DeletedAccount, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/deleted", nil, nil, &all)
	return all, err
}

// Undelete brings a deleted account back.
func (r *Remote) Undelete(ctx context.Context, name, newName string) (u Undeleted, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/deleted/restore", url.Values{"name": {name}, "new": {newName}}, nil, &u)
	return u, err
}

// EraseAccount removes an account for good.
func (r *Remote) EraseAccount(ctx context.Context, name string) error {
	return r.call(ctx, http.MethodPost, "/v1/accounts/erase", url.Values{"name": {name}}, nil, nil)
}

// SetDisabled closes an account to logins, or opens it.
func (r *Remote) SetDisabled(ctx context.Context, name string, disabled bool) error {
	q := url.Values{"name": {name}}
	if disabled {
		q.Set("disabled", "true")
	}
	return r.call(ctx, http.MethodPost, "/v1/accounts/disabled", q, nil, nil)
}

func (s *Server) deletedRoutes(mux *http.ServeMux) {
	for pattern, h := range map[string]func(*http.Request) (any, error){
		"GET /v1/deleted": func(r *http.Request) (any, error) { return s.api.Deleted(r.Context()) },
		"POST /v1/deleted/restore": func(r *http.Request) (any, error) {
			return s.api.Undelete(r.Context(), query(r, "name"), query(r, "new"))
		},
		"POST /v1/accounts/erase": func(r *http.Request) (any, error) {
			return nil, s.api.EraseAccount(r.Context(), query(r, "name"))
		},
		"POST /v1/accounts/disabled": func(r *http.Request) (any, error) {
			return nil, s.api.SetDisabled(r.Context(), query(r, "name"), query(r, "disabled") == "true")
		},
	} {
		mux.HandleFunc(pattern, s.answer(h))
	}
}
