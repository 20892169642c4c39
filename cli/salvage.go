package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/cli/mailfile"
	"nestbox/storage"
)

var cmdSalvage = command{
	name:  "salvage",
	args:  "[PATH]",
	short: "Bring out what is left of damaged data",
	long: `Reads past damaged and unreadable pages of the data and exports the mail that is left, when a server can't open it and check --repair can't mend it. PATH is a data folder or the folder of one account, and the data folder if it is left out; system.db isn't needed, and files of a machine of the other byte order are read too. Nothing in it is written to, and no server may run on it. If the disk is failing, make a copy with ddrescue first and salvage the copy.

Below --to each account gets a folder of its name: a Maildir++ tree, or with --format mbox a file for each mailbox, with flags and dates, as export makes them and import takes them. Each whole message has the very bytes that it had: sums over chunk and message prove it. A message of which only a part is left has the keyword $Damaged, begins with a field X-Nestbox-Salvage, and says in its text where something is missing. Messages whose place in a mailbox is lost are in the mailbox Recovered. With --kept, expunged messages that were still kept are in mailboxes below Expunged.

What is missing, or not whole, is a line on standard output (with --json an object), and the counts of each account are the last lines: one that is damaged was exported in part, one that is lost was not. The exit code is 0 only if nothing is missing. Whatever is missing may be in a backup: restore brings single messages back.`,
	examples: []example{
		{"nestbox salvage /var/lib/nestbox --to ~/saved", "all accounts, as Maildir++ trees below ~/saved"},
		{"nestbox salvage /mnt/copy --to ~/saved --account anna --format mbox", "one account, as mbox files"},
		{"nestbox salvage ./accounts/aqnuxuwkqmw6c7kl --to ~/saved --json > missing.jsonl", "a folder that is all there is; the list for a script"},
	},
	setup: func(fs *pflag.FlagSet) runFunc {
		fs.String("data", "", "data folder, if no PATH is given (default: /var/lib/nestbox for root, else ./nestbox-data)")
		fs.String("config", "", "configuration file that names the data folder")
		to := fs.String("to", "", "folder for what is brought out (required)")
		account := fs.String("account", "", "only this account, by name, address or id")
		format := fs.String("format", "maildir", "maildir or mbox")
		crlf := fs.Bool("crlf", false, "end lines as they are stored, with CRLF")
		kept := fs.Bool("kept", false, "expunged messages too, as far as they were kept")
		asJSON := jsonFlag(fs)
		return func(ctx context.Context, e *env, args []string) error {
			if *to == "" {
				return &usageError{command: "salvage", text: "--to is missing"}
			}
			if *format != "maildir" && *format != "mbox" {
				return &usageError{command: "salvage", text: "--format is maildir or mbox"}
			}
			path, err := e.salvagePath(args)
			if err != nil {
				return err
			}
			dir, err := outside(*to, path)
			if err != nil {
				return err
			}
			s := &salvaging{env: e, to: dir, mbox: *format == "mbox", ends: mailfile.LineEnds(*crlf), json: *asJSON,
				bar: newProgress(e.Stderr, "exported")}
			return s.run(ctx, path, storage.SalvageOptions{Account: *account, Kept: *kept, Temp: dir})
		}
	},
}

// salvagePath is the folder that is to be read.
func (e *env) salvagePath(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	cfg, err := e.config()
	if err != nil {
		return "", err
	}
	return cfg.Data, nil
}

// outside makes the folder to, unless it is within the damaged data.
func outside(to, data string) (string, error) {
	real, err := realPath(data)
	if err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	// Of to maybe only the beginning is there.
	within, rest := to, ""
	for {
		if p, err := filepath.EvalSymlinks(within); err == nil {
			within = filepath.Join(p, rest)
			break
		}
		if filepath.Dir(within) == within {
			break
		}
		rest = filepath.Join(filepath.Base(within), rest)
		within = filepath.Dir(within)
	}
	if within == real || strings.HasPrefix(within, real+string(filepath.Separator)) {
		return "", &usageError{command: "salvage", text: to + " is within the damaged data, which is not to be written to: choose another folder for --to, best on another disk"}
	}
	return to, os.MkdirAll(to, 0o700)
}

func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// salvaging is one run of the command. It is a storage.SalvageSink.
type salvaging struct {
	*env
	to         string
	mbox, json bool
	ends       mailfile.LineEnds

	bar           *progress
	count, octets int64
	dir           string // of the account
	mailbox       string // of the writer
	maildir       *mailfile.MaildirWriter
	file          *os.File
	mboxWriter    *mailfile.MboxWriter
	made          map[string]bool // mbox files of this run
}

