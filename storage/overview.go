package storage

import (
	"bytes"
	"errors"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// An Overview is the mailbox rows of an account and its subscriptions as they
// were at one moment. It is never changed, and shared by all who asked since
// the last commit; a row that no commit touched is the same one in the next.
type Overview struct {
	Mailboxes     []*Mailbox // by ID
	Subscriptions []string   // ascending
}

// overview keeps the last Overview as long as somebody watches the account, and
// which rows were written since: so a commit costs one read of the rows that it
// touched, however many sessions pull.
type overview struct {
	reading sync.Mutex // one reader at a time; before watchers.mu

	// Under watchers.mu:
	every []*watcher
	last  *Overview // nil: read all
	stale map[MailboxID]bool
	subs  bool // the subscriptions changed
}

// WatchAll has w woken after each commit that touches a mailbox of the account
// or its subscriptions, until stop. What changed is the difference of two
// Overviews.
func (a *Account) WatchAll(w Waker) (stop func()) {
	entry, ws := &watcher{w}, &a.watch
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.over.every = append(ws.over.every, entry)
	return func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		o := &ws.over
		o.every = slices.DeleteFunc(o.every, func(e *watcher) bool { return e == entry })
		if len(o.every) == 0 {
			o.every, o.last, o.stale, o.subs = nil, nil, nil, false
		}
	}
}

// committed wakes the watchers of the mailboxes that a commit touched, and those
// of the account.
func (ws *watchers) committed(touched []MailboxID, subs bool) {
	if len(touched) == 0 && !subs {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, id := range touched {
		for _, e := range ws.all[id] {
			e.w.Wake()
		}
	}
	o := &ws.over
	if o.last != nil {
		for _, id := range touched {
			o.stale[id] = true
		}
		o.subs = o.subs || subs
	}
	for _, e := range o.every {
		e.w.Wake()
	}
}

// replaced forgets what was read from files that are others now.
func (ws *watchers) replaced() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.over.last, ws.over.stale, ws.over.subs = nil, nil, false
}

// Overview reads the account's. Two that are equal are the same pointer, if the
// account is watched with WatchAll.
func (a *Account) Overview() (*Overview, error) {
	ws := &a.watch
	o := &ws.over
	o.reading.Lock()
	defer o.reading.Unlock()
	ws.mu.Lock()
	last, stale, subs := o.last, o.stale, o.subs
	if last != nil && len(stale) == 0 && !subs {
		ws.mu.Unlock()
		return last, nil
	}
	// What is committed from here on is noted again: it may be read now, and is
	// then read twice.
	kept := len(o.every) > 0
	if kept {
		o.stale, o.subs = map[MailboxID]bool{}, false
		if last == nil {
			o.last = &Overview{} // so that it is noted
		}
	}
	ws.mu.Unlock()
	next, err := a.readOverview(last, stale, subs)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	switch {
	case err != nil:
		o.last, o.stale, o.subs = nil, nil, false
	case kept && o.last != nil: // neither replaced meanwhile, nor watched by nobody
		o.last = next
	}
	return next, err
}

// readOverview reads what changed since last, or all.
func (a *Account) readOverview(last *Overview, stale map[MailboxID]bool, subs bool) (*Overview, error) {
	next := &Overview{}
	err := a.read(func(f *files, tx *bolt.Tx) error {
		if last == nil || subs {
			if err := tx.Bucket(bucketSubs).ForEach(func(name, _ []byte) error {
				next.Subscriptions = append(next.Subscriptions, string(name))
				return nil
			}); err != nil {
				return err
			}
		} else {
			next.Subscriptions = last.Subscriptions
		}
		if last == nil {
			stale = map[MailboxID]bool{}
			if err := tx.Bucket(bucketNames).ForEach(func(_, id []byte) error {
				stale[MailboxID(id)] = true
				return nil
			}); err != nil {
				return err
			}
		} else {
			for _, m := range last.Mailboxes {
				if !stale[m.ID] {
					next.Mailboxes = append(next.Mailboxes, m)
				}
			}
		}
		for id := range stale {
			m, err := f.mailboxRow(tx, id)
			if errors.Is(err, ErrNoMailbox) {
				continue // deleted
			}
			if err != nil {
				return err
			}
			m.Keywords = nil // not kept in memory for nothing
			next.Mailboxes = append(next.Mailboxes, &m)
		}
		return nil
	})
	slices.SortFunc(next.Mailboxes, func(x, y *Mailbox) int { return bytes.Compare(x.ID[:], y.ID[:]) })
	return next, err
}
