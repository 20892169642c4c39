package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/storage"
)

var cmdCheck = command{
	name:  "check",
	args:  "[NAME]",
	short: "Check the data and repair it, or renew accounts whose files were put back",
	long: `Reads system.db and all accounts through, or the account NAME: pages, rows, counts, change log, references, records, search index, and each message from its first to its last byte. Each thing that isn't as it should be is a line on standard output. Mail is served meanwhile, if a server runs.

--repair mends what can be made again from other data: counts, indexes, references, records, the search index, system.db's index and its copy, and rows in which one byte changed. Messages that belong to no mailbox go to the mailbox Recovered. It throws no mail away, says line by line what it does, and can be interrupted and run again. What it can't mend stays a finding.

--rebuild makes a new system.db from the folders of the accounts, when it and its copy are lost. They know names, addresses and settings; passwords are lost. No server may run. The old file stays under a name that is printed.

--restored looks for nothing: it is for files that were put back by hand, from a snapshot or another copy. Every mailbox of NAME, or of all accounts, gets a new UIDVALIDITY, so that mail programs forget what they know of the time between and load again what is there (docs/restored-accounts.md). A single file that is older than the others is noticed without it.

The exit code is 0 if nothing was found, or nothing is left, and else 1. Messages on damaged pages are brought out by salvage; restore brings single messages back from a backup.`,
	examples: []example{
		{"nestbox check", "read everything through; a server may run"},
		{"nestbox check --json anna | jq .", "one account, one JSON object a line"},
		{"nestbox check --repair anna", "mend what can be mended"},
		{"nestbox check --rebuild", "make system.db anew when it is lost"},
		{"nestbox check --restored", "after the data folder was put back from a snapshot"},
		{"nestbox check --restored anna", "after anna's files were"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		repair := fs.Bool("repair", false, "mend what can be mended")
		quick := fs.Bool("quick", false, "leave out the contents of the messages")
		rebuild := fs.Bool("rebuild", false, "make system.db anew from the folders of the accounts")
		restored := fs.Bool("restored", false, "files were put back by hand: give the mailboxes a new UIDVALIDITY")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			c := checking{env: e, json: *asJSON}
			if *rebuild {
				if *repair || *quick || *restored || len(args) > 0 {
					return &usageError{command: "check", text: "--rebuild goes alone"}
				}
				return c.rebuild()
			}
			o := storage.CheckOptions{Repair: *repair, Quick: *quick}
			if len(args) > 0 {
				o.Account = args[0]
			}
			if *restored && (*repair || *quick) {
				return &usageError{command: "check", text: "--restored goes alone"}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if *restored {
					return e.restored(ctx, api, o.Account)
				}
				return c.run(ctx, api, o)
			})
		}
	},
}

// checking is one run of the command.
type checking struct {
	*env
	json  bool
	found int
	pages bool // pages are damaged
}

func (c *checking) run(ctx context.Context, api admin.API, o storage.CheckOptions) error {
	left, err := api.Check(ctx, o, c.line)
	switch {
	case errors.Is(err, context.Canceled):
		return failWith(exitTryAgain, "interrupted; run it again")
	case err != nil:
		return accountError(o.Account, err)
	case left == 0:
		return nil
	}
	if c.pages {
		c.say("damaged pages can't be mended: `nestbox salvage` brings out what is left, `nestbox restore` what a backup has")
	} else if !o.Repair {
		c.say("`nestbox check --repair` mends what can be mended")
	}
	return failWith(exitFailed, "%d findings", left)
}

func (c *checking) line(f storage.Finding) error {
	if f.State == storage.Found {
		c.found++
		c.pages = c.pages || f.Kind == "pages"
	}
	if c.json {
		return writeJSONLine(c.Stdout, f)
	}
	_, err := fmt.Fprintln(c.Stdout, f)
	return err
}

// rebuild makes system.db anew.
func (c *checking) rebuild() error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if owner := dataOwner(cfg.Data); owner != "" {
		return failWith(exitNotAllowed, "%s belongs to the user %s: run this as %s", cfg.Data, owner, owner)
	}
	res, err := storage.Rebuild(cfg.Data, storage.Options{Version: Version}, c.line)
	var locked *storage.LockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("%w: stop it first", err)
	}
	if err != nil {
		return err
	}
	if c.json {
		return writeJSONLine(c.Stdout, res)
	}
	if res.Aside != "" {
		fmt.Fprintf(c.Stdout, "the old system.db is %s\n", res.Aside)
	}
	fmt.Fprintf(c.Stdout, "system.db was made anew with %d accounts\n", len(res.Accounts))
	c.say("nobody can log in until passwords are set: `nestbox account passwd NAME` for each account")
	return nil
}
