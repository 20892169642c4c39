package cli

import (
	"context"

	"github.com/spf13/pflag"
)

var cmdRestore = command{
	name:  "restore",
	args:  "[DIR]",
	short: "Bring mail back",
	long: `With DIR, makes the data folder --data, which must be missing or empty, of the backup in DIR; a snapshot of a data folder does as well, or a portable stream ("-" is standard input). Run it as the user that the server runs as. All is as it was when the backup was taken, and mail programs load it again, since every mailbox has a new UIDVALIDITY. The exit code is 0 only if the restored data are sound.

With --from and --account, adds messages of a backup to the account's mailboxes of the same names, which are made if missing: all, those of --mailbox, or those that --search finds. They keep flags and dates and get new UIDs. A message that is in its mailbox already is left out.

Without either, brings expunged messages back to their mailboxes, as if they were added anew: with a new UID, the same EMAILID, the flags they had without \Deleted. A mailbox that was deleted is made again. Expunged messages are kept for 14 days (nestbox set kept_days; nestbox kept for an account or a mailbox), or until the disk is full. A message can be restored once.

With --list nothing is restored: the messages are listed, with --json one JSON object a line. A message that a mail program moved to the trash is there, and is no expunged one; --moved finds such messages for a day, for as long as a hold lasts.`,
	examples: []example{
		{"nestbox restore /mnt/usb/nestbox --data /srv/mail", "a whole data folder from a backup"},
		{"nestbox restore --account anna --from /mnt/usb/nestbox --search FLAGGED", "messages of a backup that match"},
		{"nestbox restore --account anna --from /mnt/usb/nestbox --mailbox INBOX --list", "what a backup has, without restoring it"},
		{"nestbox restore --account anna --list", "what could be restored"},
		{"nestbox restore --account anna --mailbox INBOX --since 2h", "what was expunged from INBOX in the last two hours"},
		{"nestbox restore --account anna --mailbox Archive/2019", "a deleted mailbox"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		account := fs.String("account", "", "account to restore, by name or address")
		mailbox := fs.String("mailbox", "", "only of this mailbox")
		kept := keptFlags(fs)
		kept.mailbox, kept.json = mailbox, jsonFlag(fs)
		single := copyFlags(fs)
		single.mailbox, single.json, single.list = mailbox, kept.json, kept.list
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) == 1 {
				if *account != "" {
					return &usageError{command: "restore", text: "DIR makes a whole data folder: without --account"}
				}
				return e.restoreFolder(ctx, args[0], *kept.json)
			}
			if *account == "" {
				return &usageError{command: "restore", text: "--account is missing, or the folder of a backup"}
			}
			if *single.from != "" {
				return single.run(ctx, e, *account)
			}
			if *single.search != "" {
				return &usageError{command: "restore", text: "--search goes with --from"}
			}
			return kept.run(ctx, e, *account)
		}
	},
}
