package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdCheck = command{
	name:  "check",
	args:  "[NAME]",
	short: "Look for damage, or renew accounts whose files were put back",
	long: `Reads the data folder through and prints one line for each finding; the exit code is 1 when there is one.

With --restored nothing is looked for: it is for files that were put back by hand, from a snapshot or another copy. Every mailbox of NAME, or of all accounts, gets a new UIDVALIDITY, so that mail programs forget what they know of the time between and load again what is there (docs/restored-accounts.md). A single file that is older than the others is noticed without it.`,
	examples: []example{
		{"nestbox check", "reads all through"},
		{"nestbox check --restored", "after the data folder was put back from a snapshot"},
		{"nestbox check --restored anna", "after anna's files were"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		restored := fs.Bool("restored", false, "files were put back by hand: give the mailboxes a new UIDVALIDITY")
		return func(ctx context.Context, e *env, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if *restored {
					return e.restored(ctx, api, name)
				}
				findings, err := api.Check(ctx, name)
				for _, f := range findings {
					fmt.Fprintln(e.Stdout, f)
				}
				if err == nil && len(findings) > 0 {
					err = fmt.Errorf("%d findings", len(findings))
				}
				return err
			})
		}
	},
}

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
