package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdACLList = command{
	name:  "acl list",
	args:  "ACCOUNT [MAILBOX]",
	short: "List who may do what in an account's mailboxes",
	long:  "Lists the mailboxes of an account that others may see, with whom and their rights: l looks it up, r reads, s changes \\Seen, w other flags, i adds messages, p is for posting, k makes mailboxes below, x deletes it, t changes \\Deleted, e expunges, a administers. The account itself has all rights, always.",
	examples: []example{
		{"nestbox acl list support", "every mailbox that is shared"},
		{"nestbox acl list support INBOX --json", "one, for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			mailbox := ""
			if len(args) > 1 {
				mailbox = args[1]
			}
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.ACLs(ctx, args[0], mailbox)
				if err != nil {
					return accountError(args[0], err)
				}
				if *asJSON {
					return writeJSON(e.Stdout, all)
				}
				rows := [][]string{{"MAILBOX", "WHO", "RIGHTS"}}
				for _, m := range all {
					for _, entry := range m.ACL {
						rows = append(rows, []string{m.Mailbox, entry.Identifier, entry.Rights})
					}
				}
				return writeTable(e, rows)
			})
		}
	},
}

var cmdACLSet = command{
	name:  "acl set",
	args:  "ACCOUNT MAILBOX WHO RIGHTS",
	short: "Say what others may do in a mailbox",
	long:  "Gives WHO rights to a mailbox of the account: the letters that `acl list` explains. +RIGHTS adds to what WHO has and -RIGHTS takes from it; none takes WHO off the list. WHO is the name or an address of an account, $GROUP (see `group add`), or anyone: everybody who can log in. With a - in front of WHO the rights are taken away, whatever else grants them. (A word that begins with - needs -- before the arguments.) Others find the mailbox under Users/ACCOUNT/, or for a shared account under Shared/ACCOUNT/. In a shared account, new mailboxes begin with what INBOX has.",
	examples: []example{
		{"nestbox acl set support INBOX anna lrswipkxtea", "anna may do everything, and let others in"},
		{"nestbox acl set anna Projects '$office' lrs", "the group reads, and marks what is read"},
		{"nestbox acl set -- support INBOX -bob te", "bob deletes nothing there, whatever his groups may"},
		{"nestbox acl set support INBOX anyone none", "no longer for everybody"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			rights := args[3]
			if rights == "none" {
				rights = ""
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.SetACL(ctx, args[0], args[1], args[2], rights); err != nil {
					return accountError(args[0], err)
				}
				e.say("rights of %s to %s of %s: changed", args[2], args[1], args[0])
				return nil
			})
		}
	},
}

var cmdACLSeen = command{
	name:  "acl seen",
	args:  "ACCOUNT MAILBOX private|everybody",
	short: "Say whose the flag \\Seen is in a mailbox",
	long:  "At first \\Seen is everybody's: what one of a team has read, all have read. With private, each who sees the mailbox has a \\Seen of their own, and counts of unread messages that go with it. The owner of the account keeps the one that there was. Mailboxes that are made below begin with the same.",
	examples: []example{
		{"nestbox acl seen news INBOX private", "everybody reads at their own pace"},
		{"nestbox acl seen support INBOX everybody", "a team again"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		return func(ctx context.Context, e *env, args []string) error {
			if args[2] != "private" && args[2] != "everybody" {
				return &usageError{text: "want private or everybody, not " + quoteWord(args[2])}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				if err := api.SetPrivateSeen(ctx, args[0], args[1], args[2] == "private"); err != nil {
					return accountError(args[0], err)
				}
				e.say("\\Seen of %s of %s: %s", args[1], args[0], args[2])
				return nil
			})
		}
	},
}

var cmdGroupAdd = command{
	name:  "group add",
	args:  "GROUP ACCOUNT",
	short: "Put an account into a group",
	long:  "A group stands for its members where rights to mailboxes are given, as $GROUP. It is there as long as somebody is in it.",
	examples: []example{
		{"nestbox group add office anna", "$office has anna among its members"},
	},
	setup: func(fs *pflag.FlagSet) runFunc { return setGroup(fs, true) },
}

var cmdGroupDelete = command{
	name:  "group delete",
	args:  "GROUP ACCOUNT",
	short: "Take an account out of a group",
	long:  "Takes an account out of a group; what only the group gave it, it can no longer see.",
	examples: []example{
		{"nestbox group delete office anna", "she is no longer in $office"},
	},
	setup: func(fs *pflag.FlagSet) runFunc { return setGroup(fs, false) },
}

func setGroup(fs *pflag.FlagSet, in bool) runFunc {
	dataFlags(fs)
	return func(ctx context.Context, e *env, args []string) error {
		return e.withAPI(ctx, func(api admin.API) error {
			if err := api.SetGroup(ctx, args[0], args[1], in); err != nil {
				return accountError(args[1], err)
			}
			word := "in"
			if !in {
				word = "not in"
			}
			e.say("account %s is %s the group $%s", args[1], word, strings.TrimPrefix(args[0], "$"))
			return nil
		})
	}
}

var cmdGroupList = command{
	name:  "group list",
	short: "List the groups",
	long:  "Lists the groups with their members.",
	examples: []example{
		{"nestbox group list", "a table"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, _ []string) error {
			return e.withAPI(ctx, func(api admin.API) error {
				all, err := api.Groups(ctx)
				if err != nil {
					return err
				}
				if *asJSON {
					return writeJSON(e.Stdout, all)
				}
				rows := [][]string{{"GROUP", "MEMBERS"}}
				for _, g := range slices.Sorted(maps.Keys(all)) {
					rows = append(rows, []string{g, strings.Join(all[g], " ")})
				}
				return writeTable(e, rows)
			})
		}
	},
}

// addShared makes an account without a login.
func addShared(ctx context.Context, e *env, name string, asJSON bool) error {
	return e.withNewAPI(ctx, func(api admin.API) error {
		a, err := api.AddSharedAccount(ctx, name)
		if err != nil {
			return accountError(name, err)
		}
		e.say("%s", fmt.Sprintf("shared account %s made; next: nestbox acl set %s INBOX WHO RIGHTS", a.Name, a.Name))
		return printPassword(e, asJSON, a, "", false)
	})
}
