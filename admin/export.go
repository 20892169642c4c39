package admin

import (
	"bytes"
	"context"
	"errors"
	"io"

	"nestbox/storage"
)

// Export reads a mailbox. Messages that are expunged meanwhile are left out.
func (l *Local) Export(ctx context.Context, account, mailbox string, f func(*Message, io.Reader) error) error {
	a, err := l.account(account)
	if err != nil {
		return err
	}
	box, err := a.MailboxByName(mailbox)
	if err != nil {
		return err
	}
	x := exporter{a: a, box: &box, buf: make([]byte, wholeMessage), f: f}
	return eachRow(a, box, func(rows []storage.Row) error {
		for i := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			if rows[i].Expunged {
				continue
			}
			if err := x.row(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// wholeMessage is the size up to which a message is read once; a longer one
// is read twice, as its line ends must be known before it is written.
const wholeMessage = 256 << 10

type exporter struct {
	a   *storage.Account
	box *storage.Mailbox
	buf []byte
	f   func(*Message, io.Reader) error
}

func (x *exporter) row(row *storage.Row) error {
	m := &Message{
		Mailbox: x.box.Name, Flags: x.box.FlagNames(row.Flags), Date: row.InternalDate(), Size: row.Size,
		ID: row.Email.String(), UID: uint32(row.UID),
	}
	blob, err := x.a.OpenBlob(row.Blob)
	if errors.Is(err, storage.ErrNoMessage) {
		return nil // expunged and freed since the row was read
	}
	if err != nil {
		return x.f(m, failingReader{&SourceError{err}})
	}
	var ends lineEnds
	var body io.Reader
	if row.Size <= wholeMessage {
		var b bytesWriter = x.buf[:0]
		if _, err = blob.WriteRange(&b, 0, row.Size); err == nil {
			_, err = ends.Write(b)
		}
		body = bytes.NewReader(b)
	} else {
		_, err = blob.WriteRange(&ends, 0, row.Size)
		body = &blobReader{blob: blob, size: row.Size}
	}
	if err != nil {
		body = failingReader{&SourceError{err}}
	}
	m.Mixed, m.NoFinalLF = ends.mixed, ends.last != '\n'
	return errors.Join(x.f(m, body), blob.Close())
}

// bytesWriter appends to a slice.
type bytesWriter []byte

func (b *bytesWriter) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// lineEnds looks at how lines end.
type lineEnds struct {
	mixed      bool // Message.Mixed
	seen       bool // the first LF
	last, past byte // the last two bytes
}

func (e *lineEnds) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		n := i + 1
		if i < 0 {
			n = len(rest)
		}
		// What is before the LF, or the last of rest.
		before := n
		if i >= 0 {
			before = i
		}
		for _, c := range rest[max(0, before-2):before] {
			e.past, e.last = e.last, c
		}
		if i >= 0 {
			e.mixed = e.mixed || e.last != '\r' || !e.seen && e.past == '\r'
			e.seen = true
			e.past, e.last = e.last, '\n'
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// blobReader reads a blob from its beginning to its end.
type blobReader struct {
	blob *storage.Blob
	off  int64
	size int64
}

func (r *blobReader) Read(p []byte) (int, error) {
	if r.off >= r.size {
		return 0, io.EOF
	}
	n, err := r.blob.ReadAt(p[:min(int64(len(p)), r.size-r.off)], r.off)
	r.off += int64(n)
	if err != nil && !(errors.Is(err, io.EOF) && r.off == r.size) {
		return n, &SourceError{err}
	}
	return n, nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// LineEnds reads a message through and says what Message.Mixed and
// Message.NoFinalLF say.
func LineEnds(r io.Reader) (mixed, noFinalLF bool, err error) {
	var ends lineEnds
	_, err = io.Copy(&ends, r)
	return ends.mixed, ends.last != '\n', err
}
