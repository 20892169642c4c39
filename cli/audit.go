package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdAudit = command{
	name:  "audit",
	short: "Show who logged in, who was refused, and who changed what",
	long: `Prints the audit log, the newest last: the time, how often if an event repeated within an hour, the event, the account, the address it came from, what the mail program says that it is, and what happened. Events are ` + admin.AuditEvents() + `.

Logins are written to events.db within a minute, all else at once. 8192 logins are kept, as many refused ones, and as many of all other events. Names that are no account's are not noted, since people type passwords into the wrong field.`,
	examples: []example{
		{"nestbox audit --account anna --since 7d", "what happened to anna's account within a week"},
		{"nestbox audit --event login-refused --address 192.0.2.0/24", "who guesses from there"},
		{"nestbox audit --json", "a JSON list"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		var q admin.AuditQuery
		fs.StringVar(&q.Account, "account", "", "only of this account")
		fs.StringVar(&q.Address, "address", "", "only from this IP address or network")
		fs.StringVar(&q.Event, "event", "", "only these events")
		since := fs.String("since", "", "only from then on: a time (2026-11-23, 2026-11-23T10:00) or how long ago (3d, 12h)")
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			if *since != "" {
				at, err := parseSince(*since, time.Now())
				if err != nil {
					return &usageError{command: "audit", text: "--since " + err.Error()}
				}
				q.Since = at
			}
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Audit(ctx, q)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, append([]admin.AuditEvent{}, all...))
				}
				w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
				for _, a := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Time.Local().Format(time.DateTime), times(a.Count), a.Event, or(a.Account, "-"), or(a.Address, "-"), auditText(a))
				}
				return w.Flush()
			})
		}
	},
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf("x%d", n)
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

func auditText(a admin.AuditEvent) string {
	if a.Client == "" {
		return a.Detail
	}
	return a.Detail + " (" + a.Client + ")"
}
