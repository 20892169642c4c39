package admin

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nestbox/storage"
	nesttls "nestbox/tls"
)

// InviteAPI is about invitations: links to what sets a device up for an account.
type InviteAPI interface {
	// Invite makes one. Its link can't be told again.
	Invite(ctx context.Context, account string) (Invitation, error)
	// Invites lists those that can be used, of an account or with "" of all.
	Invites(ctx context.Context, account string) ([]Invite, error)
	// RevokeInvites takes all of an account back, and returns their number.
	RevokeInvites(ctx context.Context, account string) (int, error)
	// InviteFiles are the files that an invitation leads to.
	InviteFiles(ctx context.Context, account string) ([]InviteFile, error)
}

const (
	inviteLife = 24 * time.Hour
	inviteUses = 5
	// inviteToken is its random bytes: nobody guesses 128 bits in a day.
	inviteToken = 16
)

// An Invite is what can be told of an invitation.
type Invite struct {
	Account string    `json:"account"`
	Made    time.Time `json:"made"`
	Until   time.Time `json:"until"`
	Uses    int       `json:"uses"`
	Used    int       `json:"used"`
}

// An Invitation is a new Invite with its link.
type Invitation struct {
	Invite
	Link        string `json:"link"`
	Host        string `json:"host"`                  // what devices will call the box
	Fingerprint string `json:"fingerprint,omitempty"` // SHA-256 of the CA that they install
}

// ErrNoWeb says that there is no web server for an invitation to lead to.
var ErrNoWeb = errors.New("there is no web server for the link: set `http` (or `https`) in the configuration, or write the files with --out")

var inviteEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Invite makes an invitation.
func (l *Local) Invite(_ context.Context, account string) (Invitation, error) {
	info, err := l.loginAccount(account)
	if err != nil {
		return Invitation{}, err
	}
	setup, err := l.Setup()
	if err != nil {
		return Invitation{}, err
	}
	at := setup.URL()
	if at == "" {
		return Invitation{}, fmt.Errorf("%w: %w", errWrongUse, ErrNoWeb)
	}
	token := make([]byte, inviteToken)
	if _, err := rand.Read(token); err != nil {
		return Invitation{}, err
	}
	now := l.st.Now().UTC().Truncate(time.Second)
	row := storage.Invite{Account: info.ID, Made: now, Until: now.Add(inviteLife), Uses: inviteUses}
	if err := l.st.AddInvite(token, row); err != nil {
		return Invitation{}, err
	}
	i := Invitation{
		Invite: Invite{Account: info.Name, Made: row.Made, Until: row.Until, Uses: row.Uses},
		Link:   at + invitePath + inviteEncoding.EncodeToString(token) + "/", Host: setup.Host,
	}
	if setup.Root != nil {
		i.Fingerprint = nesttls.Fingerprint(setup.Root)
	}
	return i, nil
}

// Invites lists invitations.
func (l *Local) Invites(_ context.Context, account string) ([]Invite, error) {
	var id storage.AccountID
	if account != "" {
		info, err := l.loginAccount(account)
		if err != nil {
			return nil, err
		}
		id = info.ID
	}
	rows, err := l.st.Invites(id)
	if err != nil {
		return nil, err
	}
	all := make([]Invite, 0, len(rows))
	for _, r := range rows {
		info, err := l.st.AccountInfo(r.Account)
		if errors.Is(err, storage.ErrNoAccount) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Invite{Account: info.Name, Made: r.Made, Until: r.Until, Uses: r.Uses, Used: r.Used})
	}
	return all, nil
}

// RevokeInvites takes an account's invitations back.
func (l *Local) RevokeInvites(_ context.Context, account string) (int, error) {
	info, err := l.loginAccount(account)
	if err != nil {
		return 0, err
	}
	return l.st.RevokeInvites(info.ID)
}

// InviteFiles makes the files of an invitation.
func (l *Local) InviteFiles(_ context.Context, account string) ([]InviteFile, error) {
	info, err := l.loginAccount(account)
	if err != nil {
		return nil, err
	}
	setup, err := l.Setup()
	if err != nil {
		return nil, err
	}
	return inviteFiles(l.st, setup, info, nil)
}

// Invite makes an invitation, which is noted.
func (l *audited) Invite(ctx context.Context, account string) (Invitation, error) {
	i, err := l.Local.Invite(ctx, account)
	return i, l.note(err, storage.AuditAdmin, l.id(account), "invitation made")
}

// RevokeInvites takes invitations back, which is noted.
func (l *audited) RevokeInvites(ctx context.Context, account string) (int, error) {
	n, err := l.Local.RevokeInvites(ctx, account)
	return n, l.note(err, storage.AuditAdmin, l.id(account), "%d invitations revoked", n)
}

const invitesPath = "/v1/invites"

// Invite makes an invitation.
func (r *Remote) Invite(ctx context.Context, account string) (i Invitation, err error) {
	err = r.call(ctx, http.MethodPost, invitesPath, url.Values{"account": {account}}, nil, &i)
	return i, err
}

// Invites lists invitations.
func (r *Remote) Invites(ctx context.Context, account string) (all []Invite, err error) {
	err = r.call(ctx, http.MethodGet, invitesPath, url.Values{"account": {account}}, nil, &all)
	return all, err
}

// RevokeInvites takes an account's invitations back.
func (r *Remote) RevokeInvites(ctx context.Context, account string) (n int, err error) {
	err = r.call(ctx, http.MethodDelete, invitesPath, url.Values{"account": {account}}, nil, &n)
	return n, err
}

// InviteFiles makes the files of an invitation.
func (r *Remote) InviteFiles(ctx context.Context, account string) (files []InviteFile, err error) {
	err = r.call(ctx, http.MethodGet, invitesPath+"/files", url.Values{"account": {account}}, nil, &files)
	return files, err
}

func (s *Server) inviteRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+invitesPath, s.answer(func(r *http.Request) (any, error) {
		i, err := s.api.Invite(r.Context(), query(r, "account"))
		if err == nil {
			s.log.Info("invite_made", slog.String("name", i.Account), slog.Time("until", i.Until), slog.Int("uses", i.Uses))
		}
		return i, err
	}))
	mux.HandleFunc("GET "+invitesPath, s.answer(func(r *http.Request) (any, error) { return s.api.Invites(r.Context(), query(r, "account")) }))
	mux.HandleFunc("DELETE "+invitesPath, s.answer(func(r *http.Request) (any, error) {
		n, err := s.api.RevokeInvites(r.Context(), query(r, "account"))
		if err == nil {
			s.log.Info("invites_revoked", slog.String("name", query(r, "account")), slog.Int("invites", n))
		}
		return n, err
	}))
	mux.HandleFunc("GET "+invitesPath+"/files", s.answer(func(r *http.Request) (any, error) { return s.api.InviteFiles(r.Context(), query(r, "account")) }))
}

// inviteAddress is the address that a device gets for an account, "" if the
// account has none: the device asks then.
func inviteAddress(st *storage.Store, info storage.AccountInfo) (string, error) {
	addresses, err := st.Addresses(info.ID)
	if err != nil {
		return "", err
	}
	switch {
	case len(addresses) > 0:
		return addresses[0].Address, nil
	case strings.Contains(info.Name, "@"):
		return info.Name, nil
	}
	return "", nil
}
