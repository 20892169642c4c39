package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A KeptFilter chooses expunged messages.
type KeptFilter struct {
	Mailbox string    // of this mailbox, gone or not; "" for all
	Since   time.Time // expunged since then
	Moved   bool      // those that were moved instead (RFC 6851)
}

// A KeptMessage is an expunged message.
type KeptMessage struct {
	Mailbox  string
	Gone     bool // its mailbox was deleted
	Moved    bool
	Expunged time.Time
	Flags    []imap.Flag
	Row
}

// RestoreResult is what a restore brought back.
type RestoreResult struct {
	Messages  int64    `json:"messages"`
	Octets    int64    `json:"octets"`
	Mailboxes []string `json:"mailboxes"` // to which messages came back
	Made      []string `json:"made"`      // and those of them that were gone
}

// matches reports whether a kept row is one of the filter's.
func (f *KeptFilter) matches(e *keptRowOf, o *keptOwner) bool {
	switch {
	case o == nil, f.Moved != (e.why == keptMoved):
		return false
	case f.Mailbox != "" && o.Name != f.Mailbox:
		return false
	}
	return f.Since.IsZero() || e.when >= f.Since.Unix()
}

func (f *KeptFilter) canonical() (err error) {
	if f.Mailbox != "" {
		f.Mailbox, err = MailboxName(f.Mailbox)
	}
	return err
}

// Kept calls fn with the expunged messages, a page at a time; the slice is
// only valid in fn.
func (a *Account) Kept(ctx context.Context, f KeptFilter, fn func([]KeptMessage) error) error {
	if err := f.canonical(); err != nil {
		return err
	}
	if err := a.settleDeleted(); err != nil {
		return err
	}
	page := make([]KeptMessage, 0, ReadRows)
	return a.eachKept(ctx, func(p *keptPage) error {
		page = page[:0]
		for i := range p.entries {
			e := &p.entries[i]
			o := p.owners[e.space]
			if !f.matches(e, o) {
				continue
			}
			e.row.Expunged = true
			page = append(page, KeptMessage{Mailbox: o.Name, Gone: o.deleted, Moved: e.why == keptMoved,
				Expunged: time.Unix(e.when, 0), Flags: o.FlagNames(e.row.Flags), Row: e.row})
		}
		if len(page) == 0 {
			return nil
		}
		return fn(page)
	})
}

// RestoreKept gives expunged messages back to their mailboxes, as if they were
// appended: a new UID, the same bytes, EMAILID and thread, the flags without
// \Deleted. A mailbox that is gone is made again. What was restored is kept no
// more, so that it can't be restored twice. It goes in slices that become
// visible one by one; the result says what was done when there is an error.
func (a *Account) RestoreKept(ctx context.Context, f KeptFilter) (res RestoreResult, err error) {
	var more Usage
	err = a.Kept(ctx, f, func(page []KeptMessage) error {
		for i := range page {
			more = more.plus(Usage{Octets: page[i].Size, Messages: 1})
		}
		return nil
	})
	if err != nil || more.Messages == 0 {
		return res, err
	}
	// Rather nothing than half of it; each slice is checked again.
	used, limits, err := a.Quota()
	if err == nil {
		err = used.room(more, limits)
	}
	if err != nil {
		return res, err
	}
	if err := f.canonical(); err != nil {
		return res, err
	}
	err = a.eachKept(ctx, func(p *keptPage) error {
		for i := 0; i < len(p.entries); {
			r := &restoreRequest{filter: f, space: p.entries[i].space}
			for ; i < len(p.entries) && p.entries[i].space == r.space; i++ {
				if f.matches(&p.entries[i], p.owners[r.space]) {
					r.keys = append(r.keys, keyUID(r.space, p.entries[i].row.UID))
				}
			}
			if len(r.keys) == 0 {
				continue
			}
			if err := a.do(r); err != nil {
				return err
			}
			res.add(r)
		}
		return nil
	})
	return res, errors.Join(err, a.settleDeleted())
}

func (res *RestoreResult) add(r *restoreRequest) {
	if r.restored.Messages == 0 {
		return
	}
	res.Messages += r.restored.Messages
	res.Octets += r.restored.Octets
	if !slices.Contains(res.Mailboxes, r.mailbox) {
		res.Mailboxes = append(res.Mailboxes, r.mailbox)
	}
	if r.made {
		res.Made = append(res.Made, r.mailbox)
	}
}

