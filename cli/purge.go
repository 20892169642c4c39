package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/config"
	"nestbox/storage"
)

var cmdPurge = command{
	name:  "purge",
	short: "Erase messages for good",
	long: `Erases messages so that they can't be restored: from the mailboxes and from among the expunged messages that are kept, with their bytes, their previews and what the search index knows of them. What was left of them in the account's files is overwritten. ` + oldCopies + `

All criteria that are given must match; --all takes everything. Texts are looked for as SEARCH does, in any case. Asks on a terminal; elsewhere --yes must say so. Messages that a hold keeps are not erased, nor anything else that was asked for with them.`,
	examples: []example{
		{"nestbox purge --account anna --subject \"new password\" --dry-run", "what would be erased"},
		{"nestbox purge --account anna --message-id 123@example.org --yes", "one message, wherever she has it"},
		{"nestbox purge --account anna --expunged --all", "everything that could still be restored"},
		{"nestbox purge --account anna --mailbox Junk --before 1y", "what came to Junk more than a year ago"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		account := fs.String("account", "", "account, by name or address (required)")
		criteria := criteriaFlags(fs)
		dry := fs.Bool("dry-run", false, "erase nothing, say what would be")
		yes := fs.Bool("yes", false, "don't ask")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			if *account == "" {
				return &usageError{command: "purge", text: "--account is missing"}
			}
			c, err := criteria(time.Now())
			if err != nil {
				return &usageError{command: "purge", text: err.Error()}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				res, err := api.Purge(ctx, *account, c, true)
				if err != nil {
					return accountError(*account, err)
				}
				if *dry || res.Messages+res.Expunged == 0 {
					return printPurge(e, res, *asJSON, "would be erased")
				}
				if !*yes {
					question := fmt.Sprintf("Erase %s of %s, so that nothing can bring them back?", purgeText(res), *account)
					if err := e.confirm(question); err != nil {
						return err
					}
				}
				if res, err = api.Purge(ctx, *account, c, false); err != nil {
					return accountError(*account, err)
				}
				if err := printPurge(e, res, *asJSON, "erased"); err != nil {
					return err
				}
				e.say("%s", oldCopies)
				return nil
			})
		}
	},
}

// criteriaFlags are the flags that choose messages.
func criteriaFlags(fs *pflag.FlagSet) func(now time.Time) (storage.Criteria, error) {
	var c storage.Criteria
	fs.StringVar(&c.Mailbox, "mailbox", "", "only in this mailbox, or what was expunged from it")
	all := fs.Bool("all", false, "all messages")
	fs.BoolVar(&c.Expunged, "expunged", false, "only expunged messages")
	before := fs.String("before", "", "received before then: a time (2026-11-23) or how long ago (30d, 1y)")
	since := fs.String("since", "", "received since then")
	fs.StringVar(&c.From, "from", "", "with this text in From")
	fs.StringVar(&c.To, "to", "", "with this text in To, Cc or Bcc")
	fs.StringVar(&c.Subject, "subject", "", "with this text in Subject")
	fs.StringVar(&c.MessageID, "message-id", "", "with this Message-ID")
	uids := fs.String("uid", "", "with these UIDs, such as 3:5,9; needs --mailbox")
	larger := fs.String("larger", "", "larger than so many bytes, such as \"10 MB\"")
	return func(now time.Time) (storage.Criteria, error) {
		var err error
		for _, t := range []struct {
			text, flag string
			to         *time.Time
		}{{*before, "--before", &c.Before}, {*since, "--since", &c.Since}} {
			if t.text == "" {
				continue
			}
			if *t.to, err = parseSince(t.text, now); err != nil {
				return c, fmt.Errorf("%s %w", t.flag, err)
			}
		}
		if *uids != "" {
			if c.UIDs, err = parseUIDs(*uids); err != nil || c.Mailbox == "" {
				return c, fmt.Errorf("--uid wants numbers such as 3:5,9 and --mailbox")
			}
		}
		if *larger != "" {
			n, err := config.ParseSize(*larger)
			if err != nil {
				return c, fmt.Errorf("--larger %w", err)
			}
			c.Larger = int64(n)
		}
		some := !c.Before.IsZero() || !c.Since.IsZero() || c.From+c.To+c.Subject+c.MessageID != "" || c.UIDs != nil || c.Larger > 0
		if some == *all {
			return c, fmt.Errorf("say which messages: by criteria such as --before or --subject, or --all")
		}
		return c, nil
	}
}

// parseUIDs reads "3:5,9".
func parseUIDs(s string) (set imap.UIDSet, err error) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		lo, err := strconv.ParseUint(first, 10, 32)
		if err != nil || lo == 0 {
			return nil, fmt.Errorf("%q is no UID", first)
		}
		hi, err := strconv.ParseUint(last, 10, 32)
		if err != nil || hi == 0 {
			return nil, fmt.Errorf("%q is no UID", last)
		}
		set.AddRange(imap.UID(lo), imap.UID(hi))
	}
	return set, nil
}

func purgeText(res storage.PurgeResult) string {
	return fmt.Sprintf("%d messages and %d expunged ones (%s)", res.Messages, res.Expunged, byteCount(res.Octets))
}

func printPurge(e *env, res storage.PurgeResult, asJSON bool, what string) error {
	if asJSON {
		return writeJSON(e.Stdout, res)
	}
	if _, err := fmt.Fprintf(e.Stdout, "%s %s\n", purgeText(res), what); err != nil {
		return err
	}
	if res.Shared > 0 {
		e.say("the bytes of %d of them are still there: other messages have the same", res.Shared)
	}
	if res.Pending {
		e.say("some of their bytes are being read just now, by a mail program or a backup; they go from the files within an hour after that ends")
	}
	return nil
}
