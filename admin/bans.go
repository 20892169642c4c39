package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"nestbox/auth"
)

// BansAPI is about addresses that aren't served because too many of their
// logins failed.
type BansAPI interface {
	Bans(ctx context.Context) ([]auth.Ban, error)
	// LiftBan ends the ban of an address. ErrNoBan says that there is none.
	LiftBan(ctx context.Context, address string) error
}

// ErrNoBan says that an address isn't banned.
var ErrNoBan = errors.New("it is not banned")

// Bans lists the bans.
func (l *Local) Bans(context.Context) ([]auth.Ban, error) {
	if l.Auth != nil {
		return l.Auth.Bans(), nil
	}
	return auth.StoredBans(l.st)
}

// LiftBan ends a ban.
func (l *Local) LiftBan(_ context.Context, address string) error {
	peer, err := bannedAddress(address)
	if err != nil {
		return err
	}
	lifted := false
	if l.Auth != nil {
		lifted = l.Auth.LiftBan(peer)
	} else {
		lifted, err = auth.LiftStoredBan(l.st, peer)
	}
	if err == nil && !lifted {
		err = ErrNoBan
	}
	return err
}

// bannedAddress reads an address, or a network as bans are listed.
func bannedAddress(s string) (netip.Addr, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr(), nil
	}
	peer, err := netip.ParseAddr(s)
	if err != nil {
		return peer, fmt.Errorf("%w: %q is no IP address", errWrongUse, s)
	}
	return peer, nil
}

// Bans lists the bans.
func (r *Remote) Bans(ctx context.Context) (all []auth.Ban, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/bans", nil, nil, &all)
	return all, err
}

// LiftBan ends a ban.
func (r *Remote) LiftBan(ctx context.Context, address string) error {
	return r.call(ctx, http.MethodDelete, "/v1/bans", url.Values{"address": {address}}, nil, nil)
}

func (s *Server) banRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/bans", s.answer(func(r *http.Request) (any, error) { return s.api.Bans(r.Context()) }))
	mux.HandleFunc("DELETE /v1/bans", s.answer(func(r *http.Request) (any, error) {
		return nil, s.api.LiftBan(r.Context(), query(r, "address"))
	}))
}
