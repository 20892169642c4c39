package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// newSystem opens a fresh data folder; its Check must be clean at the end.
func newSystem(t *testing.T) *Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	return openTestSystem(t, dir)
}

func openTestSystem(t *testing.T, dir string) *Store {
	t.Helper()
	st, err := Open(dir, Options{NoSync: true, Version: "1.2-test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if findings, err := st.Check(); !errors.Is(err, ErrClosed) && (err != nil || len(findings) > 0) {
			t.Errorf("Check: %q, %v", findings, err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return st
}

func mustAccount(t *testing.T, st *Store, name string) AccountInfo {
	t.Helper()
	info, err := st.CreateAccount(name, []byte("verifier of "+name))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func TestInitAndOpen(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "data")
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNoStore) {
		t.Errorf("Open of nothing: %v, want ErrNoStore", err)
	}
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "second Init", Init(dir), ErrStoreExists)
	for _, name := range []string{idFile, systemFile, lockFile} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, fi.Mode())
		}
	}
	st := openTestSystem(t, dir)
	if got := st.MaxMessage(); got != defaultMaxMessage {
		t.Errorf("MaxMessage = %d", got)
	}
}

// An Init that was interrupted before nestbox.id can be repeated and keeps
// the id of the system.db that is there.
func TestInitRepeated(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	id, err := readStoreID(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, idFile)); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	again, err := readStoreID(dir)
	if err != nil || again != id {
		t.Errorf("id after second Init = %q, %v; want %q", again, err, id)
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	_, err := Open(st.Dir(), Options{})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Version != "1.2-test" || locked.Dir != st.Dir() {
		t.Fatalf("second Open: %#v (%v), want a LockedError with this process", locked, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(st.Dir(), Options{NoSync: true})
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := again.Accounts(); !errors.Is(err, ErrClosed) {
		t.Errorf("Accounts after Close: %v, want ErrClosed", err)
	}
	if _, err := again.Account("x"); !errors.Is(err, ErrClosed) {
		t.Errorf("Account after Close: %v, want ErrClosed", err)
	}
	if _, err := again.CreateAccount("late", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("CreateAccount after Close: %v, want ErrClosed", err)
	}
}

func TestOneAccountValue(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	info := mustAccount(t, st, "anna")
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := st.Account(info.ID)
	if err != nil || a != b {
		t.Errorf("second Account: %p, %v; want %p", b, err, a)
	}
	if _, err := st.Account("aaaaaaaaaaaaaaaa"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("unknown account: %v", err)
	}
}

func TestForeignAndNewerFiles(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	one, two := filepath.Join(base, "one"), filepath.Join(base, "two")
	for _, dir := range []string{one, two} {
		if err := Init(dir); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(one, systemFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(two, systemFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	var foreign *ForeignError
	if _, err := Open(two, Options{}); !errors.As(err, &foreign) {
		t.Errorf("Open with another folder's system.db: %v, want ForeignError", err)
	}

	db, err := bolt.Open(filepath.Join(one, systemFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return putSystem(tx, bucketMeta, []byte("min_reader"), []byte{9, 0}) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(one, systemFile))
	var format *FormatError
	if _, err := Open(one, Options{}); !errors.As(err, &format) || format.MinReader != 9 || format.Known != systemFormat {
		t.Errorf("Open of a newer format: %v, want FormatError", err)
	}
	if after, _ := os.ReadFile(filepath.Join(one, systemFile)); string(after) != string(before) {
		t.Error("a refused file was changed")
	}
}

func TestOtherByteOrder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, systemFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[16], b[17], b[18], b[19] = b[19], b[18], b[17], b[16]
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var order *ByteOrderError
	if _, err := Open(dir, Options{}); !errors.As(err, &order) {
		t.Errorf("Open: %v, want ByteOrderError", err)
	}
}

// A system.db that is gone or damaged is replaced by its checked copy.
func TestCopyTakesOver(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"short": func(path string) error { return os.Truncate(path, 5000) },
		"zeros": func(path string) error { return overwrite(path, 0, make([]byte, 3*4096)) },
		"noise": func(path string) error { return overwrite(path, 0, []byte(strings.Repeat("noise!!!", 2048))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := newSystem(t)
			info := mustAccount(t, st, "anna")
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(st.Dir(), systemFile)); err != nil {
				t.Fatal(err)
			}
			again := openTestSystem(t, st.Dir())
			got, err := again.FindAccount("Anna")
			if err != nil || got.ID != info.ID {
				t.Errorf("FindAccount = %v, %v", got, err)
			}
			if name != "gone" {
				if aside, _ := filepath.Glob(filepath.Join(st.Dir(), systemFile+".damaged-*")); len(aside) != 1 {
					t.Errorf("damaged files kept: %q, want one", aside)
				}
			}
		})
	}
}

func overwrite(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// Without a copy that is sound, the first error is what the caller gets.
func TestCopyNotThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, systemFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v, want ErrNotExist", err)
	}
	if _, err := os.Stat(filepath.Join(dir, systemFile)); err == nil {
		t.Error("Open made an empty system.db")
	}
}

// A value whose bytes changed on the disk is never served.
func TestDamagedValue(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	info := mustAccount(t, st, "anna")
	bad := sealSystem(credentialKey(info.ID, KindPassword), []byte("verifier"))
	bad[len(bad)-1] ^= 1
	if err := st.sys.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketCredentials).Put(credentialKey(info.ID, KindPassword), bad)
	}); err != nil {
		t.Fatal(err)
	}
	if c, err := st.Credential(info.ID); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Credential = %q, %v; want ErrCorrupt", c, err)
	}
	if findings, err := st.Check(); err != nil || len(findings) != 1 {
		t.Errorf("Check = %q, %v; want one finding", findings, err)
	}
	if err := st.copySystem(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("copySystem: %v, want ErrCorrupt", err)
	}
	if err := st.SetCredential(info.ID, []byte("new")); err != nil {
		t.Fatal(err)
	}
}

func TestCopyFollows(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	mustAccount(t, st, "anna")
	counter := func(path string) (n uint64) {
		t.Helper()
		db, err := openSystem(path, st.id, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.View(func(tx *bolt.Tx) error { n, err = systemCounter(tx); return err }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	first, second := counter(filepath.Join(st.Dir(), systemFile)), counter(filepath.Join(st.Dir(), systemCopyFile))
	if first == 0 || first != second {
		t.Errorf("counters: %d and %d, want the same", first, second)
	}
	if temps, _ := filepath.Glob(filepath.Join(st.Dir(), "*.new")); len(temps) > 0 {
		t.Errorf("left behind: %q", temps)
	}
}
