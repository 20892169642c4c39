package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdAccountAdd = command{
	name:  "account add",
	args:  "NAME",
	short: "Make an account",
	long:  `Makes an account with the mailboxes INBOX, Drafts, Sent, Archive, Junk and Trash. NAME logs in: a word, or an address. The password is asked for on a terminal; where nobody types, --password-stdin reads it from the first line of standard input, and --generate makes one and prints it. On a new box, where nothing is in the place of the data folder yet, the data folder is made too. With --shared nobody logs in: its mailboxes are for those who get rights to them (acl set), under Shared/NAME/.`,
	examples: []example{
		{"nestbox account add anna", "asks for the password"},
		{"pass show mail/anna | nestbox account add anna --password-stdin", "takes it from a password manager"},
		{"nestbox account add anna --generate", "makes a password and prints it"},
		{"nestbox account add support --shared", "mailboxes of a team"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		ask := passwordFlags(fs)
		asJSON := jsonFlag(fs)
		hash := fs.String("hash", "", "the hash that another server kept of the password, with its {SCHEME}; see account import")
		shared := fs.Bool("shared", false, "an account that nobody logs in to: it has no password")
		return func(ctx context.Context, e *env, args []string) error {
			if *shared {
				return addShared(ctx, e, args[0], *asJSON)
			}
			if *hash != "" {
				return addHash(ctx, e, args[0], *hash, *asJSON)
			}
			password, made, err := ask(e, "Password for "+args[0])
			if err != nil {
				return err
			}
			return e.withNewAPI(ctx, func(api admin.API) error {
				a, err := api.AddAccount(ctx, args[0], password)
				if err != nil {
					return accountError(args[0], err)
				}
				e.say("account %s made", a.Name)
				return printPassword(e, *asJSON, a, password, made)
			})
		}
	},
}

// addHash makes an account with the hash of another server.
func addHash(ctx context.Context, e *env, name, hash string, asJSON bool) error {
	return e.withNewAPI(ctx, func(api admin.API) error {
		a, err := api.AddAccountWithHash(ctx, name, hash)
		if err != nil {
			return accountError(name, err)
		}
		e.say("account %s made", a.Name)
		return printPassword(e, asJSON, a, "", false)
	})
}

// scramColumn tells whether an account logs in by SCRAM.
func scramColumn(a admin.Account) string {
	switch {
	case a.Shared:
		return "-"
	case a.Password == admin.PasswordScram:
		return "yes"
	case a.Password == admin.PasswordHash, a.Password == admin.PasswordPlain:
		return "after a login"
	}
	return "no password"
}

// printPassword prints what a new account got, if the user doesn't know it.
func printPassword(e *env, asJSON bool, a admin.Account, password string, made bool) error {
	if !made {
		password = ""
	}
	if asJSON {
		return writeJSON(e.Stdout, struct {
			admin.Account
			Password string `json:"password,omitempty"`
		}{a, password})
	}
	if made {
		_, err := fmt.Fprintln(e.Stdout, password)
		return err
	}
	return nil
}

var cmdAccountList = command{
	name:  "account list",
	short: "List the accounts",
	long:  "Lists the accounts with their addresses, the number of their messages and the size of these in bytes. The column SCRAM says who can log in without sending the password; the mechanisms SCRAM are announced once everybody can. Who came with another server's hash can after one login.",
	examples: []example{
		{"nestbox account list", "a table"},
		{"nestbox account list --json | jq -r '.[].name'", "the names, for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Accounts(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, all)
				}
				rows := [][]string{{"NAME", "MESSAGES", "BYTES", "CREATED", "SCRAM", "ADDRESSES"}}
				for _, a := range all {
					rows = append(rows, []string{a.Name, fmt.Sprint(a.Messages), fmt.Sprint(a.Octets),
						a.Created.Local().Format(time.DateOnly), scramColumn(a), strings.Join(a.Addresses, " ")})
				}
				return writeTable(e, rows)
			})
		}
	},
}

var cmdAccountPasswd = command{
	name:  "account passwd",
	args:  "NAME",
	short: "Change an account's password",
	long:  "Gives an account a new password, asked for as in `account add`. The old one is not needed: who may run this command may read the mail anyway. Sessions that are open end.",
	examples: []example{
		{"nestbox account passwd anna", "asks for the new password"},
		{"nestbox account passwd anna --generate", "makes one and prints it"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		ask := passwordFlags(fs)
		hash := fs.String("hash", "", "the hash that another server kept of the password, with its {SCHEME}; see account import")
		return func(ctx context.Context, e *env, args []string) error {
			if *hash != "" {
				return e.withAPI(ctx, func(api admin.API) error {
					if err := api.SetHash(ctx, args[0], *hash); err != nil {
						return accountError(args[0], err)
					}
					e.say("password of %s changed", args[0])
					return nil
				})
			}
			password, made, err := ask(e, "New password for "+args[0])
			if err != nil {
				return err
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.SetPassword(ctx, args[0], password); err != nil {
					return accountError(args[0], err)
				}
				e.say("password of %s changed", args[0])
				return printPassword(e, false, admin.Account{}, password, made)
			})
		}
	},
}

// accountError says which account an error is about.
func accountError(name string, err error) error { return fmt.Errorf("account %s: %w", name, err) }

// writeTable prints rows in columns.
func writeTable(e *env, rows [][]string) error {
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	return w.Flush()
}
