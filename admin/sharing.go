package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"nestbox/storage"
)

// SharingAPI is who sees whose mailboxes.
type SharingAPI interface {
	// AddSharedAccount makes an account that nobody logs in to.
	AddSharedAccount(ctx context.Context, name string) (Account, error)
	// ACLs lists the mailboxes of an account that have an ACL, or with a
	// mailbox that one.
	ACLs(ctx context.Context, account, mailbox string) ([]MailboxACL, error)
	// SetACL gives an identifier rights to a mailbox; with "+" or "-" in front
	// they are added to what it has or taken from it. None at all take it out of
	// the ACL.
	SetACL(ctx context.Context, account, mailbox, identifier, rights string) error
	// SetPrivateSeen says whether \Seen is each login's own in a mailbox.
	SetPrivateSeen(ctx context.Context, account, mailbox string, private bool) error
	// Groups are the members of the groups.
	Groups(ctx context.Context) (map[string][]string, error)
	SetGroup(ctx context.Context, group, account string, in bool) error
}

// MailboxACL is the ACL of a mailbox.
type MailboxACL struct {
	Mailbox     string     `json:"mailbox"`
	PrivateSeen bool       `json:"private_seen"` // each login has its own \Seen
	ACL         []ACLEntry `json:"acl"`
}

// ACLEntry says what an identifier may do.
type ACLEntry struct {
	Identifier string `json:"identifier"`
	Rights     string `json:"rights"`
}

// AddSharedAccount makes a shared account.
func (l *Local) AddSharedAccount(_ context.Context, name string) (Account, error) {
	info, err := l.st.CreateSharedAccount(name)
	if err != nil {
		return Account{}, err
	}
	return l.describe(info)
}

// ACLs lists ACLs.
func (l *Local) ACLs(_ context.Context, account, mailbox string) ([]MailboxACL, error) {
	a, err := l.account(account)
	if err != nil {
		return nil, err
	}
	boxes, err := a.Mailboxes()
	if mailbox != "" {
		var box storage.Mailbox
		box, err = a.MailboxByName(mailbox)
		boxes = []storage.Mailbox{box}
	}
	if err != nil {
		return nil, err
	}
	all := []MailboxACL{}
	for _, box := range boxes {
		m := MailboxACL{Mailbox: box.Name, ACL: []ACLEntry{}}
		if m.PrivateSeen, err = a.SeenIsPrivate(box.ID); err != nil {
			return nil, err
		}
		for _, e := range box.ACL {
			m.ACL = append(m.ACL, ACLEntry{l.st.IdentifierName(e.Who), e.Rights.Letters()})
		}
		if len(m.ACL) > 0 || mailbox != "" {
			all = append(all, m)
		}
	}
	return all, nil
}

// SetACL changes an ACL.
func (l *Local) SetACL(_ context.Context, account, mailbox, identifier, rights string) error {
	a, err := l.account(account)
	if err != nil {
		return err
	}
	box, err := a.MailboxByName(mailbox)
	if err != nil {
		return err
	}
	c := storage.ACLChange{}
	if c.Who, err = l.st.Identifier(identifier); err != nil {
		return fmt.Errorf("%s: %w", identifier, err)
	}
	if base := storage.AccountIdentifier(a.ID()); c.Who == base || c.Who == "-"+base {
		return fmt.Errorf("%w: the owner of a mailbox has all rights to it", errWrongUse)
	}
	text := rights
	switch {
	case strings.HasPrefix(text, "+"):
		c.Mode, text = storage.StoreAdd, text[1:]
	case strings.HasPrefix(text, "-"):
		c.Mode, text = storage.StoreRemove, text[1:]
	}
	if c.Rights, err = storage.ParseRights(text); err != nil {
		return fmt.Errorf("%w: %w", errWrongUse, err)
	}
	if strings.HasPrefix(strings.TrimPrefix(identifier, "-"), "$") && c.Rights != 0 {
		if there, err := l.st.HasGroup(storage.Identifier(strings.TrimPrefix(string(c.Who), "-"))); err != nil || !there {
			return fmt.Errorf("%w: nobody is in the group %s", errWrongUse, identifier)
		}
	}
	return a.ChangeACL(box.ID, c)
}

// SetPrivateSeen says whose \Seen is.
func (l *Local) SetPrivateSeen(_ context.Context, account, mailbox string, private bool) error {
	a, err := l.account(account)
	if err != nil {
		return err
	}
	return a.SetPrivateSeen(mailbox, private)
}

