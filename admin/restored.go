package admin

import (
	"context"
	"net/http"
	"net/url"

	"nestbox/storage"
)

// RestoredAPI is for files that are damaged or were put back by hand.
type RestoredAPI interface {
	// Restored gives all mailboxes of an account, or of all accounts when the
	// name is empty, a new UIDVALIDITY, and returns the names of the accounts
	// that have one.
	Restored(ctx context.Context, account string) ([]string, error)
	// Check reads an account through, or all of the data folder when the name
	// is empty, and returns what is wrong.
	Check(ctx context.Context, account string) ([]string, error)
}

// Check looks for damage.
func (l *Local) Check(_ context.Context, account string) ([]string, error) {
	if account == "" {
		return l.st.Check()
	}
	a, err := l.account(account)
	if err != nil {
		return nil, err
	}
	return a.Check()
}

// Check looks for damage.
func (r *Remote) Check(ctx context.Context, account string) (found []string, err error) {
	err = r.call(ctx, http.MethodGet, "/v1/check", url.Values{"account": {account}}, nil, &found)
	return found, err
}

// Restored renews the mailboxes of accounts.
func (l *Local) Restored(ctx context.Context, account string) (done []string, err error) {
	var accounts []storage.AccountInfo
	if account == "" {
		accounts, err = l.st.Accounts()
	} else {
		var info storage.AccountInfo
		info, err = l.st.FindAccount(account)
		accounts = append(accounts, info)
	}
	if err != nil {
		return nil, err
	}
	for _, info := range accounts {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if err := l.st.Restored(info.ID); err != nil {
			return done, err
		}
		done = append(done, info.Name)
	}
	return done, nil
}

// Restored renews the mailboxes of accounts.
func (r *Remote) Restored(ctx context.Context, account string) (done []string, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/restored", url.Values{"account": {account}}, nil, &done)
	return done, err
}
