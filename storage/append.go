package storage

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/mail"
)

// A NewMessage is a message to append. Its Upload is closed.
type NewMessage struct {
	Upload *Upload
	Flags  []imap.Flag
	Date   time.Time // INTERNALDATE; zero for now
}

type appendRequest struct {
	id   MailboxID
	msgs []NewMessage
	res  AppendResult
}

// Append adds messages to a mailbox, all or none. The uploads are used up.
func (a *Account) Append(id MailboxID, msgs []NewMessage) (AppendResult, error) {
	r := &appendRequest{id: id, msgs: msgs}
	err := a.do(r)
	if errors.Is(err, ErrDiskFull) {
		// Kept mail goes before new mail is refused.
		a.st.freeKeptFor(r.octets())
		r.rewind()
		err = a.do(r)
	}
	if err != nil {
		for _, m := range msgs {
			m.Upload.Abort()
		}
	}
	return r.res, err
}

func (r *appendRequest) rows() int   { return len(r.msgs) }
func (r *appendRequest) rewind()     { r.res = AppendResult{} }
func (r *appendRequest) frees() bool { return false }

func (r *appendRequest) octets() (n int64) {
	for i := range r.msgs {
		n += r.msgs[i].Upload.Size()
	}
	return n
}

func (r *appendRequest) bodies() []*Upload {
	ups := make([]*Upload, len(r.msgs))
	for i := range r.msgs {
		ups[i] = r.msgs[i].Upload
	}
	return ups
}

func (r *appendRequest) apply(w *txn) (bool, error) {
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	var all []imap.Flag
	var more Usage
	for i := range r.msgs {
		all = append(all, r.msgs[i].Flags...)
		more = more.plus(Usage{Octets: r.msgs[i].Upload.Size(), Messages: 1})
	}
	fresh, err := m.newKeywords(all)
	if err != nil {
		return false, err
	}
	if err := w.room(more); err != nil {
		return false, err
	}
	if uint64(m.UIDNext)+uint64(len(r.msgs)) > 1<<32-1 {
		return false, &LimitError{What: "UIDs in a mailbox", Max: 1<<32 - 1}
	}
	if err := w.addKeywords(m, fresh); err != nil {
		return false, err
	}
	at, first := w.next(), m.UIDNext
	r.res = AppendResult{UIDValidity: m.UIDValidity, ModSeq: at}
	for i := range r.msgs {
		row, err := w.newRow(m, &r.msgs[i], first+imap.UID(i), at)
		if err != nil {
			return false, fatal(err)
		}
		if err := w.addRow(m, &row); err != nil {
			return false, err
		}
		r.res.UIDs = append(r.res.UIDs, row.UID)
	}
	return false, w.show(m, first, first+imap.UID(len(r.msgs)-1), at)
}

// newRow stores the message's bytes, unless the account has them, and makes
// its row.
func (w *txn) newRow(m *Mailbox, msg *NewMessage, uid imap.UID, at ModSeq) (Row, error) {
	u := msg.Upload
	id, _, known := w.f.blobs.find(w.tx, u.EmailID())
	if !known {
		if err := w.f.blobs.putBody(w.tx, u); err != nil {
			return Row{}, err
		}
		id, _, _ = w.f.blobs.find(w.tx, u.EmailID())
	}
	if err := w.f.blobs.link(w.tx, id, 1); err != nil {
		return Row{}, err
	}
	thread, err := w.thread(u.Record(), u.EmailID())
	if err != nil {
		return Row{}, err
	}
	now := w.f.a.now()
	date := msg.Date
	if date.IsZero() {
		date = now
	}
	_, zone := date.Zone()
	return Row{UID: uid, ModSeq: at, Flags: m.mask(msg.Flags), Date: date.Unix(), Zone: int16(zone / 60),
		SaveDate: now.Unix(), Size: u.Size(), Blob: id, Email: u.EmailID(), Thread: thread}, nil
}

// mask is the bits of flags that the mailbox knows.
func (m *Mailbox) mask(flags []imap.Flag) (f Flags) {
	for _, name := range flags {
		f |= m.Bit(name)
	}
	return f
}

// newKeywords lists the keywords among flags that the mailbox lacks, or says
// that there is no room for them.
func (m *Mailbox) newKeywords(flags []imap.Flag) (fresh []string, err error) {
next:
	for _, name := range flags {
		if m.Bit(name) != 0 || strings.HasPrefix(string(name), `\`) {
			continue
		}
		for _, has := range fresh {
			if strings.EqualFold(has, string(name)) {
				continue next
			}
		}
		fresh = append(fresh, string(name))
	}
	if len(m.Keywords)+len(fresh) > MaxKeywords {
		return nil, &LimitError{What: "keywords in a mailbox", Max: MaxKeywords}
	}
	return fresh, nil
}

// maxReferences bounds how many ids of a References header are remembered.
const maxReferences = 50

// thread finds the thread of a message: the one its Message-ID is known in
// (a copy, or an original whose replies came first), else that of the last of
// its References that is known, else of In-Reply-To, else a new one (RFC 8474
// §5.2). Two threads are never merged. Ids that are only referenced are
// remembered too, so that siblings find each other.
func (w *txn) thread(rec mail.Record, email EmailID) (ThreadID, error) {
	own, ok := rec.MessageID()
	if !ok {
		own = mail.Hash(email[:8]) // the same bytes have the same thread
	}
	ids := make([]mail.Hash, 0, 8) // in the order of the search, reversed
	if h, ok := rec.InReplyTo(); ok {
		ids = append(ids, h)
	}
	rec.References(func(h mail.Hash) bool {
		ids = append(ids, h)
		return true
	})
	if len(ids) > maxReferences {
		ids = ids[len(ids)-maxReferences:]
	}
	ids = append(ids, own)
	b := w.bucket(bucketThreads)
	var thread []byte
	var fresh []mail.Hash
	for i := len(ids) - 1; i >= 0; i-- {
		v := b.Get(ids[i][:])
		switch {
		case len(v) != 8:
			fresh = append(fresh, ids[i])
		case thread == nil:
			thread = append(thread, v...)
		}
	}
	if thread == nil {
		meta := w.bucket(bucketMeta)
		thread = binary.LittleEndian.AppendUint64(nil, getUint64(meta, "thread")+1)
		if err := meta.Put([]byte("thread"), thread); err != nil {
			return 0, err
		}
	}
	for _, id := range fresh {
		if err := b.Put(append([]byte(nil), id[:]...), thread); err != nil {
			return 0, err
		}
	}
	return ThreadID(binary.LittleEndian.Uint64(thread)), nil
}
