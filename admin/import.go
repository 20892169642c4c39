package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// localImport adds messages to an account: one batch is committed while the
// next is read.
type localImport struct {
	ctx context.Context
	a   *storage.Account
	o   ImportOptions

	boxes map[string]*importBox
	batch importing // being filled

	commits chan importing
	done    chan struct{}

	mu    sync.Mutex
	stats ImportStats
	err   error // the first that ends the import
}

// An importBox is a mailbox that the import has touched, with the messages in
// it: 16 bytes each, so that 200,000 of them cost a few megabytes.
type importBox struct {
	id       storage.MailboxID
	name     string
	have     map[storage.EmailID]struct{}
	keywords map[string]struct{} // in lower case
	full     bool                // it was told that no more keywords fit
	made     bool                // by this import
}

// fit drops the keywords for which the mailbox has no room.
func (b *importBox) fit(flags []imap.Flag, note func(string)) []imap.Flag {
	kept := flags[:0:0]
	for _, f := range flags {
		name := strings.ToLower(string(f))
		if _, known := b.keywords[name]; !known && !strings.HasPrefix(name, `\\`) {
			if len(b.keywords) >= storage.MaxKeywords {
				if !b.full && note != nil {
					note(fmt.Sprintf("mailbox %q has %d keywords, no more fit: the others are left out", b.name, storage.MaxKeywords))
				}
				b.full = true
				continue
			}
			b.keywords[name] = struct{}{}
		}
		kept = append(kept, f)
	}
	return kept
}

// importing is a batch of messages for one mailbox.
type importing struct {
	box     *importBox
	msgs    []storage.NewMessage
	sources []string
	octets  int64
}

// Import begins to add messages.
func (l *Local) Import(ctx context.Context, account string, o ImportOptions) (Importer, error) {
	a, err := l.account(account)
	if err != nil {
		return nil, err
	}
	im := &localImport{
		ctx: ctx, a: a, o: o, boxes: make(map[string]*importBox),
		commits: make(chan importing), done: make(chan struct{}),
	}
	go im.commit()
	return im, nil
}

// Mailbox finds or makes a mailbox.
func (im *localImport) Mailbox(name string) error {
	_, err := im.box(name)
	if err != nil && refusable(err) {
		if im.o.Note != nil {
			im.o.Note(err.Error())
		}
		return nil // each of its messages is refused
	}
	return err
}

func (im *localImport) box(name string) (*importBox, error) {
	if b := im.boxes[name]; b != nil {
		return b, nil
	}
	m, err := im.a.MailboxByName(name)
	made := errors.Is(err, storage.ErrNoMailbox)
	if made {
		if m, err = im.a.CreateMailbox(name); err == nil {
			err = im.a.Subscribe(m.Name, true)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("mailbox %q: %w", name, err)
	}
	b := &importBox{id: m.ID, name: m.Name, made: made, keywords: make(map[string]struct{})}
	for _, k := range m.Keywords {
		b.keywords[strings.ToLower(k)] = struct{}{}
	}
	// Two names can be one mailbox: INBOX in another case, or not in NFC.
	for _, known := range im.boxes {
		if known.id == m.ID {
			b = known
		}
	}
	if b.have == nil {
		if b.have, err = emailIDs(im.a, m); err != nil {
			return nil, fmt.Errorf("mailbox %q: %w", name, err)
		}
	}
	im.boxes[name] = b
	return b, nil
}

// emailIDs collects the ids of a mailbox's messages.
func emailIDs(a *storage.Account, m storage.Mailbox) (map[storage.EmailID]struct{}, error) {
	have := make(map[storage.EmailID]struct{}, m.Messages)
	err := eachRow(a, m, func(rows []storage.Row) error {
		for i := range rows {
			have[rows[i].Email] = struct{}{}
		}
		return nil
	})
	return have, err
}

// eachRow reads a mailbox's rows in batches, in UID order.
func eachRow(a *storage.Account, m storage.Mailbox, f func([]storage.Row) error) error {
	uids := make([]imap.UID, 0, exportBatch)
	rows := make([]storage.Row, 0, exportBatch)
	for next := imap.UID(1); next < m.UIDNext; {
		var err error
		if uids, err = a.UIDs(m.Space, next, m.UIDNext-1, uids[:0]); err != nil || len(uids) == 0 {
			return err
		}
		if rows, err = a.Rows(m.Space, uids, rows[:0]); err != nil {
			return err
		}
		if err := f(rows); err != nil {
			return err
		}
		next = uids[len(uids)-1] + 1
	}
	return nil
}

// Add takes one message.
func (im *localImport) Add(m *Message, body io.Reader) error {
	if err := im.failed(); err != nil {
		return err
	}
	box, err := im.box(m.Mailbox)
	if err != nil {
		return im.refuse(m.Source, err, body)
	}
	if im.batch.box != box {
		if err := im.flush(); err != nil {
			return err
		}
		im.batch.box = box
	}
	up, err := im.a.NewUpload(m.Size)
	if err == nil {
		if err = upload(up, body); err != nil {
			up.Abort()
		}
	}
	if err != nil {
		return im.refuse(m.Source, err, body)
	}
	if _, have := box.have[up.EmailID()]; have {
		up.Abort()
		im.count(func(s *ImportStats) { s.Skipped++ })
		return nil
	}
	box.have[up.EmailID()] = struct{}{}
	im.batch.msgs = append(im.batch.msgs, storage.NewMessage{
		Upload: up, Flags: box.fit(m.Flags, im.o.Note), Date: m.Date,
	})
	im.batch.sources = append(im.batch.sources, m.Source)
	im.batch.octets += up.Size()
	if len(im.batch.msgs) >= importBatch || im.batch.octets >= importBatchOctets {
		return im.flush()
	}
	return nil
}

func upload(up *storage.Upload, body io.Reader) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, werr := up.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return up.Close()
		case err != nil:
			return &SourceError{err}
		}
	}
}

