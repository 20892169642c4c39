package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/storage"
)

// oldCopies is said wherever something is erased.
const oldCopies = "Backups, snapshots of the file system and flash cells that a card has put aside may hold older copies."

var cmdAccountDelete = command{
	name:  "account delete",
	args:  "NAME",
	short: "Delete an account and its mail",
	long: `Deletes an account with its addresses, at once: its sessions end, nobody can log in. Asks on a terminal; elsewhere --yes must say so. Its mail is kept as long as expunged messages are (14 days; nestbox set kept_days), and ` + "`nestbox account undelete`" + ` brings it back.

With --now its files are removed at once, also those of an account that is deleted already. ` + oldCopies + ` An account of which a hold keeps anything can't be deleted.`,
	examples: []example{
		{"nestbox account delete anna", "asks, then deletes"},
		{"nestbox account delete anna --yes", "deletes without asking"},
		{"nestbox account delete anna --now", "erases her mail"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		yes := fs.Bool("yes", false, "don't ask")
		now := fs.Bool("now", false, "keep nothing: remove the files at once")
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				question := "Delete the account " + args[0] + " and all its mail?"
				if *now {
					question = "Erase the account " + args[0] + " and all its mail, so that it can't be brought back?"
				}
				notice, err := api.DeletionNotice(ctx, args[0])
				if err != nil && !(*now && errors.Is(err, storage.ErrNoAccount)) { // --now takes deleted ones too
					return accountError(args[0], err)
				}
				if notice != "" {
					e.say("warning: %s", notice)
				}
				if !*yes {
					if err := e.confirm(question); err != nil {
						return err
					}
				}
				if *now {
					if err := api.EraseAccount(ctx, args[0]); err != nil {
						return accountError(args[0], err)
					}
					e.say("account %s erased. %s", args[0], oldCopies)
					return nil
				}
				if err := api.DeleteAccount(ctx, args[0]); err != nil {
					return accountError(args[0], err)
				}
				if notice != "" {
					e.say("account %s deleted; there was no mail to keep", args[0])
					return nil
				}
				e.say("account %s deleted; nestbox account undelete %s brings it back", args[0], args[0])
				return nil
			})
		}
	},
}

var cmdAccountUndelete = command{
	name:  "account undelete",
	args:  "[NAME]",
	short: "Bring a deleted account back",
	long:  "Brings a deleted account back, with its mail, its password and those of its addresses that nobody else has meanwhile. NAME is the name that it had, or where several had it, its id. Without NAME lists the deleted accounts and until when each can be brought back.",
	examples: []example{
		{"nestbox account undelete", "lists what can be brought back"},
		{"nestbox account undelete anna", "brings it back"},
		{"nestbox account undelete anna --as anna2", "under another name, as somebody has hers"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		as := fs.String("as", "", "another name for the account")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if len(args) == 0 {
					return e.listDeleted(ctx, api, *asJSON)
				}
				u, err := api.Undelete(ctx, args[0], *as)
				if err != nil {
					return accountError(args[0], err)
				}
				e.say("account %s is back with %d messages", u.Name, u.Messages)
				for _, a := range u.Lost {
					e.say("address %s belongs to somebody else now", a)
				}
				if *asJSON {
					return writeJSON(e.Stdout, u)
				}
				return nil
			})
		}
	},
}

func (e *env) listDeleted(ctx context.Context, api admin.API, asJSON bool) error {
	all, err := api.Deleted(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.Stdout, all)
	}
	rows := [][]string{{"NAME", "ID", "DELETED", "UNTIL", "SIZE", "ADDRESSES"}}
	for _, d := range all {
		rows = append(rows, []string{d.Name, d.ID, d.Deleted.Local().Format(time.DateOnly), d.Until.Local().Format(time.DateOnly),
			byteCount(d.FileBytes), strings.Join(d.Addresses, " ")})
	}
	return writeTable(e, rows)
}

var cmdAccountDisable = command{
	name:  "account disable",
	args:  "NAME",
	short: "Close an account to logins",
	long:  "Closes an account: its sessions end, and nobody can log in until `nestbox account enable`. Its mail stays.",
	examples: []example{
		{"nestbox account disable anna", "ends her sessions and refuses new ones"},
	},
	setup: func(fs *pflag.FlagSet) runFunc { return setDisabled(fs, true, "closed") },
}

var cmdAccountEnable = command{
	name:  "account enable",
	args:  "NAME",
	short: "Open an account to logins again",
	long:  "Opens an account that `nestbox account disable` closed.",
	examples: []example{
		{"nestbox account enable anna", "lets her log in again"},
	},
	setup: func(fs *pflag.FlagSet) runFunc { return setDisabled(fs, false, "open") },
}

func setDisabled(fs *pflag.FlagSet, disabled bool, now string) runFunc {
	dataFlags(fs)
	return func(ctx context.Context, e *env, args []string) error {
		return e.withAPI(ctx, func(api admin.API) error {
			if err := api.SetDisabled(ctx, args[0], disabled); err != nil {
				return accountError(args[0], err)
			}
			e.say("account %s is %s", args[0], fmt.Sprintf("%s to logins", now))
			return nil
		})
	}
}
