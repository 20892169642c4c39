package storage

import (
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func restoreTo(t *testing.T, from string) (*Store, RestoreReport) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "new")
	r, err := RestoreDir(t.Context(), from, to, Options{NoSync: true})
	if err != nil || len(r.Findings) > 0 {
		t.Fatal(err, r.Findings)
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
	return st, r
}

func TestRestoreDir(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 1 << 20, firstBodies: 128 << 10})
	random := rand.New(rand.NewSource(3))
	box := inbox(t, a)
	for i := range 30 {
		appendTo(t, a, box.ID, largeMessage(random, i, 40_000))
	}
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{5}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	backupTo(t, st, dir)
	want := contents(t, a)
	// After the backup: all of this is lost, and its numbers must not come again.
	appendTo(t, a, box.ID, message(999))
	if _, err := a.CreateMailbox("made later"); err != nil {
		t.Fatal(err)
	}
	_, highest := validities(t, a)
	old := inbox(t, a)

	restored, r := restoreTo(t, dir)
	if r.Accounts != 1 || r.Messages != 30 {
		t.Errorf("%+v", r)
	}
	b, err := restored.Account(a.id)
	if err != nil {
		t.Fatal(err)
	}
	sameContents(t, contents(t, b), want)
	now, _ := validities(t, b)
	for name, v := range now {
		if v <= highest {
			t.Errorf("%s: UIDVALIDITY %d is not above %d", name, v, highest)
		}
	}
	if m := inbox(t, b); m.HighestModSeq <= old.HighestModSeq {
		t.Errorf("HIGHESTMODSEQ %d was %d", m.HighestModSeq, old.HighestModSeq)
	}
	if restored.id == st.id {
		t.Error("the restored folder has the id of the old one")
	}
	sound(t, b)
	appendTo(t, b, inbox(t, b).ID, message(1000))
	if _, err := restored.BackupTo(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("a backup of the restored folder over the old one's: %v", err)
	}
	if _, err := RestoreDir(t.Context(), dir, restored.dir, Options{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a folder in use: %v", err)
	}
	if _, err := RestoreDir(t.Context(), st.dir, filepath.Join(t.TempDir(), "x"), Options{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("from a folder in use: %v", err)
	}
}

// A byte that changed in the backup is found, and named.
func TestRestoreDamaged(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 1 << 20, firstBodies: 128 << 10})
	random := rand.New(rand.NewSource(3))
	for i := range 30 {
		appendTo(t, a, inbox(t, a).ID, largeMessage(random, i, 40_000))
	}
	dir := filepath.Join(t.TempDir(), "backup")
	backupTo(t, st, dir)
	path := filepath.Join(dir, accountsFolder, string(a.id), "body-0001.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := RestoreDir(t.Context(), dir, filepath.Join(t.TempDir(), "new"), Options{NoSync: true})
	if err != nil || len(r.Findings) == 0 || !strings.Contains(r.Findings[0], "body-0001.db") {
		t.Errorf("%v, %+v", err, r)
	}
}
