package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// damageOnly are the errors that a damaged or missing file may give. Anything
// else would be answered as a fault of the program.
func damageOnly(err error) bool {
	if err == nil || looksEmpty(err) {
		return true
	}
	for _, ok := range []error{ErrUnavailable, ErrCorrupt, ErrClosed, ErrReadOnly} {
		if errors.Is(err, ok) {
			return true
		}
	}
	return false
}

// looksEmpty: pages of zeros look empty.
func looksEmpty(err error) bool {
	for _, ok := range []error{ErrNoMailbox, ErrNoMessage, ErrNoAccount, ErrMailboxExists} {
		if errors.Is(err, ok) {
			return true
		}
	}
	return false
}

// A file of an open account is cut off, at each kind of place, in each phase:
// commands fail, and nothing else. No request hangs, the process lives, the
// other account works, and the store can be closed.
func TestFileIsCutOffUnderTheServer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mail.db", "body-0001.db", "search.db", "flags.journal", systemFile} {
		for _, keep := range []string{"nothing", "a page", "half", "all but a page"} {
			for _, phase := range []string{"idle", "an upload", "a reader"} {
				t.Run(fmt.Sprintf("%s, %s left, with %s", name, keep, phase), func(t *testing.T) {
					t.Parallel()
					cutUnder(t, name, keep, phase)
				})
			}
		}
	}
}

func cutUnder(t *testing.T, name, keep, phase string) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true, hooks: &hooks{volume: 8 << 20, firstBodies: 128 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(mustAccount(t, st, "anna").ID)
	if err != nil {
		t.Fatal(err)
	}
	other, err := st.Account(mustAccount(t, st, "bert").ID)
	if err != nil {
		t.Fatal(err)
	}
	box := inbox(t, a)
	for n := range 2 * signatureBlobs / 8 {
		appendTo(t, a, box.ID, fmt.Sprintf("Subject: %d\r\n\r\n%s", n, hexText(noise(int64(n), 4<<10))))
	}
	if err := a.index.use(mustFiles(t, a), func(*boltFile) error { return nil }); err != nil {
		t.Fatal(err)
	}
	flag := func(uid imap.UID) error {
		_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
		return err
	}
	if err := flag(1); err != nil {
		t.Fatal(err)
	}
	st.copies.mu.Lock()
	st.copies.pending = true
	st.copies.flush()
	st.copies.mu.Unlock()

	var up *Upload
	var blob *Blob
	switch phase {
	case "an upload":
		if up, err = a.NewUpload(-1); err == nil {
			_, err = up.Write(noise(1, 2*stagedMax))
		}
	case "a reader":
		uids, uerr := a.UIDs(box.Space, 1, 2, make([]imap.UID, 0, 2))
		rows, rerr := a.Rows(box.Space, uids, nil)
		if err = errors.Join(uerr, rerr); err == nil {
			blob, err = a.OpenBlob(rows[0].Blob)
		}
	}
	if err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(a.dir, name)
	if name == systemFile {
		path = filepath.Join(dir, name)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	size := map[string]int64{"nothing": 0, "a page": 4096, "half": info.Size() / 2, "all but a page": info.Size() - 4096}[keep]
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}

	soon(t, "work on the cut file", func() {
		for round := range 3 {
			for what, err := range workOn(st, a, box, flag, up, blob, round) {
				if !damageOnly(err) {
					t.Errorf("round %d, %s: %v", round, what, err)
				}
			}
		}
	})
	soon(t, "the other account", func() {
		var err error
		for range 3 { // system.db is opened again, or its copy, by who comes next
			if _, err = other.CreateMailbox("new"); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("the other account: %v", err)
			return
		}
		appendTo(t, other, inbox(t, other).ID, message(1))
		sound(t, other)
	})
	soon(t, "Close", func() {
		if err := st.Close(); err != nil && !damageOnly(err) {
			t.Errorf("Close: %v", err)
		}
	})
}

func mustFiles(t *testing.T, a *Account) *files {
	t.Helper()
	f, err := a.acquire()
	if err != nil {
		t.Fatal(err)
	}
	f.release()
	return f
}

// workOn does one thing of each kind and says how it went.
func workOn(st *Store, a *Account, box Mailbox, flag func(imap.UID) error, up *Upload, blob *Blob, round int) map[string]error {
	did := map[string]error{}
	did["flags"] = flag(imap.UID(round + 2))
	_, err := a.CreateMailbox(fmt.Sprintf("box %d", round))
	did["create"] = err
	_, _, err = a.Snapshot(box.ID)
	did["snapshot"] = err
	uids, err := a.UIDs(box.Space, 1, 1000, make([]imap.UID, 0, 1000))
	did["uids"] = err
	rows, err := a.Rows(box.Space, uids[:min(len(uids), 200)], nil)
	did["rows"] = err
	for _, r := range rows {
		b, err := a.OpenBlob(r.Blob)
		if err == nil {
			_, err = b.WriteRange(io.Discard, 0, b.Size())
			err = errors.Join(err, b.Close())
		}
		did["read "+fmt.Sprint(r.UID)] = err
	}
	if blob != nil {
		_, err := blob.WriteRange(io.Discard, 0, blob.Size())
		did["open reader"] = err
		if round == 2 {
			did["close reader"] = blob.Close()
		}
	}
	if up != nil {
		_, err := up.Write(noise(2, 2*stagedMax))
		did["open upload"] = err
		if round == 2 {
			up.Abort()
		}
	}
	if u, err := a.NewUpload(-1); err == nil {
		_, err = io.WriteString(u, "Subject: new\r\n\r\n"+string(hexText(noise(9, 100<<10))))
		if err == nil {
			err = u.Close()
		}
		if err == nil {
			_, err = a.Append(box.ID, []NewMessage{{Upload: u}})
		}
		u.Abort()
		did["append"] = err
	} else {
		did["upload"] = err
	}
	_, err = a.Candidates([]BlobID{1, 2}, "needle")
	did["search"] = err
	_, err = a.Copy(box.ID, []imap.UID{1, 2}, box.ID, false)
	did["copy"] = err
	_, err = a.Expunge(box.ID, nil)
	did["expunge"] = err
	did["fold"] = a.fold()
	_, err = a.quietStep()
	did["quiet work"] = err
	a.trimAll()
	_, err = st.Accounts()
	did["accounts"] = err
	did["setting"] = st.SetSetting("box_name", strings.Repeat("x", round+1))
	st.copies.mu.Lock()
	st.copies.pending = true
	st.copies.flush()
	st.copies.mu.Unlock()
	return did
}

// A disk that fails in the middle of a commit is a failed command. The file is
// read again from the disk before the next one, without a restart.
func TestWriteErrorOfTheDisk(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	st, a := openHooks(t, hooks{opened: func(path string, db *bolt.DB) {
		if filepath.Base(path) == "mail.db" {
			failWritesWith(db, &broken, syscall.EIO)
		}
	}})
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	before := mustFiles(t, a)
	broken.Store(true)
	_, err := a.CreateMailbox("lost")
	wantErr(t, "write error", err, ErrUnavailable)
	broken.Store(false)
	soon(t, "going on", func() {
		if _, err := a.CreateMailbox("found"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	if mustFiles(t, a) == before {
		t.Error("the files were not opened anew")
	}
	appendTo(t, a, box.ID, message(2))
	if _, err := a.MailboxByName("lost"); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("the refused mailbox: %v", err)
	}
	if _, err := st.Accounts(); err != nil {
		t.Error(err)
	}
	sound(t, a)
}
