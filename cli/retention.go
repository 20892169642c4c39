package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
)

var cmdRetentionAdd = command{
	name:  "retention add",
	short: "Make a rule by which messages are expunged",
	long:  "Makes a rule for a mailbox, for all mailboxes below one (\"Lists/*\"), or for the one with a special use; in one account or in all. By it messages are expunged that are too old or too many. It first runs a day later, so that there is time to look at `nestbox retention run --dry-run`. Mail programs see the messages vanish, and they are kept and can be restored as others are. A hold beats every rule.",
	examples: []example{
		{"nestbox retention add --account anna --special-use Trash --age 30d", "empties the trash of what lies there for 30 days"},
		{"nestbox retention add --all --special-use Junk --age 14d", "the same for the junk of everybody"},
		{"nestbox retention add --account anna --mailbox \"Lists/*\" --messages 1000", "keeps the newest 1000 of each list"},
		{"nestbox retention add --account anna --mailbox Camera --size \"2 GB\"", "keeps the newest, at most 2 GB"},
		{"nestbox retention add --account anna --mailbox Archive --age 10y --received", "by the date of the message, not of its coming to the mailbox"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		whose := forOneOrAll(fs)
		mailbox := fs.String("mailbox", "", "mailbox, or all below one: \"Lists/*\"")
		use := fs.String("special-use", "", "the mailbox with this special use: Trash, Junk, Sent, Drafts, Archive")
		age := fs.String("age", "", "expunge what is older, such as 30d, 10y: since it came to the mailbox")
		received := fs.Bool("received", false, "let it age from its date (INTERNALDATE) instead")
		messages := fs.Int64("messages", 0, "keep so many messages, the newest")
		size := fs.String("size", "", "keep so many bytes, the newest, such as \"2 GB\"")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			r := storage.RetentionRule{Mailbox: *mailbox, SpecialUse: imap.MailboxAttr(*use), Received: *received, Messages: *messages}
			account, err := whose.account("retention add")
			if err != nil {
				return err
			}
			if *age != "" {
				d, err := parseAge(*age)
				if err != nil || d < 24*time.Hour {
					return &usageError{command: "retention add", text: "--age wants days or more, such as 30d or 10y, not " + quoteWord(*age)}
				}
				r.Days = int(d / (24 * time.Hour))
			}
			if *size != "" {
				n, err := config.ParseSize(*size)
				if err != nil {
					return &usageError{command: "retention add", text: "--size " + err.Error()}
				}
				r.Octets = int64(n)
			}
			return e.withAPI(ctx, func(api admin.API) error {
				made, err := api.AddRetention(ctx, account, r)
				if err != nil {
					return whose.failed(err)
				}
				if *asJSON {
					return writeJSON(e.Stdout, made)
				}
				e.say("rule %s made: %s; it first runs at %s", made.ID, ruleText(&made), made.Starts().Local().Format("2006-01-02 15:04"))
				return nil
			})
		}
	},
}

// oneOrAll are the flags that say whose a rule is.
type oneOrAll struct {
	name *string
	all  *bool
}

func forOneOrAll(fs *pflag.FlagSet) oneOrAll {
	return oneOrAll{fs.String("account", "", "account, by name or address"), fs.Bool("all", false, "all accounts, also those that are made later")}
}

// account is the account's name, or "" for all.
func (o oneOrAll) account(command string) (string, error) {
	switch {
	case *o.all && *o.name != "":
		return "", &usageError{command: command, text: "--account and --all exclude each other"}
	case !*o.all && *o.name == "":
		return "", &usageError{command: command, text: "say whose with --account NAME, or --all"}
	}
	return *o.name, nil
}

func (o oneOrAll) failed(err error) error {
	if *o.all {
		return err
	}
	return accountError(*o.name, err)
}

