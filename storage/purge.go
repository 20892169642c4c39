package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// PurgeResult is what a purge erased, or with dry run would.
type PurgeResult struct {
	Messages int64 `json:"messages"` // in mailboxes
	Expunged int64 `json:"expunged"` // kept after their expunge
	Octets   int64 `json:"octets"`   // of both
	// Shared is how many of their bodies are still there, as other messages
	// have the same bytes.
	Shared int64 `json:"shared"`
	// Reading is the number of blobs that somebody reads: their bytes go when
	// that ends.
	Reading int64 `json:"reading"`
	// Pending: bytes are still in the files, because of Reading or as a backup
	// runs; they go within an hour after that.
	Pending bool `json:"pending"`
}

// Purge erases messages for good, from mailboxes and from among the expunged:
// their rows, then their bytes, records and signatures, and what was left of
// those in the files (scrub.go). Sessions see a plain expunge. With a
// hold on anything that matches it refuses and has done nothing; dry counts
// only.
func (a *Account) Purge(ctx context.Context, c Criteria, dry bool) (res PurgeResult, err error) {
	if c.Mailbox != "" {
		if c.Mailbox, err = MailboxName(c.Mailbox); err != nil {
			return res, err
		}
	}
	m, err := newMatcher(c)
	if err != nil {
		return res, err
	}
	if err := a.settleDeleted(); err != nil {
		return res, err
	}
	p := &purger{ctx: ctx, a: a, m: m, dry: true, shared: map[BlobID]struct{}{}}
	if err := p.walk(); err != nil || dry || p.res.Messages+p.res.Expunged == 0 {
		return p.res, err
	}
	p.dry, p.res = false, PurgeResult{}
	// Whatever happens from here on, the upkeep finishes it.
	if err := a.markScrub(0); err != nil {
		return p.res, err
	}
	if err := p.walk(); err != nil {
		return p.res, err
	}
	p.res.Reading, err = a.eraseBytes(ctx)
	if p.res.Pending = p.res.Reading > 0 || errors.Is(err, errReaders); p.res.Pending {
		return p.res, nil
	}
	return p.res, err
}

// A purger goes through an account.
type purger struct {
	ctx context.Context
	a   *Account
	m   *matcher
	dry bool
	res PurgeResult
	// shared are blobs that lost a reference and have others so far.
	shared map[BlobID]struct{}
}

func (p *purger) walk() error {
	boxes, err := p.a.Mailboxes()
	if err != nil {
		return err
	}
	found := p.m.Mailbox == ""
	for i := range boxes {
		if p.m.Mailbox == "" || boxes[i].Name == p.m.Mailbox {
			found = true
			if err := p.mailbox(&boxes[i]); err != nil {
				return err
			}
		}
	}
	return p.kept(found)
}

func (p *purger) mailbox(m *Mailbox) error {
	if p.m.Expunged {
		return nil
	}
	return p.a.eachLive(m, func(rows []Row) error {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		rows, err := p.m.filter(p.a, rows)
		if err != nil || len(rows) == 0 {
			return err
		}
		if p.dry {
			if err := p.free(m.Name, m.Hold); err != nil {
				return err
			}
			for i := range rows {
				p.res.Messages++
				p.res.Octets += rows[i].Size
			}
			return nil
		}
		r := &purgeRequest{id: m.ID, rowsToGo: rows}
		err = p.a.do(r)
		p.res.Messages += r.messages
		p.res.Octets += r.octets
		p.note(r.blobs)
		return err
	})
}

// free refuses what a hold keeps.
func (p *purger) free(name string, hold bool) error {
	rules := p.a.policy()
	switch {
	case rules.err != nil:
		return fmt.Errorf("it can't be seen whether a hold keeps mail of the account: %w", rules.err)
	case rules.hold:
		return fmt.Errorf("%w: the account is held", ErrHeld)
	case hold:
		return fmt.Errorf("%w: mailbox %q is held", ErrHeld, name)
	}
	return nil
}

// kept purges among the expunged messages; found says that the mailbox is
// there, else it must be a deleted one.
func (p *purger) kept(found bool) error {
	err := p.a.eachKept(p.ctx, func(page *keptPage) error {
		var rows []Row
		at := map[rowKey]*keptRowOf{}
		for start := 0; start < len(page.entries); {
			space := page.entries[start].space
			o := page.owners[space]
			rows = rows[:0]
			for ; start < len(page.entries) && page.entries[start].space == space; start++ {
				e := &page.entries[start]
				rows = append(rows, e.row)
				at[rowKey{space, e.row.UID}] = e
			}
			if p.m.Mailbox != "" && (o == nil || o.Name != p.m.Mailbox) {
				continue
			}
			found = true
			matched, err := p.m.filter(p.a, rows)
			if err != nil {
				return err
			}
			if err := p.keptRows(o, space, matched, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("%q: %w", p.m.Mailbox, ErrNoMailbox)
	}
	return err
}

func (p *purger) keptRows(o *keptOwner, space Space, rows []Row, at map[rowKey]*keptRowOf) error {
	if len(rows) == 0 {
		return nil
	}
	if p.dry {
		for i := range rows {
			if at[rowKey{space, rows[i].UID}].why == keptExpunged {
				p.res.Expunged++
				p.res.Octets += rows[i].Size
			}
		}
		if o == nil {
			return p.free("", false)
		}
		return p.free(o.Name, o.Hold)
	}
	r := &forgetRequest{until: func(o *keptOwner, why keptReason) (int64, bool) {
		_, ok := p.a.policy().keptUntil(o, time.Time{}, why)
		return math.MaxInt64, ok
	}}
	for i := range rows {
		r.keys = append(r.keys, keyUID(space, rows[i].UID))
	}
	err := p.a.do(r)
	p.res.Expunged += r.Messages
	p.res.Octets += r.Octets
	p.note(r.blobs)
	return err
}

// note follows which of the blobs have other references.
func (p *purger) note(blobs unreferenced) {
	for id, last := range blobs {
		if last {
			delete(p.shared, id)
		} else {
			p.shared[id] = struct{}{}
		}
	}
	p.res.Shared = int64(len(p.shared))
}

// purgeRequest expunges messages and keeps nothing of them.
type purgeRequest struct {
	id       MailboxID
	rowsToGo []Row
	purged
}

type purged struct {
	messages, octets int64
	blobs            unreferenced
}

func (r *purgeRequest) bodies() []*Upload { return nil }
func (r *purgeRequest) rows() int         { return len(r.rowsToGo) }
func (r *purgeRequest) rewind()           { r.purged = purged{} }
func (r *purgeRequest) frees() bool       { return true }

func (r *purgeRequest) apply(w *txn) (bool, error) {
	r.purged = purged{blobs: unreferenced{}}
	m, err := w.mailbox(r.id)
	if err != nil {
		return false, err
	}
	if rules := w.f.a.policy(); m.Hold || rules.hold || rules.err != nil {
		return false, fmt.Errorf("%w: mailbox %q", ErrHeld, m.Name)
	}
	var rows []Row
	for _, want := range r.rowsToGo {
		if row, ok := w.row(m.Space, want.UID); ok && row.Blob == want.Blob {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return false, nil
	}
	// As moved ones, they are in no count of what can be restored.
	if err := w.expunge(m, rows, w.next(), keptMoved); err != nil {
		return false, err
	}
	for i := range rows {
		freed, err := w.forget(&keptRowOf{space: m.Space, row: rows[i], why: keptMoved})
		if err != nil {
			return false, err
		}
		r.messages++
		r.octets += rows[i].Size
		r.blobs[rows[i].Blob] = freed > 0
	}
	return false, nil
}
