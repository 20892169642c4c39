package storage

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// backupTo takes a backup that must be sound.
func backupTo(t *testing.T, st *Store, dir string) BackupReport {
	t.Helper()
	r, err := st.BackupTo(t.Context(), dir)
	if err != nil || len(r.Findings) > 0 {
		t.Fatal(err, r.Findings)
	}
	return r
}

// contents reads all of an account: for each mailbox its messages' flags and
// bytes.
func contents(t *testing.T, a *Account) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	boxes, err := a.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range boxes {
		all[m.Name] = []string{}
		uids, err := a.UIDs(m.Space, 1, m.UIDNext, nil)
		if err != nil {
			t.Fatal(err)
		}
		for len(uids) > 0 {
			n := min(len(uids), ReadRows)
			rows, err := a.Rows(m.Space, uids[:n], nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				var body bytes.Buffer
				b, err := a.OpenBlob(rows[i].Blob)
				if err == nil {
					_, err = b.WriteRange(&body, 0, b.Size())
					b.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				all[m.Name] = append(all[m.Name], fmt.Sprint(rows[i].UID, m.FlagNames(rows[i].Flags), rows[i].Email, rows[i].Date, body.String()))
			}
			uids = uids[n:]
		}
	}
	return all
}

// openCopy opens a copy of a backup as a server would.
func openCopy(t *testing.T, dir string) *Store {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	st, err := Open(to, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	findings, err := st.Check()
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	return st
}

func sameContents(t *testing.T, got, want map[string][]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the copy has %.400v\nnot %.400v", got, want)
	}
}

func largeMessage(random *rand.Rand, n, size int) string {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(32 + random.Intn(90))
	}
	return message(n) + string(body) + "\r\n"
}

func TestBackup(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 1 << 20, firstBodies: 128 << 10})
	random := rand.New(rand.NewSource(1))
	box := inbox(t, a)
	for i := range 60 {
		appendTo(t, a, box.ID, largeMessage(random, i, 40_000))
	}
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{3, 9}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	first := backupTo(t, st, dir)
	if first.Accounts != 1 || first.Kept != 0 || first.Octets < 1<<20 {
		t.Errorf("%+v", first)
	}
	want := contents(t, a)
	copied := openCopy(t, dir)
	b, err := copied.Account(a.id)
	if err != nil {
		t.Fatal(err)
	}
	sameContents(t, contents(t, b), want)
	t.Run("nothing new", func(t *testing.T) {
		r := backupTo(t, st, dir)
		if r.Octets > 100<<10 || r.Kept < 3 { // system.db and the journal
			t.Errorf("%+v", r)
		}
	})
	t.Run("one message more", func(t *testing.T) {
		appendTo(t, a, box.ID, largeMessage(random, 100, 40_000))
		r := backupTo(t, st, dir)
		if r.Octets > first.Octets/2 || r.Kept == 0 {
			t.Errorf("%+v, the first %+v", r, first)
		}
		b, err := openCopy(t, dir).Account(a.id)
		if err != nil {
			t.Fatal(err)
		}
		sameContents(t, contents(t, b), contents(t, a))
	})
	t.Run("account deleted", func(t *testing.T) {
		if err := st.DeleteAccount("ann"); err != nil {
			t.Fatal(err)
		}
		r := backupTo(t, st, dir)
		if _, err := os.Stat(filepath.Join(dir, accountsFolder, string(a.id))); err == nil {
			t.Error("the account is still there")
		}
		if _, err := os.Stat(filepath.Join(dir, accountsFolder, string(a.id)+deletedSuffix, "mail.db")); err != nil {
			t.Errorf("%v: %+v", err, r)
		}
		backupTo(t, st, dir)
	})
}

// A backup while an account is written to has a state that the account had.
func TestBackupUnderLoad(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 2 << 20, firstBodies: 512 << 10})
	random := rand.New(rand.NewSource(2))
	box := inbox(t, a)
	for i := range 100 {
		appendTo(t, a, box.ID, largeMessage(random, i, 30_000))
	}
	ctx, cancel := context.WithCancel(t.Context())
	worked := make(chan int)
	var slowest time.Duration
	go func() {
		n := 0
		defer func() { worked <- n }()
		for ; ctx.Err() == nil; n++ {
			start := time.Now()
			// The n-th step: message 1000+n comes, message n+1 is flagged and goes.
			appendTo(t, a, box.ID, largeMessage(random, 1000+n, 20_000))
			if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{imap.UID(n + 1)}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
				t.Error(err)
			}
			if _, err := a.Expunge(box.ID, []imap.UID{imap.UID(n + 1)}); err != nil {
				t.Error(err)
			}
			slowest = max(slowest, time.Since(start))
		}
	}()
	root := t.TempDir()
	for i := range 6 {
		if i%2 == 0 {
			time.Sleep(50 * time.Millisecond)
		}
		before := inbox(t, a)
		dir := filepath.Join(root, fmt.Sprint(i%3))
		r := backupTo(t, st, dir)
		after := inbox(t, a)
		b, err := openCopy(t, dir).Account(a.id)
		if err != nil {
			t.Fatal(err)
		}
		got := inbox(t, b)
		if got.HighestModSeq < before.HighestModSeq || got.HighestModSeq > after.HighestModSeq || got.UIDNext < before.UIDNext {
			t.Errorf("run %d: %+v is not between %+v and %+v", i, got, before, after)
		}
		if got.Messages != 100 && got.Messages != 101 {
			t.Errorf("run %d: %d messages", i, got.Messages)
		}
		contents(t, b) // all bytes can be read
		t.Logf("run %d: %+v", i, r)
	}
	cancel()
	t.Logf("%d steps, the slowest %v", <-worked, slowest)
	sound(t, a)
}