// restoreRequest restores kept rows of one space.
type restoreRequest struct {
	filter KeptFilter
	space  Space
	keys   [][]byte
	restored
}

type restored struct {
	KeptCount
	mailbox string
	made    bool
}

func (r *restoreRequest) bodies() []*Upload { return nil }
func (r *restoreRequest) rows() int         { return len(r.keys) }
func (r *restoreRequest) rewind()           { r.restored = restored{} }
func (r *restoreRequest) frees() bool       { return false }

func (r *restoreRequest) apply(w *txn) (bool, error) {
	r.restored = restored{}
	owners, err := w.f.keptOwners(w.tx)
	if err != nil {
		return false, err
	}
	owner := owners[r.space]
	var entries []keptRowOf
	var more Usage
	var used Flags
	for _, key := range r.keys {
		if e, ok := w.keptAt(key); ok && r.filter.matches(&e, owner) {
			entries = append(entries, e)
			more = more.plus(Usage{Octets: e.row.Size, Messages: 1})
			used |= e.row.Flags
		}
	}
	if len(entries) == 0 {
		return false, nil
	}
	m, err := w.restoreTarget(owner, &more)
	if err != nil {
		return false, err
	}
	r.made, r.mailbox = m == nil, owner.Name
	if m != nil && uint64(m.UIDNext)+uint64(len(entries)) > 1<<32-1 {
		return false, &LimitError{What: "UIDs in a mailbox", Max: 1<<32 - 1}
	}
	if m == nil { // all that can be refused was
		if m, err = w.makeAgain(owner); err != nil {
			return false, err
		}
	}
	if err := w.addKeywords(m, m.fitting(owner.FlagNames(used))); err != nil {
		return false, err
	}
	r.KeptCount = KeptCount{more.Messages, more.Octets}
	return false, w.restore(m, owner, entries)
}

// restoreTarget is the mailbox that gets back what was the owner's, nil if it
// is to be made, after all checks.
func (w *txn) restoreTarget(owner *keptOwner, more *Usage) (*Mailbox, error) {
	if !owner.deleted {
		m, err := w.mailbox(owner.ID)
		if err != nil {
			return nil, err
		}
		return m, w.room(*more)
	}
	m, err := w.byName(owner.Name)
	if err == ErrNoMailbox {
		more.Mailboxes = 1
		return nil, w.room(*more)
	}
	if err != nil {
		return nil, err
	}
	return m, w.room(*more)
}

// makeAgain makes a mailbox like the one that was deleted.
func (w *txn) makeAgain(owner *keptOwner) (*Mailbox, error) {
	m := w.newMailbox(owner.Name)
	if w.useFree(owner.SpecialUse) == nil {
		m.SpecialUse = owner.SpecialUse
	}
	m.KeptDays, m.Hold = owner.KeptDays, owner.Hold
	if err := w.inherit(m); err != nil { // its own went with it (RFC 4314 §4)
		return nil, fatal(err)
	}
	if err := fatal(w.bucket(bucketSubs).Put([]byte(m.Name), nil)); err != nil {
		return nil, err
	}
	return m, w.putName(m)
}

// fitting lists the keywords among flags that the mailbox lacks, as far as it
// has room for them: no message is left out for a keyword.
func (m *Mailbox) fitting(flags []imap.Flag) []string {
	for {
		fresh, err := m.newKeywords(flags)
		if err == nil {
			return fresh
		}
		flags = flags[:len(flags)-1]
	}
}

// restore appends kept messages to a mailbox.
func (w *txn) restore(m *Mailbox, owner *keptOwner, entries []keptRowOf) error {
	now := w.f.a.now().Unix()
	at, first := w.next(), m.UIDNext
	for i := range entries {
		e := &entries[i]
		if err := w.unkeep(e); err != nil {
			return err
		}
		r := e.row
		r.UID, r.ModSeq, r.SaveDate, r.Expunged = first+imap.UID(i), at, now, false
		r.Flags = m.mask(owner.FlagNames(r.Flags &^ FlagDeleted))
		if err := w.addRow(m, &r); err != nil {
			return err
		}
	}
	return w.show(m, first, first+imap.UID(len(entries)-1), at)
}
