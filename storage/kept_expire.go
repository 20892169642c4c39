package storage

import (
	"bytes"
	"context"
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"
)

// forgetRows is how many kept rows one transaction removes: each touches the
// row of its blob, wherever that is (DESIGN §5).
const forgetRows = 500

// forgetRequest removes kept rows for good, those of keys that it may.
type forgetRequest struct {
	keys [][]byte
	// until says up to which time of its expunge a row may go. It is asked in
	// the transaction, in which a hold would be seen.
	until func(o *keptOwner, why keptReason) (until int64, ok bool)
	forgotten
}

// forgotten is what went for good: expunged messages, and the octets of blobs
// without another reference, also of moved messages.
type forgotten struct {
	KeptCount
	bytes int64
	blobs unreferenced
}

// unreferenced says of blobs that lost a reference whether it was the last.
type unreferenced map[BlobID]bool

func (r *forgetRequest) bodies() []*Upload { return nil }
func (r *forgetRequest) rows() int         { return len(r.keys) }
func (r *forgetRequest) rewind()           {}
func (r *forgetRequest) frees() bool       { return true }

func (r *forgetRequest) apply(w *txn) (bool, error) {
	r.forgotten = forgotten{blobs: unreferenced{}}
	owners, err := w.f.keptOwners(w.tx)
	if err != nil {
		return false, err
	}
	for _, key := range r.keys {
		e, ok := w.keptAt(key)
		if !ok {
			continue // restored or gone meanwhile
		}
		if until, ok := r.until(owners[e.space], e.why); !ok || e.when > until {
			continue
		}
		bytes, err := w.forget(&e)
		if err != nil {
			return false, err
		}
		r.bytes += bytes
		r.blobs[e.row.Blob] = bytes > 0
		if e.why == keptExpunged {
			r.KeptCount = r.plus(KeptCount{1, e.row.Size})
		}
	}
	return false, nil
}

// forget removes a kept row and its reference. freed is the size of its blob
// if that was the last one.
func (w *txn) forget(e *keptRowOf) (freed int64, err error) {
	if err := w.unkeep(e); err != nil {
		return 0, err
	}
	row, err := readBlobRow(w.tx, e.row.Blob)
	if errors.Is(err, ErrNoMessage) {
		return 0, nil // of a blob that is lost anyway
	}
	if row.refs == 1 {
		freed = row.size
	}
	return freed, fatal(w.f.blobs.link(w.tx, e.row.Blob, -1))
}

// A keptPage is a piece of the bucket "kept" in the order of its keys.
type keptPage struct {
	entries []keptRowOf
	owners  map[Space]*keptOwner
	next    []byte // the key to go on from; nil at the end
}

// keptFrom reads the kept rows from a key on, at most ReadRows.
func (a *Account) keptFrom(from []byte) (p keptPage, err error) {
	err = a.read(func(f *files, tx *bolt.Tx) error {
		p = keptPage{}
		var err error
		if p.owners, err = f.keptOwners(tx); err != nil {
			return err
		}
		c := tx.Bucket(bucketKept).Cursor()
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if len(p.entries) == ReadRows {
				p.next = bytes.Clone(k)
				break
			}
			if e, err := decodeKept(k, v); err == nil { // Check names the damaged
				p.entries = append(p.entries, e)
			}
		}
		return nil
	})
	return p, err
}

// rest is pause, for work that somebody may wait for: then p is nil.
func (p *pacer) rest(ctx context.Context, a *Account) error {
	if p == nil {
		return ctx.Err()
	}
	return p.pause(ctx, a)
}

// eachKept calls f with all kept rows, a page at a time and without a
// transaction open.
func (a *Account) eachKept(ctx context.Context, f func(p *keptPage) error) error {
	for from := []byte{0}; from != nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := a.keptFrom(from)
		if err != nil {
			return err
		}
		if err := f(&p); err != nil {
			return err
		}
		from = p.next
	}
	return nil
}

// expireKept removes for good what was kept long enough. next is when there
// is something to do again. The caller trusts the clock.
func (a *Account) expireKept(ctx context.Context, now time.Time) (gone KeptCount, next time.Time, err error) {
	if err := a.settleDeleted(); err != nil {
		return gone, next, err
	}
	rules := a.policy()
	until := func(o *keptOwner, why keptReason) (int64, bool) { return rules.keptUntil(o, now, why) }
	n, wait, err := a.forgetKept(ctx, new(pacer), until, nil)
	if err == nil {
		err = a.settleDeleted() // forgets mailboxes of which nothing is left
	}
	return n.KeptCount, now.Add(wait), err
}

// maxExpireWait is for how long an account is left alone: longer settings make
// no difference, and those of a mailbox may change.
const maxExpireWait = oneDay

// forgetKept removes the kept rows that until lets go, until enough says so.
// wait is how long until the next may go.
func (a *Account) forgetKept(ctx context.Context, pace *pacer, until func(*keptOwner, keptReason) (int64, bool), enough func(forgotten) bool) (n forgotten, wait time.Duration, err error) {
	wait = maxExpireWait
	var keys [][]byte
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		r := &forgetRequest{keys: keys, until: until}
		err := a.do(r)
		n.KeptCount, n.bytes = n.plus(r.KeptCount), n.bytes+r.bytes
		keys = nil
		return err
	}
	done := errors.New("enough")
	err = a.eachKept(ctx, func(p *keptPage) error {
		if err := pace.rest(ctx, a); err != nil {
			return err
		}
		for i := range p.entries {
			e := &p.entries[i]
			last, ok := until(p.owners[e.space], e.why)
			switch {
			case !ok:
			case e.when <= last:
				keys = append(keys, keyUID(e.space, e.row.UID))
			default:
				wait = min(wait, time.Duration(e.when-last)*time.Second)
			}
			if len(keys) == forgetRows {
				if err := flush(); err != nil {
					return err
				}
				if enough != nil && enough(n) {
					return done
				}
			}
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if errors.Is(err, done) {
		err = nil
	}
	return n, wait, err
}
