package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// RestorePortable makes the data folder to of a portable stream. A stream that
// is damaged or cut off restores nothing.
func RestorePortable(ctx context.Context, in io.Reader, to string, o Options) (RestoreReport, error) {
	p, err := newPortableReader(in)
	if err != nil {
		return RestoreReport{}, err
	}
	o.MaxMessage = portableMaxMessage
	r, err := startRestoring(ctx, to, o)
	if err != nil {
		return RestoreReport{}, err
	}
	err = r.loadPortable(p)
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		err = errors.Join(mapError(err), os.RemoveAll(r.part))
	}
	return *r.RestoreReport, err
}

// loadPortable fills a new data folder.
func (r *restoring) loadPortable(p *portableReader) error {
	if err := initFolder(r.part); err != nil {
		return err
	}
	st, err := Open(r.part, r.opts)
	if err != nil {
		return err
	}
	l := &portableLoad{r: r, p: p, st: st, skipped: map[EmailID]bool{}}
	err = l.load()
	l.abort()
	return errors.Join(err, st.Close())
}

// A portableLoad reads the records of a stream into a store.
type portableLoad struct {
	r  *restoring
	p  *portableReader
	st *Store

	a        *Account
	deleted  bool // it is a deleted account
	box      *Mailbox
	last     imap.UID // of the mailbox
	up       *Upload  // the body that was read last and has no message yet
	tooBig   error    // why that body was not taken
	skipped  map[EmailID]bool
	batch    []loadMessage
	kept     *keptLoad // the expunged messages that come now
	octets   int64
	accounts uint64
	messages uint64 // of the account
	bodies   uint64
}

const (
	// portableMaxMessage lets everything in that a volume can hold: the limit
	// of a setting is for new mail.
	portableMaxMessage = 1 << 40

	loadBatch       = 400
	loadBatchOctets = 1 << 20
)

func (l *portableLoad) load() error {
	for {
		kind, b, err := l.p.next()
		if err == nil {
			err = l.r.ctx.Err()
		}
		if err != nil {
			return err
		}
		switch kind {
		case recordHousehold:
			err = l.household(b, l.p.deleted)
		case recordAccount:
			err = l.account(b, l.p.deleted)
		case recordMailbox:
			err = l.mailbox(b)
		case recordBody:
			l.bodies++
			err = l.body(b, recordData)
		case recordKeptMailbox:
			err = l.keptMailbox(b)
		case recordKeptBody:
			err = l.body(b, recordKeptData)
		case recordKeptMessage:
			err = l.keptMessage(b)
		case recordMessage:
			err = l.message(b)
		case recordAnnotation:
			err = l.annotation(b)
		case recordAccountOK:
			err = l.accountEnd(b)
		case recordNote:
			l.r.Findings = append(l.r.Findings, string(b))
		case recordEnd:
			if !l.p.deleted {
				return l.end(b)
			}
			err = errPortableRow
		default:
			if kind < recordNote {
				err = fmt.Errorf("%w has a record of type %d, which this nestbox doesn't know", errPortable, kind)
			}
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", l.p.n-1, err)
		}
	}
}

func (l *portableLoad) abort() {
	l.up.abort()
	for i := range l.batch {
		l.batch[i].up.abort()
	}
	if l.kept != nil {
		for i := range l.kept.batch {
			l.kept.batch[i].up.abort()
		}
	}
}

func (u *Upload) abort() {
	if u != nil {
		u.Abort()
	}
}

var errPortableRow = fmt.Errorf("%w has a row that is too short", errPortable)

// household takes a row of system.db, or that of a deleted account.
func (l *portableLoad) household(b []byte, deleted bool) error {
	if len(b) < 1 || len(b) < 3+int(b[0]) {
		return errPortableRow
	}
	bucket, rest := b[1:1+b[0]], b[1+b[0]:]
	n := int(binary.LittleEndian.Uint16(rest))
	if len(rest) < 2+n {
		return errPortableRow
	}
	key, value := rest[2:2+n], rest[2+n:]
	take := portableBuckets
	if deleted {
		take = [][]byte{bucketDeleted}
	}
	for _, known := range take {
		if string(known) == string(bucket) {
			return l.st.update(func(tx *bolt.Tx) error { return putSystem(tx, known, key, value) })
		}
	}
	return nil // of a later nestbox
}

