package cli

import (
	"context"
	"errors"

	"nestbox/admin"
)

// restored renews the mailboxes of accounts whose files were put back by hand.
func (e *env) restored(ctx context.Context, api admin.API, name string) error {
	done, err := api.Restored(ctx, name)
	for _, name := range done {
		e.say("account %s: every mailbox has a new UIDVALIDITY; mail programs load them again", name)
	}
	if err == nil && len(done) == 0 {
		err = errors.New("there are no accounts")
	}
	return err
}