// refuse goes on after a message that can't be stored, if the next one may.
func (im *localImport) refuse(source string, err error, body io.Reader) error {
	var src *SourceError
	if errors.As(err, &src) || !refusable(err) {
		return err
	}
	// The rest of the message, so that the source stands at the next.
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	im.tellRefused(source, err)
	return nil
}

// refusable errors are about one message.
func refusable(err error) bool {
	var limit *storage.LimitError
	var name *storage.NameError
	return errors.Is(err, storage.ErrTooBig) || errors.As(err, &limit) || errors.As(err, &name)
}

func (im *localImport) tellRefused(source string, err error) {
	im.count(func(s *ImportStats) { s.Refused++ })
	if im.o.Refused != nil {
		im.mu.Lock()
		defer im.mu.Unlock()
		im.o.Refused(source, err)
	}
}

// flush hands the batch to the committing goroutine, when that has taken the
// one before.
func (im *localImport) flush() error {
	if len(im.batch.msgs) > 0 {
		im.commits <- im.batch
	}
	im.batch = importing{box: im.batch.box}
	return im.failed()
}

// commit stores batches in their order.
func (im *localImport) commit() {
	defer close(im.done)
	for b := range im.commits {
		if im.failed() != nil {
			abort(b)
			continue
		}
		if err := im.store(b); err != nil {
			im.mu.Lock()
			im.err = err
			im.mu.Unlock()
		}
	}
}

func (im *localImport) store(b importing) error {
	_, err := im.a.Append(b.box.id, b.msgs)
	if err != nil {
		return fmt.Errorf("storing %s and %d more: %w", b.sources[0], len(b.msgs)-1, err)
	}
	im.count(func(s *ImportStats) {
		s.Added += int64(len(b.msgs))
		s.Octets += b.octets
	})
	return nil
}

func abort(b importing) {
	for _, m := range b.msgs {
		m.Upload.Abort()
	}
}

func (im *localImport) failed() error {
	if err := im.ctx.Err(); err != nil {
		return err
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.err
}

func (im *localImport) count(f func(*ImportStats)) {
	im.mu.Lock()
	f(&im.stats)
	stats := im.stats
	im.mu.Unlock()
	if im.o.Progress != nil {
		im.o.Progress(stats)
	}
}

// Close stores what is left, unless the import failed or was interrupted.
func (im *localImport) Close() (ImportStats, error) {
	if len(im.batch.msgs) > 0 {
		im.commits <- im.batch
	}
	close(im.commits)
	<-im.done
	im.mu.Lock()
	defer im.mu.Unlock()
	err := im.err
	if err != nil {
		err = errors.Join(err, im.removeUnused())
	} else {
		err = im.ctx.Err()
	}
	return im.stats, err
}

// removeUnused takes the mailboxes away that an import has made for messages
// that couldn't be stored.
func (im *localImport) removeUnused() (err error) {
	for _, b := range im.boxes {
		if b.made {
			_, rerr := im.a.RemoveUnused(b.id)
			if errors.Is(rerr, storage.ErrNoMailbox) {
				rerr = nil // somebody else did, or two names are one mailbox
			}
			err = errors.Join(err, rerr)
		}
	}
	return err
}
