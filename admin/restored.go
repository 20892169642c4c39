package admin

import (
	"context"
	"net/http"
	"net/url"

	"nestbox/storage"
)

// RestoredAPI is for files that were put back by hand.
type RestoredAPI interface {
	// Restored gives all mailboxes of an account, or of all accounts when the
	// name is empty, a new UIDVALIDITY, and returns the names of the accounts
	// that have one.
	Restored(ctx context.Context, account string) ([]string, error)
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
