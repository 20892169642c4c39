package cli

import (
	"context"
	"strings"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdActAsAdd = command{
	name:  "act-as add",
	args:  "ACTOR [ACCOUNT]",
	short: "Let an account log in for another",
	long:  "Lets ACTOR log in as ACCOUNT, or with --all as each account, with its own password: for a program that moves mail, a proxy or webmail. The program gives ACCOUNT as authorization identity (imapsync: --authuser1, curl: --sasl-authzid). What it does then is done as ACCOUNT; the log and `nestbox audit` name both.",
	examples: []example{
		{"nestbox act-as add migration anna", "the account migration may log in as anna"},
		{"nestbox act-as add webmail --all", "as everybody: keep this password well"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		all := fs.Bool("all", false, "for all accounts, those made later too")
		return func(ctx context.Context, e *env, args []string) error {
			account, err := actedFor(args, *all)
			if err != nil {
				return err
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.AddActAs(ctx, args[0], account); err != nil {
					return err
				}
				e.say("%s may log in as %s", args[0], orEverybody(account))
				return nil
			})
		}
	},
}

// actedFor is the account in the arguments, "" with --all.
func actedFor(args []string, all bool) (string, error) {
	if all == (len(args) == 2) {
		return "", &usageError{text: "name one ACCOUNT, or say --all"}
	}
	if all {
		return "", nil
	}
	return args[1], nil
}

func orEverybody(account string) string {
	if account == "" {
		return "everybody"
	}
	return account
}

var cmdActAsList = command{
	name:  "act-as list",
	short: "List the accounts that log in for others",
	long:  "Lists the accounts that may log in for others, and for whom.",
	examples: []example{
		{"nestbox act-as list", "a table"},
		{"nestbox act-as list --json", "for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.ActAs(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, append([]admin.ActAs{}, all...))
				}
				rows := [][]string{{"ACTOR", "ACTS FOR"}}
				for _, a := range all {
					whom := strings.Join(a.Accounts, " ")
					if a.All {
						whom = "everybody"
					}
					rows = append(rows, []string{a.Actor, whom})
				}
				return writeTable(e, rows)
			})
		}
	},
}

var cmdActAsDelete = command{
	name:  "act-as delete",
	args:  "ACTOR [ACCOUNT]",
	short: "Take away the right to log in for another",
	long:  "Takes from ACTOR the right to log in as ACCOUNT, or with --all as anybody but itself. The sessions in which it acts for another end.",
	examples: []example{
		{"nestbox act-as delete migration anna", "anna has moved"},
		{"nestbox act-as delete webmail --all", "it is nobody but itself again"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		all := fs.Bool("all", false, "for all accounts")
		return func(ctx context.Context, e *env, args []string) error {
			account, err := actedFor(args, *all)
			if err != nil {
				return err
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.DeleteActAs(ctx, args[0], account); err != nil {
					return err
				}
				e.say("%s may no longer log in as %s", args[0], orEverybody(account))
				return nil
			})
		}
	},
}
