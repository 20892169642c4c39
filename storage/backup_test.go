package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
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
		uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, m.Messages+1))
		if err != nil || len(uids) != int(m.Messages) {
			t.Fatalf("%s has %d messages, %d UIDs: %v", m.Name, m.Messages, len(uids), err)
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

// A run that ends at any part leaves the former backup as it was.
func TestBackupInterrupted(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 1 << 20, firstBodies: 128 << 10})
	random := rand.New(rand.NewSource(7))
	for i := range 40 {
		appendTo(t, a, inbox(t, a).ID, largeMessage(random, i, 40_000))
	}
	dir := filepath.Join(t.TempDir(), "backup")
	stopAt := func(n int) (parts int, err error) {
		b, err := OpenBackupDir(t.Context(), dir, st.dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(st.id); err != nil {
			t.Fatal(err)
		}
		err = st.Backup(t.Context(), b.Have(), func(p *BackupPart) error {
			if parts++; parts == n {
				return ErrDiskFull
			}
			return b.Take(p)
		})
		// As after a kill: nothing is tidied up.
		if b.cur != nil {
			if err := b.cur.closeFiles(); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.lock.Close(); err != nil {
			t.Fatal(err)
		}
		return parts, err
	}
	total, err := stopAt(-1)
	if err != nil {
		t.Fatal(err)
	}
	state := func() string {
		b, err := openCopy(t, dir).Account(a.id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(contents(t, b))
	}
	former := state()
	for i := range 12 {
		appendTo(t, a, inbox(t, a).ID, largeMessage(random, 1000+i, 40_000))
		if _, err := stopAt(1 + i*total/12); err == nil {
			former = state() // there were fewer parts: that one ended
			continue
		}
		if got := state(); got != former {
			t.Errorf("stopped at part %d of %d: the former backup is another", 1+i*total/12, total)
		}
	}
	backupTo(t, st, dir)
	if state() != fmt.Sprint(contents(t, a)) {
		t.Error("the backup after the interrupted ones is not the account")
	}
}

// A receiver that is slow holds up nobody, and gets a state of one moment.
func TestBackupToSlowDisk(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 4 << 20, firstBodies: 1 << 20})
	random := rand.New(rand.NewSource(8))
	box := inbox(t, a)
	for i := range 60 {
		appendTo(t, a, box.ID, largeMessage(random, i, 40_000))
	}
	ctx, cancel := context.WithCancel(t.Context())
	worked := make(chan time.Duration)
	go func() {
		var slowest time.Duration
		for i := 0; ctx.Err() == nil; i++ {
			start := time.Now()
			appendTo(t, a, box.ID, message(5000+i))
			slowest = max(slowest, time.Since(start))
			time.Sleep(2 * time.Millisecond)
		}
		worked <- slowest
	}()
	dir := filepath.Join(t.TempDir(), "backup")
	b, err := OpenBackupDir(t.Context(), dir, st.dir, false)
	if err == nil {
		err = b.Check(st.id)
	}
	if err != nil {
		t.Fatal(err)
	}
	stuck := 0
	err = st.Backup(t.Context(), b.Have(), func(p *BackupPart) error {
		if p.Kind == BackupData && stuck < 5 {
			stuck++
			time.Sleep(300 * time.Millisecond) // much longer than any pin
		}
		return b.Take(p)
	})
	cancel()
	slowest := <-worked
	if err = errors.Join(err, b.Close()); err != nil || len(b.Report().Findings) > 0 {
		t.Fatal(err, b.Report())
	}
	// The receiver was stuck for 1.5 s in all; with the machine busy an APPEND
	// may take some time, but not as long as that.
	if slowest > time.Second {
		t.Errorf("an APPEND took %v", slowest)
	}
	t.Logf("slowest APPEND %v", slowest)
	copied, err := openCopy(t, dir).Account(a.id)
	if err != nil {
		t.Fatal(err)
	}
	contents(t, copied)
}

// A volume that was opened to be read only is opened anew for the first who
// writes to it. That one waits for the backup's pins, and the backup for its
// turn between two commits: neither may wait for ever.
func TestBackupHoldsVolumeThatIsWrittenTo(t *testing.T) {
	st, a := openHooks(t, hooks{volume: 4 << 20, firstBodies: 1 << 10})
	random := rand.New(rand.NewSource(9))
	box := inbox(t, a)
	appendTo(t, a, box.ID, largeMessage(random, 1, 40_000))
	f, err := a.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer f.release()
	v, err := f.blobs.volumes.get(1)
	if err != nil {
		t.Fatal(err)
	}
	v.closeIdle()
	b := &accountBackup{ctx: t.Context(), a: a, f: f, sealed: map[uint16]uint64{}}
	if err := b.sealedVolumes(); err != nil {
		t.Fatal(err)
	}
	defer st.opts.maps().give(&b.lastMap)
	defer b.unpin()
	if err := b.roll(); err != nil {
		t.Fatal(err)
	}
	if b.last.now, err = b.last.pin.begin(); err != nil {
		t.Fatal(err)
	}
	if v.write {
		t.Fatal("the volume is open for writing")
	}
	appended := make(chan struct{})
	go func() {
		defer close(appended)
		appendTo(t, a, box.ID, largeMessage(random, 2, 40_000))
	}()
	for v.wanted.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	settled := make(chan error, 1)
	go func() { settled <- b.sealedVolumes() }()
	for _, done := range []func() bool{
		func() bool { _, open := <-appended; return !open },
		func() bool { err = <-settled; return err == nil },
	} {
		ended := make(chan bool, 1)
		go func() { ended <- done() }()
		select {
		case ok := <-ended:
			if !ok {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the backup and the writer wait for one another")
		}
	}
	if !v.write {
		t.Error("nobody wrote to the volume")
	}
}

// A backup that a server has used may hold mail that is nowhere else.
func TestBackupThatWasServed(t *testing.T) {
	st, a := openTest(t)
	appendTo(t, a, inbox(t, a).ID, message(1))
	dir := filepath.Join(t.TempDir(), "backup")
	backupTo(t, st, dir)
	open := func(add bool) {
		served, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.BackupTo(t.Context(), dir); err == nil {
			t.Error("a backup over a folder in use")
		}
		b, err := served.Account(a.id)
		if err != nil {
			t.Fatal(err)
		}
		if add {
			appendTo(t, b, inbox(t, b).ID, message(2))
		}
		sound(t, b)
		if err := served.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open(false)
	backupTo(t, st, dir)
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err == nil {
		t.Error("the lock file is still there")
	}
	open(true)
	if _, err := st.BackupTo(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "account ann") {
		t.Errorf("over mail that is only there: %v", err)
	}
}
