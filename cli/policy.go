package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
)

var cmdQuota = command{
	name:  "quota",
	args:  "[ACCOUNT]",
	short: "Show or change how much an account may hold",
	long:  "Without flags shows what the accounts hold and may hold. With flags gives ACCOUNT quotas of its own; --default takes them away, so that those of the household hold (nestbox set quota, quota_messages, quota_mailboxes). 0 is no limit. Expunged messages count in no quota. Who holds more than a quota that was lowered loses nothing, and can add nothing.",
	examples: []example{
		{"nestbox quota", "all accounts"},
		{"nestbox quota anna --bytes \"5 GB\" --messages 100000", "gives her two quotas"},
		{"nestbox quota anna --default", "takes them away"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		octets := fs.String("bytes", "", "bytes of mail, such as \"5 GB\"")
		messages := fs.String("messages", "", "number of messages")
		mailboxes := fs.String("mailboxes", "", "number of mailboxes")
		toDefault := fs.Bool("default", false, "the household's quotas again")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			change := map[string]string{}
			if *octets != "" {
				n, err := config.ParseSize(*octets)
				if err != nil {
					return &usageError{command: "quota", text: "--bytes " + err.Error()}
				}
				change[storage.SettingQuota] = strconv.FormatInt(int64(n), 10)
			}
			for flag, s := range map[string]struct{ key, value string }{
				"messages": {storage.SettingQuotaMessages, *messages}, "mailboxes": {storage.SettingQuotaMailboxes, *mailboxes},
			} {
				if s.value == "" {
					continue
				}
				if _, err := strconv.ParseUint(s.value, 10, 40); err != nil {
					return &usageError{command: "quota", text: "--" + flag + " wants a whole number, not " + quoteWord(s.value)}
				}
				change[s.key] = s.value
			}
			if *toDefault {
				if len(change) > 0 {
					return &usageError{command: "quota", text: "--default goes alone"}
				}
				change = map[string]string{storage.SettingQuota: "", storage.SettingQuotaMessages: "", storage.SettingQuotaMailboxes: ""}
			}
			if len(change) > 0 && len(args) == 0 {
				return &usageError{command: "quota", text: "whose? ACCOUNT is missing (nestbox set quota for all)"}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				for _, key := range slices.Sorted(maps.Keys(change)) {
					if err := api.SetAccountSetting(ctx, args[0], key, change[key]); err != nil {
						return accountError(args[0], err)
					}
				}
				return e.showPolicies(ctx, api, args, *asJSON, quotaRow, "ACCOUNT", "BYTES", "OF", "MESSAGES", "OF", "MAILBOXES", "OF")
			})
		}
	},
}

func quotaRow(p *admin.Policy) []string {
	limit := func(n int64, text string) string {
		if n == 0 {
			return "-"
		}
		return text
	}
	return []string{p.Name, byteCount(p.Used.Octets), limit(p.Limits.Octets, byteCount(p.Limits.Octets)),
		fmt.Sprint(p.Used.Messages), limit(p.Limits.Messages, fmt.Sprint(p.Limits.Messages)),
		fmt.Sprint(p.Used.Mailboxes), limit(p.Limits.Mailboxes, fmt.Sprint(p.Limits.Mailboxes))}
}

// showPolicies prints a row for each account, or for the one that args name.
func (e *env) showPolicies(ctx context.Context, api admin.API, args []string, asJSON bool, row func(*admin.Policy) []string, head ...string) error {
	account := ""
	if len(args) > 0 {
		account = args[0]
	}
	all, err := api.Policies(ctx, account)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.Stdout, all)
	}
	rows := [][]string{head}
	for i := range all {
		rows = append(rows, row(&all[i]))
	}
	return writeTable(e, rows)
}

