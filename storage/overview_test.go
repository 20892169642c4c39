package storage

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

type countWaker struct{ n atomic.Int64 }

func (w *countWaker) Wake() { w.n.Add(1) }

// TestOverview: after random changes of an account that is watched, each wakes
// the watcher, an Overview is what a fresh read gives, rows that nobody touched
// are the same ones, and none is read when nothing changed.
func TestOverview(t *testing.T) {
	t.Parallel()
	_, a, _ := keptStore(t)
	w := new(countWaker)
	stop := a.WatchAll(w)
	r := rand.New(rand.NewPCG(5465, 1))
	names := map[string]bool{}
	last, err := a.Overview()
	must(t, err)
	for step := range 200 {
		woken, changed := w.n.Load(), true
		name := fmt.Sprintf("m%d", r.IntN(8))
		switch there := names[name]; r.IntN(6) {
		case 0:
			if there {
				must(t, a.DeleteMailbox(name))
			} else {
				_, err := a.CreateMailbox(name)
				must(t, err)
			}
			names[name] = !there
		case 1:
			to := fmt.Sprintf("m%d", 8+step)
			if changed = there; there {
				must(t, a.RenameMailbox(name, to))
				must(t, a.RenameMailbox(to, name))
			}
		case 2:
			subs, err := a.Subscriptions()
			must(t, err)
			_, on := slices.BinarySearch(subs, "INBOX")
			must(t, a.Subscribe("INBOX", !on))
		case 3:
			box := inbox(t, a)
			res, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, message(step))}})
			must(t, err)
			_, err = a.StoreFlags(box.ID, StoreRequest{UIDs: res.UIDs, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
			must(t, err)
		case 4:
			must(t, a.RenameMailbox("INBOX", fmt.Sprintf("old%d", step)))
		default:
			a.leaveFiles() // another process may have changed them
			for end := time.Now().Add(20 * time.Second); a.stale() && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the background has them in use
			}
			changed = false
		}
		if got := w.n.Load() > woken; got != changed {
			t.Fatalf("step %d: woken %v, changed %v", step, got, changed)
		}
		now, err := a.Overview()
		must(t, err)
		again, err := a.Overview()
		must(t, err)
		if now != again {
			t.Fatalf("step %d: nothing changed, and another Overview", step)
		}
		checkOverview(t, a, last, now)
		last = now
	}
	stop()
	if a.watch.over.last != nil || len(a.watch.over.every) != 0 {
		t.Error("nobody watches, and rows are kept")
	}
}

func checkOverview(t *testing.T, a *Account, last, now *Overview) {
	t.Helper()
	all, err := a.Mailboxes()
	must(t, err)
	subs, err := a.Subscriptions()
	must(t, err)
	want := map[MailboxID]Mailbox{}
	for _, m := range all {
		m.Keywords = nil
		want[m.ID] = m
	}
	got := map[MailboxID]Mailbox{}
	for _, m := range now.Mailboxes {
		got[m.ID] = *m
	}
	if !maps.EqualFunc(got, want, func(x, y Mailbox) bool { return reflect.DeepEqual(x, y) }) || !slices.Equal(subs, now.Subscriptions) {
		t.Fatalf("overview\n%v %v\nwant\n%v %v", got, now.Subscriptions, want, subs)
	}
}