// account begins an account, or goes on with its subscriptions.
func (l *portableLoad) account(b []byte, deleted bool) error {
	var id AccountID
	var secret []byte
	var past highWater
	var subs []string
	err := fields(b, func(tag byte, v []byte) error {
		switch tag {
		case 1:
			id = AccountID(v)
		case 2:
			secret = append([]byte(nil), v...)
		case 3:
			subs = append(subs, string(v))
		case 4, 5:
			if len(v) != 8 {
				return errPortableRow
			}
			if n := binary.LittleEndian.Uint64(v); tag == 4 {
				past.ModSeq = ModSeq(n)
			} else {
				past.Validity = uint32(n)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.a == nil || l.a.id != id {
		if l.a != nil {
			return fmt.Errorf("%w: an account begins before the end of another", errPortable)
		}
		if err := l.makeAccount(id, secret, past, deleted); err != nil {
			return err
		}
	}
	return l.a.exec(func(f *files) error {
		return f.mail.Update(func(tx *bolt.Tx) error {
			for _, name := range subs {
				if err := tx.Bucket(bucketSubs).Put([]byte(name), nil); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// body reads a message's bytes.
func (l *portableLoad) body(b []byte, data byte) error {
	if l.a == nil || len(b) < 8 || l.up != nil || l.tooBig != nil {
		return errPortableRow
	}
	left := int64(binary.LittleEndian.Uint64(b))
	l.r.Octets += left
	up, err := l.a.NewUpload(left)
	if l.tooBig = err; err != nil && !errors.Is(err, ErrTooBig) {
		return err
	}
	l.up = up // nil: the bytes are passed over
	for left > 0 {
		kind, b, err := l.p.next()
		if err != nil {
			return err
		}
		if kind != data || int64(len(b)) > left || len(b) == 0 {
			return fmt.Errorf("%w: a message ends early", errPortable)
		}
		left -= int64(len(b))
		if up == nil {
			continue
		}
		if _, err := up.Write(b); err != nil {
			return err
		}
	}
	if up == nil {
		return nil
	}
	return up.Close()
}

// message takes a message; its bytes came right before, or with an earlier one.
func (l *portableLoad) message(b []byte) error {
	if l.box == nil || len(b) < portableMessageBytes {
		return errPortableRow
	}
	m := loadMessage{row: portableRow(b)}
	if m.row.UID <= l.last {
		return fmt.Errorf("%w: UID %d after UID %d", errPortable, m.row.UID, l.last)
	}
	l.last = m.row.UID
	l.messages++
	there, err := l.bytesOf(&m, l.box.Name)
	if err != nil || !there {
		return err
	}
	l.batch = append(l.batch, m)
	if m.up != nil {
		l.octets += m.row.Size
	}
	if len(l.batch) >= loadBatch || l.octets >= loadBatchOctets {
		return l.flush()
	}
	return nil
}

// portableRow reads what a stream has of a row.
func portableRow(b []byte) Row {
	le := binary.LittleEndian
	r := Row{
		UID: imap.UID(le.Uint32(b)), Flags: Flags(le.Uint64(b[12:])), Date: int64(le.Uint64(b[20:])),
		Zone: int16(le.Uint16(b[28:])), SaveDate: int64(le.Uint64(b[30:])), Size: int64(le.Uint64(b[38:])),
	}
	copy(r.Email[:], b[46:62])
	return r
}

// bytesOf finds the bytes of a message: those that came right before, or those
// of an earlier one. It reports false when they were left out.
func (l *portableLoad) bytesOf(m *loadMessage, mailbox string) (bool, error) {
	if l.tooBig != nil {
		l.skipped[m.row.Email], l.tooBig = true, nil
	}
	if l.skipped[m.row.Email] {
		l.r.Findings = append(l.r.Findings, fmt.Sprintf("UID %d of mailbox %s is left out: %v", m.row.UID, mailbox, ErrTooBig))
		return false, nil
	}
	if l.up != nil {
		m.up, l.up = l.up, nil
		if m.up.EmailID() != m.row.Email || m.up.Size() != m.row.Size {
			m.up.Abort()
			return false, fmt.Errorf("%w: the bytes of UID %d are others", errPortable, m.row.UID)
		}
		m.rec = m.up.Record()
		return true, nil
	}
	if err := l.flush(); err != nil { // its bytes may be in the batch
		return false, err
	}
	var err error
	if m.rec, err = l.a.recordByEmail(m.row.Email); err != nil {
		return false, fmt.Errorf("UID %d: %w", m.row.UID, err)
	}
	return true, nil
}

func (l *portableLoad) flush() error {
	if k := l.kept; k != nil && len(k.batch) > 0 {
		err := l.a.do(keptRequest{k})
		if err == nil {
			k.batch, l.octets = k.batch[:0], 0
		}
		return err
	}
	if len(l.batch) == 0 {
		return nil
	}
	err := l.a.do(&loadRequest{id: l.box.ID, msgs: l.batch})
	if err == nil {
		l.batch, l.octets = l.batch[:0], 0
	}
	return err
}

func (l *portableLoad) accountEnd(b []byte) error {
	if l.a == nil || len(b) < 16 {
		return errPortableRow
	}
	if err := l.flush(); err != nil {
		return err
	}
	messages, bodies := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if messages != l.messages || bodies != l.bodies {
		return fmt.Errorf("%w: an account has %d messages and %d bodies, not %d and %d", errPortable, l.messages, l.bodies, messages, bodies)
	}
	deleted := l.deleted
	a := l.a
	l.a, l.box, l.kept, l.deleted = nil, nil, nil, false
	if deleted {
		return a.close()
	}
	l.accounts++
	return nil
}

func (l *portableLoad) end(b []byte) error {
	if l.a != nil || len(b) < 8 || binary.LittleEndian.Uint64(b) != l.accounts {
		return fmt.Errorf("%w: accounts are missing", errPortable)
	}
	l.r.Taken = l.p.taken
	return l.p.end()
}
