package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"nestbox/storage"
)

// AuditAPI is about the audit log.
type AuditAPI interface {
	// Audit lists events by their time.
	Audit(ctx context.Context, q AuditQuery) ([]AuditEvent, error)
}

// An AuditQuery says which events are wanted; what is empty wants all.
type AuditQuery struct {
	Account string // name or address
	Address string // an IP address, or a network
	Event   string // one of storage.AuditKinds
	Since   time.Time
}

// AuditEvent is a line of the audit log.
type AuditEvent struct {
	Time    time.Time `json:"time"`            // of the last
	First   time.Time `json:"first,omitzero"`  // of the first, when there were several
	Count   int       `json:"count,omitempty"` // when there were several
	Event   string    `json:"event"`
	Account string    `json:"account,omitempty"` // as it is named now, else as it was then
	ID      string    `json:"id,omitempty"`
	Address string    `json:"address,omitempty"`
	Client  string    `json:"client,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

// Audit lists events.
func (l *Local) Audit(_ context.Context, q AuditQuery) ([]AuditEvent, error) {
	f, err := l.auditFilter(q)
	if err != nil {
		return nil, err
	}
	found, err := l.st.AuditEvents(f)
	all := make([]AuditEvent, 0, len(found))
	names := map[storage.AccountID]string{}
	for _, e := range found {
		a := AuditEvent{
			Time: e.Last, Event: string(e.Kind), Account: e.Name, ID: string(e.Account), Address: e.Address, Client: e.Client, Detail: e.Detail,
		}
		if e.Count > 1 {
			a.First, a.Count = e.First, e.Count
		}
		if e.Account != "" {
			name, known := names[e.Account]
			if !known {
				if info, err := l.st.AccountInfo(e.Account); err == nil {
					name = info.Name
				}
				names[e.Account] = name
			}
			if name != "" {
				a.Account = name
			}
		}
		all = append(all, a)
	}
	return all, err
}

func (l *Local) auditFilter(q AuditQuery) (f storage.AuditFilter, err error) {
	f.Since = q.Since
	if q.Event != "" {
		f.Kinds = []storage.AuditKind{storage.AuditKind(q.Event)}
		if !slices.Contains(storage.AuditKinds(), f.Kinds[0]) {
			return f, fmt.Errorf("%w: %q is no event: choose from %s", errWrongUse, q.Event, AuditEvents())
		}
	}
	if q.Address != "" {
		if f.Address, err = addressFilter(q.Address); err != nil {
			return f, err
		}
	}
	if q.Account == "" {
		return f, nil
	}
	info, err := l.st.FindAccount(q.Account)
	if err == nil {
		f.Account = info.ID
		return f, nil
	}
	if !errors.Is(err, storage.ErrNoAccount) {
		return f, err
	}
	// Of a deleted account, events tell its id and its name.
	all, aerr := l.st.AuditEvents(storage.AuditFilter{})
	for _, e := range all {
		if e.Account != "" && (string(e.Account) == q.Account || strings.EqualFold(e.Name, q.Account)) {
			f.Account = e.Account
			return f, aerr
		}
	}
	return f, err
}

// AuditEvents names the events.
func AuditEvents() string {
	var words []string
	for _, k := range storage.AuditKinds() {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}

// addressFilter takes an address, or a network with all in it. Events tell of an
// address, or of a network that it is in.
func addressFilter(text string) (func(string) bool, error) {
	want, err := netip.ParsePrefix(text)
	if err != nil {
		peer, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is no IP address", errWrongUse, text)
		}
		peer = peer.Unmap().WithZone("")
		want = netip.PrefixFrom(peer, peer.BitLen())
	}
	return func(address string) bool {
		if p, err := netip.ParsePrefix(address); err == nil {
			return p.Overlaps(want)
		}
		peer, err := netip.ParseAddr(address)
		return err == nil && want.Contains(peer)
	}, nil
}

const auditPath = "/v1/audit"

// Audit lists events.
func (r *Remote) Audit(ctx context.Context, q AuditQuery) (all []AuditEvent, err error) {
	values := url.Values{"account": {q.Account}, "address": {q.Address}, "event": {q.Event}}
	if !q.Since.IsZero() {
		values.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	err = r.call(ctx, http.MethodGet, auditPath, values, nil, &all)
	return all, err
}

func (s *Server) auditRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+auditPath, s.answer(func(r *http.Request) (any, error) {
		q := AuditQuery{Account: query(r, "account"), Address: query(r, "address"), Event: query(r, "event")}
		if since := query(r, "since"); since != "" {
			var err error
			if q.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
				return nil, fmt.Errorf("%w: since is no time", errWrongUse)
			}
		}
		return s.api.Audit(r.Context(), q)
	}))
}
