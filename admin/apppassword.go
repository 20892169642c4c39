package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nestbox/auth"
	"nestbox/storage"
)

// AppPasswordAPI is about passwords of an account for one device or program each.
type AppPasswordAPI interface {
	// AddAppPassword makes one and returns it: nobody can be told it again.
	AddAppPassword(ctx context.Context, account, name, scope string) (password string, err error)
	AppPasswords(ctx context.Context, account string) ([]AppPassword, error)
	// RevokeAppPassword takes one away; its sessions end.
	RevokeAppPassword(ctx context.Context, account, name string) error
}

// AppPassword is what can be told of one.
type AppPassword struct {
	Name     string     `json:"name"`
	Scope    []string   `json:"scope"` // imap, pop3, submission, read-only; none: it can't be read
	Created  time.Time  `json:"created"`
	LastUsed *time.Time `json:"last_used,omitempty"`
}

// loginAccount finds an account that somebody logs in to.
func (l *Local) loginAccount(name string) (storage.AccountInfo, error) {
	info, err := l.st.FindAccount(name)
	if err == nil && info.Shared() {
		err = fmt.Errorf("%w: nobody logs in to a shared account", errWrongUse)
	}
	return info, err
}

// AddAppPassword makes an app password.
func (l *Local) AddAppPassword(_ context.Context, account, name, scope string) (string, error) {
	parsed, err := auth.ParseScope(scope)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errWrongUse, err)
	}
	info, err := l.loginAccount(account)
	if err != nil {
		return "", err
	}
	return auth.AddAppPassword(l.st, info.ID, name, parsed)
}

// AppPasswords lists app passwords.
func (l *Local) AppPasswords(_ context.Context, account string) ([]AppPassword, error) {
	info, err := l.loginAccount(account)
	if err != nil {
		return nil, err
	}
	found, err := auth.AppPasswords(l.st, info.ID)
	all := make([]AppPassword, 0, len(found))
	for _, p := range found {
		a := AppPassword{Name: p.Name, Scope: []string{}, Created: p.Created}
		if !p.Unreadable {
			a.Scope = strings.Fields(p.Scope.String())
		}
		if !p.LastUsed.IsZero() {
			a.LastUsed = &p.LastUsed
		}
		all = append(all, a)
	}
	return all, err
}

// RevokeAppPassword takes an app password away.
func (l *Local) RevokeAppPassword(_ context.Context, account, name string) error {
	info, err := l.loginAccount(account)
	if err != nil {
		return err
	}
	return auth.RevokeAppPassword(l.st, info.ID, name)
}

const appPasswordPath = "/v1/app-passwords"

type appPasswordRequest struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Scope   string `json:"scope"`
}

// AddAppPassword makes an app password.
func (r *Remote) AddAppPassword(ctx context.Context, account, name, scope string) (password string, err error) {
	err = r.call(ctx, http.MethodPost, appPasswordPath, nil, appPasswordRequest{account, name, scope}, &password)
	return password, err
}

// AppPasswords lists app passwords.
func (r *Remote) AppPasswords(ctx context.Context, account string) (all []AppPassword, err error) {
	err = r.call(ctx, http.MethodGet, appPasswordPath, url.Values{"account": {account}}, nil, &all)
	return all, err
}

// RevokeAppPassword takes an app password away.
func (r *Remote) RevokeAppPassword(ctx context.Context, account, name string) error {
	return r.call(ctx, http.MethodDelete, appPasswordPath, url.Values{"account": {account}, "name": {name}}, nil, nil)
}

func (s *Server) appPasswordRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+appPasswordPath, s.answer(func(r *http.Request) (any, error) {
		return s.api.AppPasswords(r.Context(), query(r, "account"))
	}))
	mux.HandleFunc("POST "+appPasswordPath, s.answer(func(r *http.Request) (any, error) {
		var q appPasswordRequest
		if err := readJSON(r, &q); err != nil {
			return nil, err
		}
		password, err := s.api.AddAppPassword(r.Context(), q.Account, q.Name, q.Scope)
		if err == nil {
			s.log.Info("app_password_added", slog.String("account", q.Account), slog.String("name", q.Name), slog.String("scope", q.Scope))
		}
		return password, err
	}))
	mux.HandleFunc("DELETE "+appPasswordPath, s.answer(func(r *http.Request) (any, error) {
		account, name := query(r, "account"), query(r, "name")
		err := s.api.RevokeAppPassword(r.Context(), account, name)
		if err == nil {
			s.log.Info("app_password_revoked", slog.String("account", account), slog.String("name", name))
		}
		return nil, err
	}))
}
