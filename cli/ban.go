package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/auth"
)

var cmdBanList = command{
	name:  "ban list",
	short: "List the addresses that are banned",
	long:  "Lists the addresses that aren't served for now, because too many logins from there failed (`ban_after`). Bans end by themselves.",
	examples: []example{
		{"nestbox ban list", "one a line: address, until when, failed logins"},
		{"nestbox ban list --json", "a JSON list"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Bans(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, append([]auth.Ban{}, all...))
				}
				w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
				for _, b := range all {
					fmt.Fprintf(w, "%s\tuntil %s\t%d failed logins\n", b.Address, b.Until.Local().Format(time.DateTime), b.Failures)
				}
				return w.Flush()
			})
		}
	},
}

var cmdBanLift = command{
	name:  "ban lift",
	args:  "ADDRESS",
	short: "Serve a banned address again",
	long:  "Ends the ban of an address at once and forgets its failed logins.",
	examples: []example{
		{"nestbox ban lift 192.0.2.7", "it may connect again"},
		{"nestbox ban lift 2001:db8::7", "so may all of its /64"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.LiftBan(ctx, args[0]); err != nil {
					return fmt.Errorf("ban of %s: %w", args[0], err)
				}
				e.say("%s is no longer banned", args[0])
				return nil
			})
		}
	},
}
