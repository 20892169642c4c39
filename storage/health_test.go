package storage

import (
	"errors"
	"testing"
	"time"
)

// A look at the health opens nobody's files, and with all closes them again;
// what closed accounts held is known from their notes.
func TestHealthOpensNothing(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	for _, name := range []string{"anna", "bert"} {
		a, err := st.Account(mustAccount(t, st, name).ID)
		if err != nil {
			t.Fatal(err)
		}
		appendTo(t, a, inbox(t, a).ID, message(1))
		a.writer.drain()
		a.closeUnused()
	}
	open := func() (n int) {
		for _, a := range st.openAccounts() {
			a.mu.Lock()
			if a.f != nil {
				n++
			}
			a.mu.Unlock()
		}
		return n
	}
	for _, all := range []bool{false, true} {
		var h Health
		eventually(t, "a look that opens nothing", func() (shut bool) { // the accounts' quiet work may
			for _, a := range st.openAccounts() {
				a.closeUnused()
			}
			if open() > 0 {
				return false
			}
			var err error
			if h, err = st.Health(all); err != nil {
				t.Fatal(err)
			}
			return open() == 0
		})
		if len(h.Accounts) != 2 || h.Written.IsZero() || h.Disk.Size == 0 {
			t.Fatalf("%+v", h)
		}
		for _, a := range h.Accounts {
			if a.Used.Messages != 1 || a.Used.Mailboxes != 6 || a.Known.IsZero() || a.Open {
				t.Errorf("all %v: %+v", all, a)
			}
		}
	}
}

func TestBackupIsNoted(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	if n, err := st.LastBackup(); err != nil || !n.At.IsZero() {
		t.Fatalf("at first: %+v, %v", n, err)
	}
	if err := st.NoteBackup("/b", nil); err != nil {
		t.Fatal(err)
	}
	good, err := st.LastBackup()
	if err != nil || good.To != "/b" || good.Error != "" || !good.Good.Equal(good.At) || time.Since(good.At) > time.Minute {
		t.Fatalf("%+v, %v", good, err)
	}
	if err := st.NoteBackup("/c", errors.New("disk full")); err != nil {
		t.Fatal(err)
	}
	n, err := st.LastBackup()
	if err != nil || n.To != "/c" || n.Error != "disk full" || !n.Good.Equal(good.Good) {
		t.Errorf("%+v, %v", n, err)
	}
}