// ruleText says what a rule does.
func ruleText(r *storage.RetentionRule) string {
	var parts []string
	if r.Days > 0 {
		since := "lie there for"
		if r.Received {
			since = "were received before"
		}
		parts = append(parts, fmt.Sprintf("expunge what %s %d days", since, r.Days))
	}
	if r.Messages > 0 {
		parts = append(parts, fmt.Sprintf("keep the newest %d messages", r.Messages))
	}
	if r.Octets > 0 {
		parts = append(parts, "keep the newest "+byteCount(r.Octets))
	}
	return r.Of() + ": " + strings.Join(parts, ", ")
}

var cmdRetentionList = command{
	name:  "retention list",
	short: "List retention rules",
	long:  "Lists the retention rules that hold for an account, or all there are. Those for all accounts come first, as \"(all)\".",
	examples: []example{
		{"nestbox retention list", "all rules"},
		{"nestbox retention list --account anna --json", "hers, for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		account := fs.String("account", "", "only of this account")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Policies(ctx, *account)
				if err != nil {
					return err
				}
				forAll, err := api.RetentionForAll(ctx)
				if err != nil {
					return err
				}
				type accountRule struct {
					Account string `json:"account"` // "": all
					storage.RetentionRule
				}
				list := []accountRule{}
				rows := [][]string{{"ACCOUNT", "RULE", "RUNS FROM", "WHAT"}}
				add := func(account, shown string, r *storage.RetentionRule) {
					list = append(list, accountRule{account, *r})
					rows = append(rows, []string{shown, r.ID, r.Starts().Local().Format("2006-01-02 15:04"), ruleText(r)})
				}
				for i := range forAll {
					add("", "(all)", &forAll[i])
				}
				for _, p := range all {
					for i := range p.Retention {
						if !p.Retention[i].All {
							add(p.Name, p.Name, &p.Retention[i])
						}
					}
				}
				if *asJSON {
					return writeJSON(e.Stdout, list)
				}
				return writeTable(e, rows)
			})
		}
	},
}

var cmdRetentionDelete = command{
	name:  "retention delete",
	args:  "RULE",
	short: "Take a retention rule away",
	long:  "Takes a retention rule of an account, or one for all accounts, away. What it has expunged comes back with `nestbox restore`, as long as it is kept.",
	examples: []example{
		{"nestbox retention delete --account anna k3x7qabc", "RULE is the rule's name in `nestbox retention list`"},
		{"nestbox retention delete --all p2m5tabc", "a rule for all accounts"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		whose := forOneOrAll(fs)
		return func(ctx context.Context, e *env, args []string) error {
			account, err := whose.account("retention delete")
			if err != nil {
				return err
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.DeleteRetention(ctx, account, args[0]); err != nil {
					return whose.failed(err)
				}
				e.say("rule %s deleted", args[0])
				return nil
			})
		}
	},
}

var cmdRetentionRun = command{
	name:  "retention run",
	short: "Apply an account's retention rules now",
	long:  "Applies the retention rules that are at least a day old; the server does so once a day. With --dry-run nothing happens, and rules that wait are looked at too.",
	examples: []example{
		{"nestbox retention run --account anna --dry-run", "what the rules would do"},
		{"nestbox retention run --account anna", "do it"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		account := fs.String("account", "", "account, by name or address (required)")
		dry := fs.Bool("dry-run", false, "expunge nothing, say what would be")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			if *account == "" {
				return &usageError{command: "retention run", text: "--account is missing"}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				res, err := api.RunRetention(ctx, *account, *dry)
				if err != nil {
					return accountError(*account, err)
				}
				if *asJSON {
					return writeJSON(e.Stdout, res)
				}
				rows := [][]string{{"MAILBOX", "RULE", "MESSAGES", "SIZE", "NOTE"}}
				for i := range res {
					rows = append(rows, retentionRow(&res[i]))
				}
				return writeTable(e, rows)
			})
		}
	},
}

func retentionRow(r *storage.RetentionResult) []string {
	note := ""
	switch {
	case r.Held:
		note = "held: nothing goes"
	case r.Waiting:
		note = "runs from " + r.Rule.Starts().Local().Format("2006-01-02 15:04")
	}
	return []string{r.Mailbox, r.Rule.ID, fmt.Sprint(r.Messages), byteCount(r.Octets), note}
}
