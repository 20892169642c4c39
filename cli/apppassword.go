package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdAppPasswordAdd = command{
	name:  "app-password add",
	args:  "ACCOUNT NAME",
	short: "Make a password for one device or program",
	long:  "Makes a password beside the account's own, and prints it once: it is stored nowhere. Put it into one device or program, named by NAME; it can be revoked without touching the others. --scope says what it is for: imap, pop3, submission, read-only, with commas between. With read-only it changes nothing, not even which messages are read.",
	examples: []example{
		{"nestbox app-password add anna phone", "for everything that a mail program does"},
		{"nestbox app-password add anna backup --scope imap,read-only", "for a program that only copies mail"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		scope := fs.String("scope", "imap,pop3,submission", "what it may be used for")
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				password, err := api.AddAppPassword(ctx, args[0], args[1], *scope)
				if err != nil {
					return accountError(args[0], err)
				}
				if *asJSON {
					return writeJSON(e.Stdout, map[string]string{"name": args[1], "password": password})
				}
				e.say("app password %s of %s made; it is not shown again", args[1], args[0])
				_, err = fmt.Fprintln(e.Stdout, password)
				return err
			})
		}
	},
}

var cmdAppPasswordList = command{
	name:  "app-password list",
	args:  "ACCOUNT",
	short: "List the app passwords of an account",
	long:  "Lists the app passwords of an account: what they are for, when they were made and last used. The passwords themselves can't be shown.",
	examples: []example{
		{"nestbox app-password list anna", "a table"},
		{"nestbox app-password list anna --json", "for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.AppPasswords(ctx, args[0])
				if err != nil {
					return accountError(args[0], err)
				}
				if *asJSON {
					return writeJSON(e.Stdout, append([]admin.AppPassword{}, all...))
				}
				rows := [][]string{{"NAME", "CREATED", "LAST USED", "SCOPE"}}
				for _, p := range all {
					used, scope := "never", strings.Join(p.Scope, ",")
					if p.LastUsed != nil {
						used = p.LastUsed.Local().Format(time.DateTime)
					}
					if len(p.Scope) == 0 {
						scope = "unreadable: revoke it"
					}
					rows = append(rows, []string{p.Name, p.Created.Local().Format(time.DateOnly), used, scope})
				}
				return writeTable(e, rows)
			})
		}
	},
}

var cmdAppPasswordRevoke = command{
	name:  "app-password revoke",
	args:  "ACCOUNT NAME",
	short: "Take an app password away",
	long:  "Takes an app password away. Its sessions end at once; the account's other passwords stay.",
	examples: []example{
		{"nestbox app-password revoke anna phone", "the phone is lost"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.RevokeAppPassword(ctx, args[0], args[1]); err != nil {
					return accountError(args[0], err)
				}
				e.say("app password %s of %s revoked", args[1], args[0])
				return nil
			})
		}
	},
}
