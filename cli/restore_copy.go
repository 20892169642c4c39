package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/spf13/pflag"

	"nestbox/admin"
	"nestbox/imap"
	"nestbox/storage"
)

// copyRestore is `nestbox restore --from`: of single messages of a backup.
type copyRestore struct {
	from, search, mailbox *string
	list, json            *bool
}

func copyFlags(fs *pflag.FlagSet) *copyRestore {
	return &copyRestore{
		from:   fs.String("from", "", "folder of a backup to take messages from"),
		search: fs.String("search", "", "with --from, only messages that match, in the syntax of IMAP SEARCH: 'FROM anna SINCE 1-Oct-2026'"),
	}
}

func (c *copyRestore) run(ctx context.Context, e *env, account string) error {
	text := strings.TrimSpace(*c.search)
	if text == "" {
		text = "ALL"
	}
	keys, err := imap.ParseKeys(text)
	if err != nil {
		return &usageError{command: "restore", text: "--search: " + err.Error()}
	}
	from, err := storage.OpenCopy(*c.from)
	if err != nil {
		return err
	}
	r := copying{env: e, copyRestore: c, keys: keys, name: account, bar: newProgress(e.Stderr, "restored")}
	if r.a, err = from.Account(account); errors.Is(err, storage.ErrNoAccount) {
		err = r.noAccount(from)
	}
	switch {
	case err != nil:
	case *c.list:
		err = r.print(ctx)
	default:
		err = e.withAPI(ctx, func(api admin.API) error { return r.restore(ctx, api) })
	}
	return errors.Join(err, from.Close())
}

// copying is one run.
type copying struct {
	*env
	*copyRestore
	keys *imap.Keys
	name string
	a    *storage.Account // of the backup
	bar  *progress
}

func (r *copying) noAccount(from *storage.Copy) error {
	infos, err := from.Accounts()
	if err != nil {
		return err
	}
	var names []string
	for _, info := range infos {
		names = append(names, info.Name)
	}
	return fmt.Errorf("%s has no account %s, but these: %s", *r.from, r.name, strings.Join(names, ", "))
}

// each calls f with the messages that are asked for.
func (r *copying) each(ctx context.Context, f func(box *storage.Mailbox, row *storage.Row) error) error {
	boxes, err := r.a.Mailboxes()
	if err != nil {
		return err
	}
	found := *r.mailbox == ""
	for i := range boxes {
		name := boxes[i].Name
		if *r.mailbox != "" && name != *r.mailbox && !(name == "INBOX" && strings.EqualFold(*r.mailbox, name)) {
			continue
		}
		found = true
		if err := r.keys.Find(ctx, r.a, boxes[i].ID, f); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("the backup of %s has no mailbox %s", r.name, *r.mailbox)
	}
	return nil
}

// copiedMessage is what --list --json prints.
type copiedMessage struct {
	Mailbox string    `json:"mailbox"`
	UID     uint32    `json:"uid"`
	ID      string    `json:"id"` // EMAILID
	Date    time.Time `json:"date"`
	Size    int64     `json:"size"`
	From    string    `json:"from"`
	Subject string    `json:"subject"`
}

func (r *copying) print(ctx context.Context) error {
	n, octets := 0, int64(0)
	err := r.each(ctx, func(box *storage.Mailbox, row *storage.Row) error {
		m := copiedMessage{Mailbox: box.Name, UID: uint32(row.UID), ID: row.Email.String(), Date: row.InternalDate(), Size: row.Size}
		err := r.a.Headers([]storage.BlobID{row.Blob}, func(_ int, header []byte) bool {
			m.From, m.Subject = admin.HeaderText(header, "FROM"), admin.HeaderText(header, "SUBJECT")
			return true
		})
		if err != nil {
			return err
		}
		n, octets = n+1, octets+row.Size
		if *r.json {
			return writeJSONLine(r.Stdout, m)
		}
		_, err = fmt.Fprintf(r.Stdout, "%s  %s  UID %d  %s  %q  %q\n", m.Date.Local().Format("2006-01-02 15:04"), m.Mailbox, m.UID,
			byteCount(m.Size), clip(m.From, 40), clip(m.Subject, 60))
		return err
	})
	if err == nil {
		r.say("%d messages in the backup (%s)", n, byteCount(octets))
	}
	return err
}

// restore appends the messages to mailboxes of the same names. Those that are
// there are left out.
func (r *copying) restore(ctx context.Context, api admin.API) error {
	refused := 0
	im, err := api.Import(ctx, r.name, admin.ImportOptions{
		Progress: func(s admin.ImportStats) { r.bar.counted(s.Added, s.Octets, s.Skipped) },
		Refused:  func(source string, why error) { r.bar.message("not restored: %s: %v", source, why) },
		Note:     func(text string) { r.bar.message("note: %s", text) },
	})
	if err != nil {
		return accountError(r.name, err)
	}
	err = r.each(ctx, func(box *storage.Mailbox, row *storage.Row) error {
		err := r.add(im, box, row)
		var src *admin.SourceError
		if errors.As(err, &src) && ctx.Err() == nil {
			refused++
			r.bar.message("not restored: %s, UID %d: %v", box.Name, row.UID, src.Err)
			return nil
		}
		return err
	})
	stats, cerr := im.Close()
	r.bar.finish()
	if err == nil || errors.Is(cerr, err) {
		err = cerr
	}
	stats.Refused += int64(refused)
	if *r.json {
		if err := writeJSON(r.Stdout, stats); err != nil {
			return err
		}
	} else {
		r.say("%d messages restored (%s), %d were there already", stats.Added, byteCount(stats.Octets), stats.Skipped)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return failWith(exitTryAgain, "interrupted; run it again for the rest")
	case err == nil && stats.Refused > 0:
		return fmt.Errorf("%d messages were not restored", stats.Refused)
	}
	return err
}

func (r *copying) add(im admin.Importer, box *storage.Mailbox, row *storage.Row) error {
	b, err := r.a.OpenBlob(row.Blob)
	if err != nil {
		return &admin.SourceError{Err: err}
	}
	// \Deleted would let the next CLOSE take it away again.
	flags := slices.DeleteFunc(box.FlagNames(row.Flags), func(f goimap.Flag) bool { return f == goimap.FlagDeleted })
	m := &admin.Message{Mailbox: box.Name, Flags: flags, Date: row.InternalDate(), Size: row.Size, Source: fmt.Sprintf("%s, UID %d", box.Name, row.UID)}
	err = im.Add(m, &sourceReader{io.NewSectionReader(b, 0, b.Size())})
	return errors.Join(err, b.Close())
}

// sourceReader marks the errors of what is read.
type sourceReader struct{ r io.Reader }

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &admin.SourceError{Err: err}
	}
	return n, err
}
