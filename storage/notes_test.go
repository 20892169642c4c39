package storage

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// restAndReopen closes an account's files as a minute of rest does, and lets
// change work on them.
func restAndReopen(t *testing.T, a *Account, change func(dir string)) {
	t.Helper()
	(&blobScene{t: t, a: a}).reopen(change)
}

func systemCommits(t *testing.T, st *Store) (n uint64) {
	t.Helper()
	if err := st.view(func(tx *bolt.Tx) (err error) {
		n, err = systemCounter(tx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// A mail.db that was put back from an older copy: clients must forget what
// they know, and nothing is given out twice.
func TestRolledBackIndexIsRenewed(t *testing.T) {
	t.Parallel()
	st, a := openTest(t)
	var log bytes.Buffer
	st.log = slog.New(slog.NewTextHandler(&log, nil))
	appendTo(t, a, inbox(t, a).ID, message(1))
	restAndReopen(t, a, func(dir string) { putFile(t, filepath.Join(dir, "old"), filepath.Join(dir, "mail.db")) })
	for i := range 5 {
		appendTo(t, a, inbox(t, a).ID, message(10+i))
	}
	if _, err := a.CreateMailbox("made later"); err != nil {
		t.Fatal(err)
	}
	before := inbox(t, a)
	old, highest := validities(t, a)
	commits := systemCommits(t, st)
	restAndReopen(t, a, func(dir string) { putFile(t, filepath.Join(dir, "mail.db"), filepath.Join(dir, "old")) })
	now, _ := validities(t, a)
	if len(now) != len(old)-1 {
		t.Errorf("%d mailboxes, %d before", len(now), len(old))
	}
	for name, v := range now {
		if v <= highest {
			t.Errorf("%s: UIDVALIDITY %d, given out were up to %d", name, v, highest)
		}
	}
	after := inbox(t, a)
	if after.Messages != 1 || after.HighestModSeq <= before.HighestModSeq || after.ID == before.ID {
		t.Errorf("%+v, was %+v", after, before)
	}
	if !strings.Contains(log.String(), "account_rolled_back") {
		t.Error("the log says nothing")
	}
	if got := systemCommits(t, st); got != commits {
		t.Errorf("closing and opening cost %d commits of system.db", got-commits)
	}
	notes, err := st.Notes()
	if err != nil || notes[a.id].RolledBack.IsZero() || notes[a.id].ModSeq < after.HighestModSeq {
		t.Error(notes, err)
	}
	sound(t, a)
	// Ids go on above those of the lost time.
	var next BlobID
	if err := a.exec(func(f *files) error { next = f.blobs.next; return nil }); err != nil || next < 6 {
		t.Errorf("the next blob is %d: %v", next+1, err)
	}
	// Once is enough.
	restAndReopen(t, a, func(string) {})
	if again, _ := validities(t, a); again["INBOX"] != now["INBOX"] {
		t.Error("renewed twice")
	}
}

// Flags in the journal count: without it the account is older than noted.
func TestLostJournalIsARollback(t *testing.T) {
	t.Parallel()
	st, a := openTest(t)
	for i := range 3 {
		appendTo(t, a, inbox(t, a).ID, message(i))
	}
	if _, err := a.StoreFlags(inbox(t, a).ID, StoreRequest{UIDs: []imap.UID{1, 3}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	if err := st.noteAccounts(); err != nil {
		t.Fatal(err)
	}
	before := inbox(t, a)
	dir, id := st.dir, a.id
	path := filepath.Join(a.dir, "flags.journal")
	st.Close()
	putFile(t, path, filepath.Join(dir, "nestbox.id")) // no record in it
	st, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if a, err = st.Account(id); err != nil {
		t.Fatal(err)
	}
	after := inbox(t, a)
	if after.UIDValidity <= before.UIDValidity || after.HighestModSeq <= before.HighestModSeq || after.Unseen != 3 {
		t.Errorf("%+v, was %+v", after, before)
	}
	sound(t, a)
}

// Notes of all accounts are one commit, and none when nothing changed.
func TestNotesAreBatched(t *testing.T) {
	t.Parallel()
	st, a := openTest(t)
	info, err := st.CreateAccount("bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*Account{a, b} {
		appendTo(t, a, inbox(t, a).ID, message(1))
	}
	restAndReopen(t, b, func(string) {})
	commits := systemCommits(t, st)
	for range 3 {
		if err := st.noteAccounts(); err != nil {
			t.Fatal(err)
		}
	}
	if got := systemCommits(t, st); got != commits+1 {
		t.Errorf("%d commits, not one", got-commits)
	}
	notes, err := st.Notes()
	if err != nil || len(notes) != 2 || notes[a.id].ModSeq != inbox(t, a).HighestModSeq || notes[b.id].Blob != 1 {
		t.Error(notes, err)
	}
	if err := st.DeleteAccount("bob"); err != nil {
		t.Fatal(err)
	}
	if notes, err := st.Notes(); err != nil || len(notes) != 1 {
		t.Error("the note of a deleted account stays", notes, err)
	}
	if found, err := st.Check(); err != nil || len(found) > 0 {
		t.Error(found, err)
	}
}

// system.db from an older copy says too little of how far the account is:
// that is no rollback.
func TestOlderSystemIsNoRollback(t *testing.T) {
	t.Parallel()
	st, a := openTest(t)
	dir, id := st.dir, a.id
	appendTo(t, a, inbox(t, a).ID, message(1))
	reopen := func() {
		t.Helper()
		st.Close()
		var err error
		if st, err = Open(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		if a, err = st.Account(id); err != nil {
			t.Fatal(err)
		}
	}
	reopen()
	st.Close()
	path := filepath.Join(dir, systemFile)
	putFile(t, path+".old", path)
	reopen()
	appendTo(t, a, inbox(t, a).ID, message(2))
	before := inbox(t, a)
	st.Close()
	putFile(t, path, path+".old")
	reopen()
	defer func() { st.Close() }()
	if after := inbox(t, a); after.UIDValidity != before.UIDValidity || after.Messages != 2 {
		t.Errorf("%+v, was %+v", after, before)
	}
	sound(t, a)
}
