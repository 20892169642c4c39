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
// logins failed. Only a running server has them.
type BansAPI interface {
	Bans(ctx context.Context) ([]auth.Ban, error)
	// LiftBan ends the ban of an address. ErrNoBan says that there is none.
	LiftBan(ctx context.Context, address string) error
}

// ErrNoBan says that an address isn't banned.
var ErrNoBan = errors.New("it is not banned")

// Bans lists the bans.
func (l *Local) Bans(context.Context) ([]auth.Ban, error) {
	if l.Auth == nil {
		return nil, fmt.Errorf("%w: bans are in a running server's memory", ErrNoServer)
	}
	return l.Auth.Bans(), nil
}

// LiftBan ends a ban.
func (l *Local) LiftBan(_ context.Context, address string) error {
	peer, err := bannedAddress(address)
	if err != nil {
		return err
	}
	if l.Auth == nil {
		return fmt.Errorf("%w: bans are in a running server's memory", ErrNoServer)
	}
	if !l.Auth.LiftBan(peer) {
		return ErrNoBan
	}
	return nil
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
