package storage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// eventually waits for what happens by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// A takenFolder is a data folder that can be taken away and put back.
type takenFolder struct {
	dir        string // where the store looks
	away, back func()
}

func renamedPlace(t *testing.T) takenFolder {
	top := t.TempDir()
	dir, elsewhere := filepath.Join(top, "data"), filepath.Join(top, "elsewhere")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	return takenFolder{dir,
		func() { must(os.Rename(dir, elsewhere)); must(os.Mkdir(dir, 0o700)) },
		func() { must(os.Remove(dir)); must(os.Rename(elsewhere, dir)) }}
}

// mountedPlace is a mount, as a stick is, for root.
func mountedPlace(t *testing.T) takenFolder {
	top := t.TempDir()
	stick, dir := filepath.Join(top, "stick"), filepath.Join(top, "data")
	for _, d := range []string{stick, dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Logf("%v: %s", args, out)
		}
		return err
	}
	if run("mount", "--bind", stick, dir) != nil {
		t.Skip("mounting is not allowed here")
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return takenFolder{dir,
		func() {
			if err := run("umount", "-l", dir); err != nil {
				t.Fatal(err)
			}
		},
		func() {
			if err := run("mount", "--bind", stick, dir); err != nil {
				t.Fatal(err)
			}
		}}
}

// A data folder that goes away is not served, nothing is written in its place,
// and it is served again when it is back.
func TestFolderGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) takenFolder{"renamed": renamedPlace, "unmounted": mountedPlace} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFolderAway(t, make(t))
		})
	}
}

func testFolderAway(t *testing.T, p takenFolder) {
	if err := Init(p.dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(p.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	a, err := st.Account(mustAccount(t, st, "anna").ID)
	if err != nil {
		t.Fatal(err)
	}
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	started, err := a.NewUpload(-1) // a client in the middle of a literal
	if err != nil {
		t.Fatal(err)
	}
	if _, err := started.Write(noise(1, 2*stagedMax)); err != nil {
		t.Fatal(err)
	}
	st.copies.changed() // a copy is due

	p.away()
	eventually(t, "the end of service", func() bool {
		_, err := a.Mailbox(box.ID)
		return errors.Is(err, ErrUnavailable)
	})
	for what, do := range map[string]func() error{
		"flags": func() error {
			_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{1}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
			return err
		},
		"create":         func() error { _, err := a.CreateMailbox("new"); return err },
		"account":        func() error { _, err := st.CreateAccount("bert", nil); return err },
		"accounts":       func() error { _, err := st.Accounts(); return err },
		"setting":        func() error { return st.SetSetting("box_name", "x") },
		"upload goes on": func() error { _, err := started.Write(noise(2, 2*stagedMax)); return err },
	} {
		if err := do(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s while the folder is away: %v", what, err)
		}
	}
	started.Abort()
	st.makeReserve()
	st.saveClock()
	st.copies.mu.Lock()
	st.copies.pending = true
	st.copies.flush()
	st.copies.mu.Unlock()
	if names, err := os.ReadDir(p.dir); err != nil || len(names) > 0 {
		t.Errorf("in the place of the folder: %v, %v", names, err)
	}
	// The folder can be used elsewhere: all files were let go.
	eventually(t, "letting go", func() bool {
		st.sysMu.RLock()
		defer st.sysMu.RUnlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		return st.sys == nil && st.lock == nil && a.f == nil
	})

	p.back()
	eventually(t, "the return", func() bool {
		_, err := a.Mailbox(box.ID)
		return err == nil
	})
	appendTo(t, a, box.ID, message(2))
	if m := inbox(t, a); m.Messages != 2 || m.UIDValidity != box.UIDValidity {
		t.Errorf("afterwards: %+v, before %+v", m, box)
	}
	mustAccount(t, st, "carl")
	sound(t, a)
}

// Another data folder in the place of the one that went away is left alone.
func TestAnotherFolderInItsPlace(t *testing.T) {
	t.Parallel()
	p := renamedPlace(t)
	if err := Init(p.dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(p.dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	info := mustAccount(t, st, "anna")
	p.away()
	if err := Init(p.dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of service", func() bool { return st.available() != nil })
	if err := st.reopen(); !errors.As(err, new(*ForeignError)) {
		t.Errorf("reopen: %v, want a ForeignError", err)
	}
	if _, err := st.CreateAccount("bert", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an account in another folder: %v", err)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.back()
	eventually(t, "the return", func() bool {
		_, err := st.AccountInfo(info.ID)
		return err == nil
	})
}

// The store can be closed while its folder is away.
func TestCloseWhileAway(t *testing.T) {
	t.Parallel()
	p := renamedPlace(t)
	if err := Init(p.dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(p.dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(mustAccount(t, st, "anna").ID)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, a, inbox(t, a).ID, message(1))
	p.away()
	eventually(t, "the end of service", func() bool { return st.available() != nil })
	if err := st.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if names, err := os.ReadDir(p.dir); err != nil || len(names) > 0 {
		t.Errorf("in the place of the folder: %v, %v", names, err)
	}
}