func (s *salvaging) run(ctx context.Context, path string, o storage.SalvageOptions) error {
	all, err := storage.Salvage(ctx, path, o, s)
	err = errors.Join(err, s.closeMbox())
	s.bar.finish()
	missing := false
	for _, c := range all {
		missing = missing || c.Missing
		if s.json {
			if err := writeJSONLine(s.Stdout, c); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(s.Stdout, "%s: %d messages exported (%s), %d damaged, %d lost, %d recovered without their mailbox, %d damaged pages\n",
			c.Account, c.Exported, byteCount(c.Octets), c.Damaged, c.Lost, c.Recovered, c.Pages)
	}
	var locked *storage.LockedError
	switch {
	case errors.As(err, &locked):
		return fmt.Errorf("%w: stop it first, or salvage a copy", err)
	case errors.Is(err, context.Canceled):
		return failWith(exitTryAgain, "interrupted; run it again")
	case err != nil:
		return err
	case missing:
		return failWith(exitFailed, "not everything could be brought out")
	}
	return nil
}

// Account implements storage.SalvageSink.
func (s *salvaging) Account(name string) error {
	s.dir, s.mailbox, s.maildir, s.made = filepath.Join(s.to, name), "", nil, map[string]bool{}
	return errors.Join(s.closeMbox(), os.MkdirAll(s.dir, 0o700))
}

// Mailbox implements storage.SalvageSink.
func (s *salvaging) Mailbox(name string) error { return s.open(name) }

// Finding implements storage.SalvageSink.
func (s *salvaging) Finding(f storage.SalvageFinding) error {
	if s.json {
		return writeJSONLine(s.Stdout, f)
	}
	_, err := fmt.Fprintln(s.Stdout, f)
	return err
}

// open opens the writer of a mailbox.
func (s *salvaging) open(mailbox string) (err error) {
	if s.mailbox == mailbox && (s.maildir != nil || s.file != nil) {
		return nil
	}
	s.mailbox = mailbox
	if !s.mbox {
		note := func(text string) { s.bar.message("note: %s", text) }
		if s.maildir, err = mailfile.NewMaildirWriter(s.dir, mailbox, s.ends, note); err != nil {
			// A name that the file system doesn't take must not keep the mail back.
			short := fmt.Sprintf("Recovered/%.20q", filepath.Base(mailbox))
			s.bar.message("note: the messages of %s go to %s: %v", mailbox, short, err)
			s.maildir, err = mailfile.NewMaildirWriter(s.dir, short, s.ends, note)
		}
		return err
	}
	if err := s.closeMbox(); err != nil {
		return err
	}
	path := filepath.Join(s.dir, mboxFile(mailbox))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	mode := os.O_RDWR | os.O_CREATE | os.O_EXCL
	if s.made[path] {
		mode = os.O_RDWR
	}
	if s.file, err = os.OpenFile(path, mode, 0o600); errors.Is(err, os.ErrExist) {
		return failWith(exitFailed, "%s is there already: give an empty folder with --to", path)
	} else if err != nil {
		return err
	}
	s.made[path] = true
	s.mboxWriter = mailfile.NewMboxWriter(s.file, s.ends)
	_, err = s.file.Seek(0, io.SeekEnd)
	return err
}

func (s *salvaging) closeMbox() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return errors.Join(s.mboxWriter.Flush(), f.Sync(), f.Close())
}

// Message implements storage.SalvageSink.
func (s *salvaging) Message(m *storage.SalvagedMessage) error {
	if err := s.open(m.Mailbox); err != nil {
		return err
	}
	mixed, noLF, err := admin.LineEnds(m.Body())
	if err != nil {
		return err
	}
	stored := &mailfile.Stored{Flags: m.Flags, Date: m.Date, Size: m.Size, ID: m.ID, UID: uint32(m.UID), Mixed: mixed, NoFinalLF: noLF}
	if s.mbox {
		err = s.toMbox(stored, m.Body())
	} else {
		err = s.maildir.Message(stored, m.Body())
	}
	if err == nil {
		s.count++
		s.octets += m.Size
		s.bar.counted(s.count, s.octets, 0)
	}
	return err
}

// toMbox leaves nothing behind of a message that fails in the middle.
func (s *salvaging) toMbox(stored *mailfile.Stored, body io.Reader) error {
	if err := s.mboxWriter.Flush(); err != nil {
		return err
	}
	start, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if err = s.mboxWriter.Message(stored, body); err == nil {
		return s.mboxWriter.Flush()
	}
	ferr := s.mboxWriter.Flush()
	_, serr := s.file.Seek(start, io.SeekStart)
	return errors.Join(err, ferr, s.file.Truncate(start), serr)
}
