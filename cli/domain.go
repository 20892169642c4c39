package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdDomainAdd = command{
	name:  "domain add",
	args:  "DOMAIN",
	short: "Add a domain",
	long:  "Adds a domain whose mail this box is for. `address add` does it by itself for the domain of an address.",
	examples: []example{
		{"nestbox domain add example.org", "addresses can be in example.org"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.AddDomain(ctx, args[0]); err != nil {
					return fmt.Errorf("domain %s: %w", args[0], err)
				}
				e.say("domain %s added", args[0])
				return nil
			})
		}
	},
}

var cmdDomainList = command{
	name:  "domain list",
	short: "List the domains",
	long:  "Lists the domains, one a line.",
	examples: []example{
		{"nestbox domain list", "one a line"},
		{"nestbox domain list --json", "a JSON list"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Domains(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, append([]string{}, all...))
				}
				for _, d := range all {
					if _, err := fmt.Fprintln(e.Stdout, d); err != nil {
						return err
					}
				}
				return nil
			})
		}
	},
}

var cmdDomainDelete = command{
	name:  "domain delete",
	args:  "DOMAIN",
	short: "Delete a domain that no address uses",
	long:  "Deletes a domain. Its addresses must be deleted before.",
	examples: []example{
		{"nestbox domain delete example.org", "the domain is gone"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.DeleteDomain(ctx, args[0]); err != nil {
					return fmt.Errorf("domain %s: %w", args[0], err)
				}
				e.say("domain %s deleted", args[0])
				return nil
			})
		}
	},
}
