package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math"

	bolt "go.etcd.io/bbolt"
)

// renewSlice is how many mailboxes one transaction of a renewal rewrites: their
// keys are random, so each may be a page of its own.
const renewSlice = batchRows / 2

// renewAhead is how many seconds ahead of the clock renewed UIDVALIDITYs are,
// at least. Those of mailboxes made in a burst run ahead of it, one second a
// mailbox, and what made them may be in no file that is still here.
const renewAhead = 24 * 60 * 60

// A highWater is how far an account's numbers may have been given out
// elsewhere: by data that this account's files are older than.
type highWater struct {
	Validity uint32 // the highest UIDVALIDITY
	ModSeq   ModSeq
	Counter  uint64 // commits of mail.db
	Space    Space
	Thread   ThreadID
}

// renewValidity gives every mailbox a new UIDVALIDITY, above each one that the
// account has given out, the time and past.Validity; MODSEQs go on above
// past.ModSeq. Clients then forget what they know, as they must when the files
// are not the ones they last saw (DESIGN §5). The MAILBOXIDs are new too, as
// RFC 8474 §4 wants it, so that sessions which have a mailbox open end as if it
// had been deleted. It takes one transaction for renewSlice mailboxes; if a
// crash comes between two, the next open does the rest before anybody reads.
func (a *Account) renewValidity(past highWater) error {
	return a.exec(func(f *files) error {
		if err := f.beginRenewal(past); err != nil {
			return err
		}
		return f.finishRenewal()
	})
}

// beginRenewal notes what every UIDVALIDITY must be above: meta "renew".
func (f *files) beginRenewal(past highWater) error {
	// The journal's state of the mailboxes goes by their ids.
	for f.overlay.len() > 0 {
		if err := f.foldSlice(); err != nil {
			return err
		}
	}
	if err := f.blobs.begin(); err != nil { // runs have ends where the next ones begin
		return err
	}
	w, err := f.update(func(w *txn) error {
		meta := w.bucket(bucketMeta)
		above := max(past.Validity, getUint32(meta, "validity"), getUint32(meta, "renew"), uint32(min(max(f.a.now().Unix()+renewAhead, 0), math.MaxUint32)))
		boxes, err := mailboxesBySpace(w.tx)
		if err != nil {
			return err
		}
		for _, m := range boxes {
			above = max(above, m.UIDValidity)
		}
		if int64(above)+int64(len(boxes)) >= math.MaxUint32 {
			return &LimitError{What: "UIDVALIDITY values", Max: math.MaxUint32}
		}
		w.modseq = max(w.modseq, past.ModSeq)
		w.dirty = true
		return errors.Join(meta.Put([]byte("renew"), le32(above)), meta.Put([]byte("validity"), le32(above)),
			meta.Put([]byte("space"), le32(max(getUint32(meta, "space"), uint32(past.Space)))),
			putUint64(meta, "counter", max(getUint64(meta, "counter"), past.Counter)),
			putUint64(meta, "thread", max(getUint64(meta, "thread"), uint64(past.Thread))))
	})
	if err == nil {
		w.publish()
	}
	return err
}

// finishRenewal goes on with a renewal, if there is one.
func (f *files) finishRenewal() error {
	for {
		var above uint32
		var old []MailboxID
		err := f.mail.View(func(tx *bolt.Tx) error {
			v := tx.Bucket(bucketMeta).Get([]byte("renew"))
			if len(v) != 4 {
				return errNothing
			}
			above = binary.LittleEndian.Uint32(v)
			boxes, err := mailboxesBySpace(tx)
			for _, m := range boxes {
				if m.UIDValidity <= above && len(old) < renewSlice {
					old = append(old, m.ID)
				}
			}
			return err
		})
		if errors.Is(err, errNothing) {
			return nil
		}
		if err != nil {
			return err
		}
		w, err := f.update(func(w *txn) error {
			w.dirty = true
			for _, id := range old {
				if err := w.renew(id); err != nil {
					return err
				}
			}
			if len(old) < renewSlice {
				return w.bucket(bucketMeta).Delete([]byte("renew"))
			}
			return nil
		})
		if err != nil {
			return err
		}
		w.publish()
	}
}

// renew gives a mailbox a new UIDVALIDITY and MAILBOXID.
func (w *txn) renew(id MailboxID) error {
	old, err := w.box(id)
	if err != nil {
		return err
	}
	renewed := &boxState{Mailbox: old.Mailbox}
	rand.Read(renewed.ID[:]) // never fails: crypto/rand ends the program instead
	renewed.UIDValidity = w.newValidity()
	renewed.RecentUID = w.f.a.recent.get(id, old.RecentUID)
	old.deleted, old.touched = true, true
	w.boxes[renewed.ID] = renewed
	w.change(&renewed.Mailbox, w.next())
	if err := w.bucket(bucketMailboxes).Delete(id[:]); err != nil {
		return err
	}
	if err := errors.Join(w.copyAnnotations(id, &renewed.Mailbox), w.dropAnnotations(id)); err != nil {
		return err
	}
	return w.putName(&renewed.Mailbox)
}
