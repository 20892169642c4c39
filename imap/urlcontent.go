package imap

import (
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"

	"nestbox/mail"
	"nestbox/storage"
)

// A urlContent is the octets that a URL names. The message can be read until
// close, whatever becomes of it.
type urlContent struct {
	blob *storage.Blob
	// off and size are a range of the message.
	off, size int64
	// fields, if any, are read instead: lines picked from a header.
	fields []byte
}

// A urlError says why a URL names nothing that the session can read.
type urlError struct{ text string }

func (e *urlError) Error() string { return e.text }

func noURL(format string, args ...any) error { return &urlError{fmt.Sprintf(format, args...)} }

// urlMailbox finds the mailbox of a URL, if the session may read it.
func (s *session) urlMailbox(u *messageURL) (place, error) {
	p, err := s.mailbox(u.mailbox, storage.RightRead)
	var name *storage.NameError
	var e *replyError
	switch {
	case errors.Is(err, storage.ErrNoMailbox), errors.As(err, &name):
		err = noURL("no such mailbox")
	case errors.As(err, &e) && e.code == imap.ResponseCodeNoPerm:
		err = noURL("%s", e.text)
	}
	return p, err
}

// open opens what the URL names in its mailbox.
func (u *messageURL) open(box *place) (*urlContent, error) {
	if u.uidValidity != 0 && u.uidValidity != box.UIDValidity {
		return nil, noURL("the mailbox has another UIDVALIDITY")
	}
	a := box.account
	rows, err := a.Rows(box.Space, []imap.UID{u.uid}, nil)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].Expunged || u.uid >= box.UIDNext {
		return nil, noURL("no such message")
	}
	blob, err := a.OpenBlob(rows[0].Blob)
	if err != nil {
		return nil, err
	}
	c := &urlContent{blob: blob, size: rows[0].Size}
	if blob.Size() != rows[0].Size {
		err = storage.ErrCorrupt
	} else if u.isPart {
		err = c.locate(a.Account, rows[0].Blob, &u.section)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.cut(u.partial)
	return c, nil
}

// locate finds a section.
func (c *urlContent) locate(a *storage.Account, id storage.BlobID, sec *section) error {
	known, ok := false, false
	err := a.Records([]storage.BlobID{id}, func(_ int, rec mail.Record) bool {
		if known = len(rec) > 0; known {
			c.off, c.size, ok = rec.Range(sec.path, sec.kind.mailSection())
		}
		return false
	})
	switch {
	case err != nil:
		return err
	case !known:
		return storage.ErrUnavailable
	case !ok:
		return noURL("the message has no such part")
	case sec.kind != sectionFields && sec.kind != sectionFieldsNot:
		return nil
	case c.size > partHeaderMax:
		return no("LIMIT", "the header is too large to search for fields")
	}
	header := make([]byte, c.size)
	if n, err := c.blob.ReadAt(header, c.off); n < len(header) {
		if err == nil || err == io.EOF {
			err = storage.ErrCorrupt
		}
		return err
	}
	c.fields = mail.AppendHeaderFields(make([]byte, 0, 1024), header, sec.fields, sec.kind == sectionFieldsNot)
	c.off, c.size = 0, int64(len(c.fields))
	return nil
}

// cut leaves a range of the octets.
func (c *urlContent) cut(p partial) {
	skip, n := p.of(c.size)
	c.off, c.size = c.off+skip, n
}

// copyTo writes the octets to w.
func (c *urlContent) copyTo(w io.Writer) error {
	if c.size == 0 {
		return nil
	}
	if c.fields != nil {
		_, err := w.Write(c.fields[c.off : c.off+c.size])
		return err
	}
	_, err := c.blob.WriteRange(w, c.off, c.size)
	return err
}

func (c *urlContent) close() { c.blob.Close() }
