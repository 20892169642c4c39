package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/cli/mailfile"
)

var cmdExport = command{
	name:  "export",
	args:  "PATH",
	short: "Export mail to files",
	long: `Writes the mail of an account, or of one mailbox, to PATH, with flags and dates. --format maildir makes a Maildir++ tree; into one that an interrupted export left only the missing messages are written. --format mbox makes a folder with an mbox (variant mboxrd) for each mailbox, or with --mailbox a file ("-" is standard output).

Lines end with LF, as other programs expect; --crlf writes them as they are stored. Mail that was imported comes out as it was, to the byte. A message that can't be read is named and left out, and the exit code is 1.`,
	examples: []example{
		{"nestbox export --account anna --format maildir ~/Maildir", "all mail as a Maildir++ tree"},
		{"nestbox export --account anna --mailbox INBOX --format mbox - | gzip > inbox.gz", "one mailbox, compressed"},
		{"nestbox export --account anna --format mbox ~/mail", "a folder with an mbox for each mailbox"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		dataFlags(fs)
		account := fs.String("account", "", "account to export, by name or address (required)")
		mailbox := fs.String("mailbox", "", "only this mailbox")
		format := fs.String("format", "maildir", "maildir or mbox")
		crlf := fs.Bool("crlf", false, "end lines as they are stored, with CRLF")
		overwrite := fs.Bool("overwrite", false, "replace mbox files that are there")
		return func(ctx context.Context, e *env, args []string) error {
			if *account == "" {
				return &usageError{command: "export", text: "--account is missing"}
			}
			if *format != "maildir" && *format != "mbox" {
				return &usageError{command: "export", text: "--format is maildir or mbox"}
			}
			if args[0] == "-" && (*format != "mbox" || *mailbox == "") {
				return &usageError{command: "export", text: "only one mailbox as mbox can go to standard output"}
			}
			x := exporting{
				env: e, account: *account, mailbox: *mailbox, path: args[0], mbox: *format == "mbox",
				ends: mailfile.LineEnds(*crlf), overwrite: *overwrite, bar: newProgress(e.Stderr, "exported"),
			}
			return e.withAPI(ctx, func(api admin.API) error { return x.run(ctx, api) })
		}
	},
}

// exporting is one run of the command.
type exporting struct {
	*env
	account, mailbox, path string
	mbox, overwrite        bool
	ends                   mailfile.LineEnds

	bar           *progress
	count, octets int64
	total, done   int64
	failed        int
}

func (x *exporting) run(ctx context.Context, api admin.API) error {
	boxes, err := api.Mailboxes(ctx, x.account)
	if err != nil {
		return accountError(x.account, err)
	}
	var names []string
	for _, b := range boxes {
		if x.mailbox == "" || b.Name == x.mailbox || strings.EqualFold(x.mailbox, "INBOX") && b.Name == "INBOX" {
			names = append(names, b.Name)
			x.total += b.Octets
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("account %s has no mailbox %s", x.account, x.mailbox)
	}
	for _, name := range names {
		if err = x.box(ctx, api, name); err != nil {
			break
		}
	}
	x.bar.finish()
	s := max(time.Since(x.bar.start).Seconds(), 0.001)
	x.say("%d messages exported (%s) in %.1f s: %.0f messages/s, %s/s", x.count, byteCount(x.octets), s,
		float64(x.count)/s, byteCount(int64(float64(x.octets)/s)))
	switch {
	case errors.Is(err, context.Canceled):
		return failWith(exitTryAgain, "interrupted")
	case err == nil && x.failed > 0:
		return fmt.Errorf("%d messages were not exported", x.failed)
	}
	return err
}

func (x *exporting) box(ctx context.Context, api admin.API, name string) error {
	write := func(w func(*mailfile.Stored, io.Reader) error) error {
		return api.Export(ctx, x.account, name, func(m *admin.Message, body io.Reader) error {
			return x.message(m, w(&mailfile.Stored{
				Flags: m.Flags, Date: m.Date, Size: m.Size, ID: m.ID, UID: m.UID, Mixed: m.Mixed, NoFinalLF: m.NoFinalLF,
			}, body))
		})
	}
	if !x.mbox {
		w, err := mailfile.NewMaildirWriter(x.path, name, x.ends, func(text string) { x.bar.message("note: %s", text) })
		if err != nil {
			return err
		}
		return write(w.Message)
	}
	if x.path == "-" {
		w := mailfile.NewMboxWriter(x.Stdout, x.ends)
		return errors.Join(write(func(s *mailfile.Stored, body io.Reader) error {
			err := w.Message(s, body)
			var src *admin.SourceError
			if errors.As(err, &src) {
				// Half of it may be written already: going on would hide that.
				return fmt.Errorf("UID %d: %v", s.UID, src.Err)
			}
			return err
		}), w.Flush())
	}
	path := x.path
	if x.mailbox == "" {
		path = filepath.Join(x.path, mboxFile(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
	}
	return x.mboxFile(path, write)
}

// message counts a message that was written, or names the one that could not
// be read.
func (x *exporting) message(m *admin.Message, err error) error {
	x.done += m.Size
	x.bar.at(x.done, x.total)
	var src *admin.SourceError
	if errors.As(err, &src) && !errors.Is(err, context.Canceled) {
		x.failed++
		x.bar.message("not exported: %s, UID %d: %v", m.Mailbox, m.UID, src.Err)
		return nil
	}
	if err == nil {
		x.count++
		x.octets += m.Size
		x.bar.counted(x.count, x.octets, 0)
	}
	return err
}

// mboxFile writes a file beside its place and then moves it there, so that
// one that is there is whole.
func (x *exporting) mboxFile(path string, write func(func(*mailfile.Stored, io.Reader) error) error) error {
	if _, err := os.Lstat(path); err == nil && !x.overwrite {
		return failWith(exitFailed, "%s is there already; --overwrite replaces it", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := mailfile.NewMboxWriter(f, x.ends)
	err = write(func(s *mailfile.Stored, body io.Reader) error {
		if err := w.Flush(); err != nil {
			return err
		}
		start, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err = w.Message(s, body); err == nil {
			return nil
		}
		// The beginning of a message that can't be read must not stay.
		ferr := w.Flush()
		_, serr := f.Seek(start, io.SeekStart)
		return errors.Join(err, ferr, f.Truncate(start), serr)
	})
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".part"))
	}
	return os.Rename(path+".part", path)
}

// mboxFile is the file of a mailbox in the folder that export makes. A name
// that begins with a dot would be hidden, or lead out of the folder.
func mboxFile(mailbox string) string {
	levels := strings.Split(mailbox, "/")
	for i, l := range levels {
		if strings.HasPrefix(l, ".") {
			levels[i] = "%2E" + l[1:]
		}
	}
	return filepath.Join(levels...) + ".mbox"
}
