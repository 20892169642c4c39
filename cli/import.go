package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/cli/mailfile"
)

var cmdImport = command{
	name:  "import",
	args:  "PATH",
	short: "Import mail from files",
	long: `Adds the mail in PATH to an account: an mbox (mboxrd, mboxo, mboxcl, mboxcl2; compressed by gzip or not; "-" reads one from standard input), a Maildir or Maildir++ tree, a folder of .eml files, or a folder with such things in it. Folders become mailboxes, which are made and subscribed to. Flags and dates come along: from Status, X-Status, X-Keywords and the "From " line of an mbox, from the names and times of Maildir files with Dovecot's keywords, else from the first Received line or Date.

A message that is in its mailbox already, byte for byte, is skipped, so an import that was interrupted can be run again. Messages that can't be stored are named; the others are imported, and the exit code is 1.

Lines that end with LF get CRLF, as IMAP wants; export undoes it to the byte (docs/decisions/0010-line-ends.md).`,
	examples: []example{
		{"nestbox import --account anna ~/Maildir", "a Maildir++ tree with all its folders"},
		{"nestbox import --account anna --mailbox Archive/2019 2019.mbox.gz", "a compressed mbox into one mailbox"},
		{"nestbox import --account anna --format eml export/", "a folder in which every file is a message"},
		{"ssh old cat /var/mail/anna | nestbox import --account anna -", "an mbox from another machine"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		account := fs.String("account", "", "account to import into, by name or address (required)")
		mailbox := fs.String("mailbox", "", "mailbox for the messages that lie in no folder, and parent of the folders' mailboxes (default: INBOX, and no parent)")
		format := fs.String("format", "auto", "what PATH is: "+joinFormats())
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			if *account == "" {
				return &usageError{command: "import", text: "--account is missing"}
			}
			f := mailfile.Format(*format)
			if !slices.Contains(mailfile.Formats(), f) {
				return &usageError{command: "import", text: "--format is one of " + joinFormats()}
			}
			if args[0] != "-" {
				// Before the server is asked for anything.
				if _, err := os.Stat(args[0]); err != nil {
					return err
				}
			}
			return e.withAPI(ctx, func(api admin.API) error {
				im := importing{env: e, api: api, account: *account, path: args[0], json: *asJSON}
				return im.run(ctx, mailfile.Options{Format: f, Mailbox: *mailbox})
			})
		}
	},
}

func joinFormats() string {
	var names []string
	for _, f := range mailfile.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// importing is one run of the command.
type importing struct {
	*env
	api           admin.API
	account, path string
	json          bool

	to     admin.Importer
	bar    *progress
	failed atomic.Int64 // files that could not be read
}

func (im *importing) run(ctx context.Context, o mailfile.Options) error {
	im.bar = newProgress(im.Stderr, "imported")
	var err error
	im.to, err = im.api.Import(ctx, im.account, admin.ImportOptions{
		Progress: func(s admin.ImportStats) { im.bar.counted(s.Added, s.Octets, s.Skipped) },
		Refused:  func(source string, why error) { im.bar.message("not imported: %s: %v", source, why) },
		Note:     func(text string) { im.bar.message("note: %s", text) },
	})
	if err != nil {
		return accountError(im.account, err)
	}
	o.Note = func(text string) { im.bar.message("note: %s", text) }
	o.Failed = func(path string, err error) {
		im.failed.Add(1)
		im.bar.message("not read: %s: %v", path, err)
	}
	o.Progress = im.bar.at
	if im.path == "-" {
		err = mailfile.ReadStream(ctx, im.Stdin, o, im)
	} else {
		err = mailfile.Read(ctx, im.path, o, im)
	}
	stats, cerr := im.to.Close()
	im.bar.finish()
	if err == nil || errors.Is(cerr, err) {
		err = cerr
	}
	return im.report(stats, err)
}

// Mailbox and Message make importing a mailfile.Sink.
func (im *importing) Mailbox(name string) error { return im.to.Mailbox(name) }

func (im *importing) Message(m *mailfile.Message, body io.Reader) error {
	return im.to.Add(&admin.Message{Mailbox: m.Mailbox, Flags: m.Flags, Date: m.Date, Size: -1, Source: m.Source}, body)
}

func (im *importing) report(stats admin.ImportStats, err error) error {
	elapsed := time.Since(im.bar.start)
	unread := im.failed.Load()
	if im.json {
		werr := writeJSON(im.Stdout, struct {
			admin.ImportStats
			Unread  int64   `json:"unread_files"`
			Seconds float64 `json:"seconds"`
		}{stats, unread, elapsed.Seconds()})
		err = errors.Join(err, werr)
	} else {
		line := fmt.Sprintf("%d messages imported (%s)", stats.Added, byteCount(stats.Octets))
		if stats.Skipped > 0 {
			line += fmt.Sprintf(", %d were there already", stats.Skipped)
		}
		if stats.Refused > 0 {
			line += fmt.Sprintf(", %d not taken", stats.Refused)
		}
		if unread > 0 {
			line += fmt.Sprintf(", %d files could not be read", unread)
		}
		s := max(elapsed.Seconds(), 0.001)
		fmt.Fprintf(im.Stdout, "%s in %.1f s: %.0f messages/s, %s/s\n", line, s,
			float64(stats.Added+stats.Skipped)/s, byteCount(int64(float64(stats.Octets)/s)))
	}
	switch {
	case errors.Is(err, context.Canceled):
		return failWith(exitTryAgain, "interrupted; run again, what is imported is skipped")
	case err != nil:
		return err
	case unread > 0:
		return failWith(exitIO, "some files could not be read")
	case stats.Refused > 0:
		return errors.New("some messages were not imported")
	}
	return nil
}
