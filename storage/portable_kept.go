package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Expunged messages that are kept come after an account's mailboxes, in
// records that a reader which doesn't know them passes over: the bodies that
// only they have are records of their own too.

// keptMessageBytes: time u64, reason u8, then portableMessage.
const keptMessageBytes = 8 + 1 + portableMessageBytes

// kept writes the expunged messages. Nothing is changed for it: rows of
// deleted mailboxes that are still to be settled are written as if they were.
func (x *portableAccount) kept() error {
	var last *keptOwner
	write := func(e *keptRowOf, o *keptOwner) error {
		if last == nil || last.Space != e.space {
			when := int64(0)
			if last = o; o.deleted {
				when = o.when
			}
			b := binary.LittleEndian.AppendUint64(nil, uint64(when))
			if err := x.p.write(recordKeptMailbox, append(append(b, o.ID[:]...), encodeMailbox(&o.Mailbox)...)); err != nil {
				return err
			}
		}
		head := append(binary.LittleEndian.AppendUint64(nil, uint64(e.when)), byte(e.why))
		return x.put(&o.Mailbox, &e.row, keptRecords, head)
	}
	page, err := x.a.keptFrom([]byte{0})
	for space, o := range page.owners { // first: what is settled meanwhile follows
		if err == nil && o.deleted {
			err = x.unsettled(o, func(r *Row) error { return write(&keptRowOf{space: space, row: *r, when: o.when}, o) })
		}
	}
	if err != nil {
		return err
	}
	return x.a.eachKept(x.ctx, func(p *keptPage) error {
		for i := range p.entries {
			if o := p.owners[p.entries[i].space]; o != nil {
				if err := write(&p.entries[i], o); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// unsettled calls f with the rows of a deleted mailbox that are not among the
// kept ones yet.
func (x *portableAccount) unsettled(o *keptOwner, f func(r *Row) error) error {
	box := o.Mailbox
	box.UIDNext = ^imap.UID(0) // intents of an early nestbox don't have it
	return x.a.eachLive(&box, func(rows []Row) error {
		for i := range rows {
			if err := f(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeDeletedAccounts writes the deleted accounts that are kept, as they lie
// there. One that is brought back or erased meanwhile ends early, with a note.
func (x *portableAccount) writeDeletedAccounts(st *Store) error {
	x.p.deleted = true
	defer func() { x.p.deleted = false }()
	all, err := st.DeletedAccounts()
	for i := 0; i < len(all) && err == nil; i++ {
		err = x.deletedAccount(st, &all[i])
	}
	return err
}

func (x *portableAccount) deletedAccount(st *Store, d *DeletedAccount) error {
	// A store of its own, which changes nothing in the folder: a backup may be
	// copying it.
	quiet := quietStore(st.dir)
	a := newAccount(quiet, d.ID)
	a.dir = filepath.Join(st.dir, accountsFolder, string(d.ID)+deletedSuffix)
	end := st.readDeleted(a)
	defer end()
	if f, err := a.acquire(); err != nil {
		return x.lostDeleted(d, err)
	} else {
		defer f.release()
	}
	if err := x.p.row(bucketDeleted, []byte(d.ID), d.encode()); err != nil {
		return err
	}
	one := portableAccount{ctx: x.ctx, a: a, p: x.p}
	err := one.write()
	if err == nil || !errors.Is(err, ErrClosed) || x.ctx.Err() != nil {
		return err
	}
	if !one.begun {
		if err := x.p.write(recordAccount, appendField(nil, 1, []byte(d.ID))); err != nil {
			return err
		}
	}
	return errors.Join(x.lostDeleted(d, errors.New("it was brought back or erased meanwhile")), one.end())
}

func (x *portableAccount) lostDeleted(d *DeletedAccount, why error) error {
	return x.p.write(recordNote, fmt.Appendf(nil, "the deleted account %s (%s) is not whole: %v", d.Name, d.ID, why))
}

// readDeleted notes that a deleted account is being read, so that who brings
// it back or erases it can end that.
func (st *Store) readDeleted(a *Account) (end func()) {
	st.reading.Store(a.id, a)
	return func() {
		st.reading.CompareAndDelete(a.id, a)
		_ = a.close() // it was only read
	}
}

// endReading ends the reading of a deleted account.
func (st *Store) endReading(id AccountID) {
	if a, ok := st.reading.LoadAndDelete(id); ok {
		_ = a.(*Account).close() // it was only read
	}
}

// A keptLoad is the mailbox whose expunged messages are being loaded.
type keptLoad struct {
	was   Mailbox
	when  int64 // of its deletion; 0: it is there
	space Space // 0: not known yet
	last  imap.UID
	batch []loadKept
}

type loadKept struct {
	loadMessage
	when int64
	why  keptReason
}

// keptMailbox begins the expunged messages of a mailbox.
func (l *portableLoad) keptMailbox(b []byte) error {
	if l.a == nil || len(b) < 8+16 {
		return errPortableRow
	}
	if err := l.flush(); err != nil {
		return err
	}
	was, err := decodeMailbox(b[8:24], b[24:])
	if err != nil {
		return err
	}
	if was.Name, err = MailboxName(was.Name); err != nil {
		return err
	}
	l.kept = &keptLoad{was: was, when: int64(binary.LittleEndian.Uint64(b))}
	return nil
}

// keptMessage takes an expunged message.
func (l *portableLoad) keptMessage(b []byte) error {
	if l.kept == nil || len(b) < keptMessageBytes {
		return errPortableRow
	}
	m := loadKept{when: int64(binary.LittleEndian.Uint64(b)), why: keptReason(b[8])}
	m.row = portableRow(b[9:])
	if m.row.UID <= l.kept.last {
		return fmt.Errorf("%w: expunged UID %d after UID %d", errPortable, m.row.UID, l.kept.last)
	}
	l.kept.last = m.row.UID
	there, err := l.bytesOf(&m.loadMessage, l.kept.was.Name)
	if err != nil || !there {
		return err
	}
	l.kept.batch = append(l.kept.batch, m)
	if m.up != nil {
		l.octets += m.row.Size
	}
	if len(l.kept.batch) >= loadBatch || l.octets >= loadBatchOctets {
		return l.flush()
	}
	return nil
}

// keptRequest puts messages among the kept ones.
type keptRequest struct{ *keptLoad }

func (r keptRequest) rows() int   { return len(r.batch) }
func (r keptRequest) rewind()     { r.space = 0 }
func (r keptRequest) frees() bool { return false }

func (r keptRequest) bodies() (ups []*Upload) {
	for i := range r.batch {
		if r.batch[i].up != nil {
			ups = append(ups, r.batch[i].up)
		}
	}
	return ups
}

func (r keptRequest) apply(w *txn) (bool, error) {
	m, err := r.mailbox(w)
	if err != nil {
		return false, err
	}
	for i := range r.batch {
		msg := &r.batch[i]
		row, err := w.loadRow(m, &msg.loadMessage)
		if err != nil {
			return false, fatal(err)
		}
		if row.ModSeq = m.HighestModSeq; row.ModSeq == 0 {
			row.ModSeq = 1
		}
		if _, live := w.row(m.Space, row.UID); live { // expunged while the stream was written
			if err := w.f.blobs.link(w.tx, row.Blob, -1); err != nil {
				return false, fatal(err)
			}
			continue
		}
		w.dirty = true
		if err := w.keep(m.Space, &row, msg.when, msg.why); err != nil {
			return false, err
		}
		if r.when == 0 && row.UID >= m.UIDNext {
			m.UIDNext = row.UID + 1
			m.FirstUnseen = max(m.FirstUnseen, m.UIDNext)
			w.change(m, w.next())
		}
	}
	return false, nil
}

// mailbox finds the mailbox of the messages, or makes the intent of a deleted
// one, in the transaction of the first messages: an empty one is forgotten.
func (r keptRequest) mailbox(w *txn) (*Mailbox, error) {
	if r.when == 0 {
		m, err := w.byName(r.was.Name)
		if !errors.Is(err, ErrNoMailbox) {
			return m, err
		}
		r.when = r.batch[0].when // it was made or renamed while the stream was written
	}
	if r.space == 0 {
		r.was.Space, r.space = w.newSpace(), Space(getUint32(w.bucket(bucketMeta), "space"))
		_, _ = rand.Read(r.was.ID[:]) // never fails: crypto/rand
		if err := w.putIntent(r.space, intentDeleted, encodeDeleted(&r.was, time.Unix(r.when, 0))); err != nil {
			return nil, err
		}
	}
	return &r.was, nil
}