// Groups lists the groups.
func (l *Local) Groups(context.Context) (map[string][]string, error) {
	infos, err := l.st.Accounts()
	all := map[string][]string{}
	for _, info := range infos {
		for _, g := range info.Groups() {
			all[g] = append(all[g], info.Name)
		}
	}
	return all, err
}

// SetGroup puts an account into a group or takes it out.
func (l *Local) SetGroup(_ context.Context, group, account string, in bool) error {
	info, err := l.st.FindAccount(account)
	if err != nil {
		return err
	}
	return l.st.SetGroup(info.ID, group, in)
}

// sharingRequest is what changes who sees what.
type sharingRequest struct {
	Account    string `json:"account"`
	Mailbox    string `json:"mailbox,omitempty"`
	Identifier string `json:"identifier,omitempty"`
	Rights     string `json:"rights,omitempty"`
	Group      string `json:"group,omitempty"`
	In         bool   `json:"in,omitempty"` // the group; or \Seen is private
}

// AddSharedAccount makes a shared account.
func (r *Remote) AddSharedAccount(ctx context.Context, name string) (a Account, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/shared", nil, sharingRequest{Account: name}, &a)
	return a, err
}

// ACLs lists ACLs.
func (r *Remote) ACLs(ctx context.Context, account, mailbox string) (all []MailboxACL, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/acl", url.Values{"account": {account}, "mailbox": {mailbox}}, nil, &all)
	return all, err
}

// SetACL changes an ACL.
func (r *Remote) SetACL(ctx context.Context, account, mailbox, identifier, rights string) error {
	return r.call(ctx, http.MethodPost, "/v1/acl", nil, sharingRequest{Account: account, Mailbox: mailbox, Identifier: identifier, Rights: rights}, nil)
}

// SetPrivateSeen says whose \Seen is.
func (r *Remote) SetPrivateSeen(ctx context.Context, account, mailbox string, private bool) error {
	return r.call(ctx, http.MethodPost, "/v1/seen", nil, sharingRequest{Account: account, Mailbox: mailbox, In: private}, nil)
}

// Groups lists the groups.
func (r *Remote) Groups(ctx context.Context) (all map[string][]string, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/groups", nil, nil, &all)
	return all, err
}

// SetGroup puts an account into a group or takes it out.
func (r *Remote) SetGroup(ctx context.Context, group, account string, in bool) error {
	return r.call(ctx, http.MethodPost, "/v1/groups", nil, sharingRequest{Account: account, Group: group, In: in}, nil)
}

func (s *Server) sharingRoutes(mux *http.ServeMux) {
	change := func(f func(ctx context.Context, q *sharingRequest) (any, error)) http.HandlerFunc {
		return s.answer(func(r *http.Request) (any, error) {
			var q sharingRequest
			if err := readJSON(r, &q); err != nil {
				return nil, err
			}
			return f(r.Context(), &q)
		})
	}
	mux.HandleFunc("POST /v1/shared", change(func(ctx context.Context, q *sharingRequest) (any, error) {
		a, err := s.api.AddSharedAccount(ctx, q.Account)
		if err == nil {
			s.log.Info("account_added", "account", a.ID, "name", a.Name)
		}
		return a, err
	}))
	mux.HandleFunc("GET /v1/acl", s.answer(func(r *http.Request) (any, error) {
		return s.api.ACLs(r.Context(), query(r, "account"), query(r, "mailbox"))
	}))
	mux.HandleFunc("POST /v1/acl", change(func(ctx context.Context, q *sharingRequest) (any, error) {
		return nil, s.api.SetACL(ctx, q.Account, q.Mailbox, q.Identifier, q.Rights)
	}))
	mux.HandleFunc("POST /v1/seen", change(func(ctx context.Context, q *sharingRequest) (any, error) {
		return nil, s.api.SetPrivateSeen(ctx, q.Account, q.Mailbox, q.In)
	}))
	mux.HandleFunc("GET /v1/groups", s.answer(func(r *http.Request) (any, error) { return s.api.Groups(r.Context()) }))
	mux.HandleFunc("POST /v1/groups", change(func(ctx context.Context, q *sharingRequest) (any, error) {
		return nil, s.api.SetGroup(ctx, q.Group, q.Account, q.In)
	}))
}
