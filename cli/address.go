package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdAddressAdd = command{
	name:  "address add",
	args:  "ACCOUNT ADDRESS",
	short: "Give an account an address",
	long:  "Gives an account an address. An account can have several, and each logs in. The address's domain is added if it isn't there.",
	examples: []example{
		{"nestbox address add anna anna@example.org", "anna can log in as anna@example.org too"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.AddAddress(ctx, args[0], args[1]); err != nil {
					return fmt.Errorf("address %s for %s: %w", args[1], args[0], err)
				}
				e.say("%s belongs to %s", args[1], args[0])
				return nil
			})
		}
	},
}

var cmdAddressList = command{
	name:  "address list",
	args:  "[ACCOUNT]",
	short: "List the addresses",
	long:  "Lists all addresses, or those of an account.",
	examples: []example{
		{"nestbox address list", "all addresses and whose they are"},
		{"nestbox address list anna --json", "those of anna, for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			account := ""
			if len(args) > 0 {
				account = args[0]
			}
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Addresses(ctx, account)
				if err != nil {
					return accountError(account, err)
				}
				if *asJSON {
					return writeJSON(e.Stdout, all)
				}
				rows := [][]string{{"ADDRESS", "ACCOUNT"}}
				for _, a := range all {
					rows = append(rows, []string{a.Address, a.Account})
				}
				return writeTable(e, rows)
			})
		}
	},
}

var cmdAddressDelete = command{
	name:  "address delete",
	args:  "ADDRESS",
	short: "Delete an address",
	long:  "Takes an address from its account. The account and its mail stay.",
	examples: []example{
		{"nestbox address delete anna@example.org", "nobody has the address any more"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.DeleteAddress(ctx, args[0]); err != nil {
					return fmt.Errorf("address %s: %w", args[0], err)
				}
				e.say("address %s deleted", args[0])
				return nil
			})
		}
	},
}
