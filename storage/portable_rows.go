package storage

import (
	"fmt"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"

	"nestbox/mail"
)

// A loadMessage is a message of a portable stream: it keeps its UID.
type loadMessage struct {
	up  *Upload // nil: the account has its bytes
	rec mail.Record
	row Row
}

// A loadRequest adds messages with the UIDs that they had, ascending and above
// those that are there.
type loadRequest struct {
	id   MailboxID
	msgs []loadMessage
}

func (r *loadRequest) rows() int   { return len(r.msgs) }
func (r *loadRequest) rewind()     {}
func (r *loadRequest) frees() bool { return false }

func (r *loadRequest) bodies() (ups []*Upload) {
	for i := range r.msgs {
		if r.msgs[i].up != nil {
			ups = append(ups, r.msgs[i].up)
		}
	}
	return ups
}

func (r *loadRequest) apply(w *txn) (bool, error) {
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	at, next := w.next(), m.UIDNext
	first, last := imap.UID(0), imap.UID(0) // of neighbours
	for i := range r.msgs {
		msg := &r.msgs[i]
		if first != 0 && msg.row.UID != last+1 {
			if err := w.show(m, first, last, at); err != nil {
				return false, err
			}
			first = 0
		}
		if first == 0 {
			first = msg.row.UID
		}
		last = msg.row.UID
		if err := w.load(m, msg, at); err != nil {
			return false, fatal(err)
		}
	}
	if err := w.show(m, first, last, at); err != nil {
		return false, err
	}
	m.UIDNext = max(m.UIDNext, next)
	return false, nil
}

// load adds one message.
func (w *txn) load(m *Mailbox, msg *loadMessage, at ModSeq) error {
	row, err := w.loadRow(m, msg)
	if err != nil {
		return err
	}
	row.ModSeq = at
	return w.addRow(m, &row)
}

// loadRow is the row of a message whose bytes are there, or put there; it has
// a reference to them.
func (w *txn) loadRow(m *Mailbox, msg *loadMessage) (Row, error) {
	row := msg.row
	blob, size, known := w.f.blobs.find(w.tx, row.Email)
	if !known && msg.up != nil {
		if err := w.f.blobs.putBody(w.tx, msg.up); err != nil {
			return row, err
		}
		blob, size, known = w.f.blobs.find(w.tx, row.Email)
	}
	if !known || size != row.Size {
		return row, fmt.Errorf("%w: UID %d of a portable stream has no bytes", ErrCorrupt, row.UID)
	}
	if err := w.f.blobs.link(w.tx, blob, 1); err != nil {
		return row, err
	}
	thread, err := w.thread(msg.rec, row.Email)
	if err != nil {
		return row, err
	}
	row.Blob, row.Thread = blob, thread
	if n := systemFlags + len(m.Keywords); n < 64 {
		row.Flags &= 1<<n - 1
	}
	return row, nil
}

// recordByEmail reads the record of bytes that the account has.
func (a *Account) recordByEmail(e EmailID) (rec mail.Record, err error) {
	var id BlobID
	err = a.read(func(f *files, tx *bolt.Tx) error {
		known := false
		if id, _, known = f.blobs.find(tx, e); !known {
			return fmt.Errorf("%w: the bytes of %s are missing", ErrCorrupt, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = a.Records([]BlobID{id}, func(_ int, r mail.Record) bool {
		rec = append(mail.Record(nil), r...)
		return true
	})
	return rec, err
}
