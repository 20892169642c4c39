package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
)

var cmdAccountInvite = command{
	name:  "account invite",
	args:  "[NAME]",
	short: "Set a device up, by a QR code",
	long: `Prints a link to a page, and a QR code of it, with what a phone or mail program needs for an account: the box's own CA and its fingerprint, a profile for Apple's devices, steps for Android, Thunderbird and Outlook. There is no password in it. The link holds for 24 hours and 5 devices; a device, told by its address, counts when it fetches a file. It needs the web server (` + "`http` or `https`" + ` in the configuration).

--out writes the same files into a folder, to be carried over or put on a web server, and makes no link. --list shows the links that can be used, of the account or of all; --revoke takes all of the account back.`,
	examples: []example{
		{"nestbox account invite anna", "prints the QR code and the link"},
		{"nestbox account invite anna --out /mnt/usb/anna", "writes the files, for a box without a web server"},
		{"nestbox account invite --list", "who is invited"},
		{"nestbox account invite anna --revoke", "the link was seen by somebody else"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		asJSON := jsonFlag(fs)
		out := fs.String("out", "", "folder to write the files into, instead of a link")
		list := fs.Bool("list", false, "show the links that can be used")
		revoke := fs.Bool("revoke", false, "take the account's links back")
		return func(ctx context.Context, e *env, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			} else if !*list {
				return &usageError{command: "account invite", text: "takes the NAME of an account"}
			}
			if *list && *revoke || *out != "" && (*list || *revoke) {
				return &usageError{command: "account invite", text: "takes one of --out, --list and --revoke"}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				var err error
				switch {
				case *list:
					err = e.listInvites(ctx, api, name, *asJSON)
				case *revoke:
					err = e.revokeInvites(ctx, api, name, *asJSON)
				case *out != "":
					err = e.writeInvite(ctx, api, name, *out, *asJSON)
				default:
					err = e.invite(ctx, api, name, *asJSON)
				}
				if err != nil && name != "" {
					err = accountError(name, err)
				}
				return err
			})
		}
	},
}

func (e *env) invite(ctx context.Context, api admin.API, name string, asJSON bool) error {
	i, err := api.Invite(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.Stdout, i)
	}
	code, err := qrText(i.Link, isTerminal(e.Stdout) && e.getenv("NO_COLOR") == "")
	if err != nil {
		return err
	}
	e.say("Until %s, for %d devices. Devices will call the box %s (`nestbox set host_names` changes it).", i.Until.Local().Format(time.DateTime), i.Uses, i.Host)
	if i.Fingerprint != "" {
		e.say("Compare what the page shows with the CA's fingerprint (SHA-256):\n%s", i.Fingerprint)
	}
	_, err = fmt.Fprintf(e.Stdout, "%s%s\n", code, i.Link)
	return err
}

func (e *env) listInvites(ctx context.Context, api admin.API, name string, asJSON bool) error {
	all, err := api.Invites(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.Stdout, append([]admin.Invite{}, all...))
	}
	rows := [][]string{{"ACCOUNT", "MADE", "UNTIL", "DEVICES"}}
	for _, i := range all {
		rows = append(rows, []string{i.Account, i.Made.Local().Format(time.DateTime), i.Until.Local().Format(time.DateTime), fmt.Sprintf("%d of %d", i.Used, i.Uses)})
	}
	return writeTable(e, rows)
}

func (e *env) revokeInvites(ctx context.Context, api admin.API, name string, asJSON bool) error {
	n, err := api.RevokeInvites(ctx, name)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.Stdout, map[string]int{"revoked": n})
	}
	e.say("%d links of %s revoked", n, name)
	return nil
}

// writeInvite writes an invitation's files. They are no secret: what is in
// them every device gets that connects, and the account's name.
func (e *env) writeInvite(ctx context.Context, api admin.API, name, dir string, asJSON bool) error {
	files, err := api.InviteFiles(ctx, name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	paths := []string{}
	for _, f := range files {
		path := filepath.Join(dir, filepath.Base(f.Name))
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if asJSON {
		return writeJSON(e.Stdout, map[string][]string{"files": paths})
	}
	for _, path := range paths {
		if _, err := fmt.Fprintln(e.Stdout, path); err != nil {
			return err
		}
	}
	return nil
}
