package admin

import (
	"context"
	"log/slog"
	"net/http"

	"nestbox/auth"
	"nestbox/storage"
)

// ForeignAPI takes the password hashes of other servers: {SCHEME}hash as in a
// passwd-file of Dovecot, or crypt's. Errors: auth.ErrHash.
type ForeignAPI interface {
	// AddAccountWithHash makes an account with its first mailboxes.
	AddAccountWithHash(ctx context.Context, name, hash string) (Account, error)
	// SetHash puts a hash in the place of an account's main password.
	SetHash(ctx context.Context, name, hash string) error
}

// How an account's main password is kept.
const (
	PasswordNone   = ""       // there is none
	PasswordHash   = "hash"   // as another server's hash: the next login replaces it
	PasswordPlain  = "plain"  // good for PLAIN; the next login makes it good for SCRAM
	PasswordScram  = "scram"  // good for all mechanisms
	PasswordBroken = "broken" // what is stored can't be read
)

// password tells how an account's main password is kept.
func (l *Local) password(info storage.AccountInfo) (string, error) {
	k, err := auth.PasswordKind(l.st, info.ID)
	switch {
	case err != nil:
		return "", err
	case k.Broken:
		return PasswordBroken, nil
	case k.Foreign:
		return PasswordHash, nil
	case k.SCRAM:
		return PasswordScram, nil
	case k.Any:
		return PasswordPlain, nil
	}
	return PasswordNone, nil
}

// AddAccountWithHash makes an account.
func (l *Local) AddAccountWithHash(_ context.Context, name, hash string) (Account, error) {
	rows, err := auth.NewForeignCredentials(hash)
	if err != nil {
		return Account{}, err
	}
	info, err := l.st.CreateAccountWith(name, rows)
	if err != nil {
		return Account{}, err
	}
	return l.describe(info)
}

// SetHash gives an account the hash of another server.
func (l *Local) SetHash(_ context.Context, name, hash string) error {
	info, err := l.loginAccount(name)
	if err != nil {
		return err
	}
	return auth.SetForeign(l.st, info.ID, hash)
}

func (l *audited) AddAccountWithHash(ctx context.Context, name, hash string) (Account, error) {
	a, err := l.Local.AddAccountWithHash(ctx, name, hash)
	return a, l.note(err, storage.AuditAdmin, storage.AccountID(a.ID), "account added with a hash of another server")
}

const (
	hashAccountPath = "/v1/hash-accounts"
	hashPath        = "/v1/hash"
)

type hashRequest struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// AddAccountWithHash makes an account.
func (r *Remote) AddAccountWithHash(ctx context.Context, name, hash string) (a Account, err error) {
	err = r.call(ctx, http.MethodPost, hashAccountPath, nil, hashRequest{name, hash}, &a)
	return a, err
}

// SetHash gives an account the hash of another server.
func (r *Remote) SetHash(ctx context.Context, name, hash string) error {
	return r.call(ctx, http.MethodPost, hashPath, nil, hashRequest{name, hash}, nil)
}

func (s *Server) foreignRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+hashAccountPath, s.answer(func(r *http.Request) (any, error) {
		var q hashRequest
		if err := readJSON(r, &q); err != nil {
			return nil, err
		}
		a, err := s.api.AddAccountWithHash(r.Context(), q.Name, q.Hash)
		if err == nil {
			s.log.Info("account_added", slog.String("account", a.ID), slog.String("name", a.Name))
		}
		return a, err
	}))
	mux.HandleFunc("POST "+hashPath, s.answer(func(r *http.Request) (any, error) {
		var q hashRequest
		if err := readJSON(r, &q); err != nil {
			return nil, err
		}
		return nil, s.api.SetHash(r.Context(), q.Name, q.Hash)
	}))
}
