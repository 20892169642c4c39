package storage

import (
	"sync"

	"github.com/emersion/go-imap/v2"
)

// watchers are the sessions that want to be woken. They live outside the
// open files, so that an idle account with watchers can be closed.
type watchers struct {
	mu   sync.Mutex
	all  map[MailboxID][]*watcher
	over overview
}

type watcher struct{ w Waker }

// Watch has w woken after each commit that touches the mailbox, until stop.
func (a *Account) Watch(id MailboxID, w Waker) (stop func()) {
	entry := &watcher{w}
	ws := &a.watch
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = map[MailboxID][]*watcher{}
	}
	ws.all[id] = append(ws.all[id], entry)
	return func() { ws.remove(id, entry) }
}

// Wake wakes the sessions that watch the mailbox, for what is in no row of it.
func (a *Account) Wake(id MailboxID) { a.watch.wake(id) }

func (ws *watchers) remove(id MailboxID, entry *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	list := ws.all[id]
	for i, e := range list {
		if e == entry {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(ws.all, id)
		return
	}
	ws.all[id] = list
}

func (ws *watchers) wake(id MailboxID) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, e := range ws.all[id] {
		e.w.Wake()
	}
}

// recentMarks hold which messages were given to a session as \Recent since
// the mailbox row was last written: a SELECT never costs a commit.
type recentMarks struct {
	mu  sync.Mutex
	uid map[MailboxID]imap.UID
}

func (r *recentMarks) get(id MailboxID, stored imap.UID) imap.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(stored, r.uid[id])
}

// ClaimRecent gives the caller the recent messages below box.UIDNext: the UIDs
// from first on. They are \Recent for no later session (RFC 3501 §2.3.2). The
// mark is kept in memory and written with the next commit of the mailbox.
func (a *Account) ClaimRecent(box *Mailbox) (first imap.UID) {
	r := &a.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uid == nil {
		r.uid = map[MailboxID]imap.UID{}
	}
	last := max(box.RecentUID, r.uid[box.ID])
	if box.UIDNext-1 > last {
		r.uid[box.ID] = box.UIDNext - 1
	}
	return last + 1
}

// PeekRecent is ClaimRecent without taking: for EXAMINE and STATUS.
func (a *Account) PeekRecent(box *Mailbox) (first imap.UID) {
	return a.recent.get(box.ID, box.RecentUID) + 1
}
