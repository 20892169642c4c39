package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"nestbox/auth"
	"nestbox/storage"
)

// ActAsAPI is about accounts that log in for others, with their own password:
// those of programs that move mail, of proxies and of webmail.
type ActAsAPI interface {
	// ActAs lists the accounts that may.
	ActAs(ctx context.Context) ([]ActAs, error)
	// AddActAs lets an account act for another, or for all if account is "".
	AddActAs(ctx context.Context, actor, account string) error
	// DeleteActAs takes that away, or all if account is "". Sessions in which the
	// actor acts for another end.
	DeleteActAs(ctx context.Context, actor, account string) error
}

// ActAs is an account and for whom it may act.
type ActAs struct {
	Actor    string   `json:"actor"`
	All      bool     `json:"all,omitempty"`
	Accounts []string `json:"accounts"` // names; of one that was deleted there is none
}

// ActAs lists the accounts that may act for others.
func (l *Local) ActAs(context.Context) ([]ActAs, error) {
	all := []ActAs{}
	infos, err := l.st.Accounts()
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		right, err := auth.ActsAs(l.st, info.ID)
		if err != nil {
			return nil, err
		}
		if !right.Any() {
			continue
		}
		a := ActAs{Actor: info.Name, All: right.All, Accounts: []string{}}
		for _, other := range infos {
			if !right.All && right.For(other.ID) {
				a.Accounts = append(a.Accounts, other.Name)
			}
		}
		all = append(all, a)
	}
	return all, nil
}

// AddActAs lets an account act for another.
func (l *Local) AddActAs(_ context.Context, actor, account string) error {
	return l.changeActAs(actor, account, func(r auth.ActAs, id storage.AccountID) (auth.ActAs, error) {
		switch {
		case id == "":
			r.All = true
		case !r.For(id):
			r.Accounts = append(r.Accounts, id)
		}
		return r, nil
	})
}

// DeleteActAs takes the right away.
func (l *Local) DeleteActAs(_ context.Context, actor, account string) error {
	return l.changeActAs(actor, account, func(r auth.ActAs, id storage.AccountID) (auth.ActAs, error) {
		switch {
		case id == "":
			return auth.ActAs{}, nil
		case r.All:
			return r, fmt.Errorf("%w: it may act for all accounts; take all away, and add those that remain", errWrongUse)
		}
		r.Accounts = slices.DeleteFunc(r.Accounts, func(have storage.AccountID) bool { return have == id })
		return r, nil
	})
}

func (l *Local) changeActAs(actor, account string, change func(r auth.ActAs, id storage.AccountID) (auth.ActAs, error)) error {
	who, err := l.loginAccount(actor)
	if err != nil {
		return err
	}
	var other storage.AccountInfo
	if account != "" {
		if other, err = l.loginAccount(account); err != nil {
			return err
		}
	}
	return auth.ChangeActAs(l.st, who.ID, func(r auth.ActAs) (auth.ActAs, error) { return change(r, other.ID) })
}

const actAsPath = "/v1/act-as"

type actAsRequest struct {
	Actor   string `json:"actor"`
	Account string `json:"account"`
}

// ActAs lists the accounts that may act for others.
func (r *Remote) ActAs(ctx context.Context) (all []ActAs, err error) {
	err = r.call(ctx, http.MethodGet, actAsPath, nil, nil, &all)
	return all, err
}

// AddActAs lets an account act for another.
func (r *Remote) AddActAs(ctx context.Context, actor, account string) error {
	return r.call(ctx, http.MethodPost, actAsPath, nil, actAsRequest{actor, account}, nil)
}

// DeleteActAs takes the right away.
func (r *Remote) DeleteActAs(ctx context.Context, actor, account string) error {
	return r.call(ctx, http.MethodDelete, actAsPath, url.Values{"actor": {actor}, "account": {account}}, nil, nil)
}

func (s *Server) actAsRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+actAsPath, s.answer(func(r *http.Request) (any, error) { return s.api.ActAs(r.Context()) }))
	mux.HandleFunc("POST "+actAsPath, s.answer(func(r *http.Request) (any, error) {
		var q actAsRequest
		if err := readJSON(r, &q); err != nil {
			return nil, err
		}
		err := s.api.AddActAs(r.Context(), q.Actor, q.Account)
		if err == nil {
			s.log.Info("act_as_added", slog.String("actor", q.Actor), slog.String("account", orAll(q.Account)))
		}
		return nil, err
	}))
	mux.HandleFunc("DELETE "+actAsPath, s.answer(func(r *http.Request) (any, error) {
		actor, account := query(r, "actor"), query(r, "account")
		err := s.api.DeleteActAs(r.Context(), actor, account)
		if err == nil {
			s.log.Info("act_as_deleted", slog.String("actor", actor), slog.String("account", orAll(account)))
		}
		return nil, err
	}))
}

// orAll names the account that a right is for.
func orAll(account string) string {
	if account == "" {
		return "all"
	}
	return account
}

func (l *audited) AddActAs(ctx context.Context, actor, account string) error {
	err := l.Local.AddActAs(ctx, actor, account)
	return l.note(err, storage.AuditAdmin, l.id(actor), "may act for %s", orAll(account))
}

func (l *audited) DeleteActAs(ctx context.Context, actor, account string) error {
	err := l.Local.DeleteActAs(ctx, actor, account)
	return l.note(err, storage.AuditAdmin, l.id(actor), "may no longer act for %s", orAll(account))
}