var cmdKept = command{
	name:  "kept",
	args:  "[ACCOUNT]",
	short: "Show or change how long expunged messages are kept",
	long:  "Without flags shows how many expunged messages the accounts have, which `nestbox restore` brings back, and for how many days they are kept. --days gives ACCOUNT, or with --mailbox one of its mailboxes, a number of its own; --default takes it away. `nestbox set kept_days` is the household's. What was kept long enough goes within a day.",
	examples: []example{
		{"nestbox kept", "all accounts"},
		{"nestbox kept anna --days 30", "keeps hers for 30 days"},
		{"nestbox kept anna --mailbox Junk --days 1", "and what is expunged from Junk for a day"},
		{"nestbox kept anna --mailbox Junk --default", "as long as the others again"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		mailbox := fs.String("mailbox", "", "a mailbox of ACCOUNT")
		days := fs.Int("days", -1, "number of days; 0 keeps nothing")
		toDefault := fs.Bool("default", false, "no number of its own")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			change := *days >= 0 || *toDefault
			switch {
			case *days >= 0 && *toDefault:
				return &usageError{command: "kept", text: "--days or --default, not both"}
			case (change || *mailbox != "") && len(args) == 0:
				return &usageError{command: "kept", text: "whose? ACCOUNT is missing (nestbox set kept_days for all)"}
			case *mailbox != "" && !change:
				return &usageError{command: "kept", text: "--mailbox needs --days or --default"}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if change {
					if err := setKept(ctx, api, args[0], *mailbox, *days); err != nil {
						return accountError(args[0], err)
					}
				}
				return e.showPolicies(ctx, api, args, *asJSON, keptRow, "ACCOUNT", "EXPUNGED", "SIZE", "DAYS", "MAILBOXES WITH OTHER DAYS")
			})
		}
	},
}

func setKept(ctx context.Context, api admin.API, account, mailbox string, days int) error {
	if mailbox != "" {
		return api.KeepMailbox(ctx, account, mailbox, days)
	}
	value := ""
	if days >= 0 {
		value = strconv.Itoa(days)
	}
	return api.SetAccountSetting(ctx, account, storage.SettingKeptDays, value)
}

func keptRow(p *admin.Policy) []string {
	var boxes []string
	for _, name := range slices.Sorted(maps.Keys(p.MailboxKeptDays)) {
		boxes = append(boxes, fmt.Sprintf("%s=%d", name, p.MailboxKeptDays[name]))
	}
	days := fmt.Sprint(p.KeptDays)
	if p.Hold {
		days = "for ever (held)"
	}
	return []string{p.Name, fmt.Sprint(p.Kept.Messages), byteCount(p.Kept.Octets), days, strings.Join(boxes, ", ")}
}

var cmdHoldAdd = command{
	name:  "hold add",
	args:  "ACCOUNT",
	short: "Put an account or a mailbox under a legal hold",
	long:  "From now on nothing of the account, or with --mailbox of one mailbox, goes for good: expunged messages are kept for ever, also those that are moved elsewhere, retention rules do nothing, and purge and account delete are refused. Mail programs see nothing of it and work as before. A mailbox that is renamed or deleted stays under its hold.",
	examples: []example{
		{"nestbox hold add anna", "everything of hers"},
		{"nestbox hold add anna --mailbox Projects/Bridge", "one mailbox"},
	},
	setup: func(fs *pflag.FlagSet) runFunc { return setHold(fs, true) },
}

var cmdHoldDelete = command{
	name:  "hold delete",
	args:  "ACCOUNT",
	short: "End a legal hold",
	long:  "Ends the hold of an account, or with --mailbox of one mailbox. What was kept only by it goes within a day if it is older than expunged messages are kept.",
	examples: []example{
		{"nestbox hold delete anna --mailbox Projects/Bridge", "ends the hold of that mailbox"},
	},
	setup: func(fs *pflag.FlagSet) runFunc { return setHold(fs, false) },
}

func setHold(fs *pflag.FlagSet, on bool) runFunc {
	dataFlags(fs)
	mailbox := fs.String("mailbox", "", "only this mailbox")
	return func(ctx context.Context, e *env, args []string) error {
		return e.withAPI(ctx, func(api admin.API) error {
			if err := api.Hold(ctx, args[0], *mailbox, on); err != nil {
				return accountError(args[0], err)
			}
			what := "account " + args[0]
			if *mailbox != "" {
				what = "mailbox " + *mailbox + " of " + args[0]
			}
			if on {
				e.say("%s is held", what)
			} else {
				e.say("%s is held no more", what)
			}
			return nil
		})
	}
}

var cmdHoldList = command{
	name:  "hold list",
	short: "List what is under a legal hold",
	long:  "Lists the accounts and mailboxes that are under a legal hold, deleted mailboxes included.",
	examples: []example{
		{"nestbox hold list", "a table"},
		{"nestbox hold list --json", "for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Policies(ctx, "")
				if err != nil {
					return err
				}
				type held struct {
					Account string `json:"account"`
					Mailbox string `json:"mailbox,omitempty"`
				}
				list, rows := []held{}, [][]string{{"ACCOUNT", "MAILBOX"}}
				for _, p := range all {
					if p.Hold {
						list, rows = append(list, held{Account: p.Name}), append(rows, []string{p.Name, "(all)"})
					}
					for _, m := range p.HeldMailboxes {
						list, rows = append(list, held{p.Name, m}), append(rows, []string{p.Name, m})
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
