package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// The test's formats: 2 gives each message row a checksum behind what it has,
// 50 rows a slice; 3 moves the mailbox names into a bucket with longer keys,
// one a slice. They are as wrong as can be when a slice is done twice.
var testMigrations = []migration{
	{to: 2, minReader: 2, slice: checksumRows},
	{to: 3, minReader: 2, slice: moveNames},
}

var bucketTestNames = []byte("names3")

func checksumRows(tx *bolt.Tx, at []byte) ([]byte, error) {
	rows := tx.Bucket(bucketRows)
	c := rows.Cursor()
	k, v := c.Seek(at)
	for range 50 {
		if k == nil {
			return nil, nil
		}
		key := bytes.Clone(k)
		if err := rows.Put(key, binary.LittleEndian.AppendUint32(bytes.Clone(v), crc32.ChecksumIEEE(v))); err != nil {
			return nil, err
		}
		c.Seek(key)
		k, v = c.Next()
	}
	return bytes.Clone(k), nil
}

func moveNames(tx *bolt.Tx, at []byte) ([]byte, error) {
	moved, err := tx.CreateBucketIfNotExists(bucketTestNames)
	if err != nil {
		return nil, err
	}
	names := tx.Bucket(bucketNames)
	k, v := names.Cursor().Seek(at)
	if k == nil {
		return nil, nil
	}
	if moved.Get(append([]byte("name:"), k...)) != nil {
		return nil, errors.New("a slice was done twice")
	}
	return append(bytes.Clone(k), 0), moved.Put(append([]byte("name:"), k...), v)
}

const migrateEnv = "NESTBOX_TEST_MIGRATE"

// TestMigrationWorker is the process that is killed: at the n-th point of the
// migration.
func TestMigrationWorker(t *testing.T) {
	arg := os.Getenv(migrateEnv)
	if arg == "" {
		t.Skip("run by TestMigrationIsKilled")
	}
	dir, n, _ := strings.Cut(arg, "|")
	left, err := strconv.Atoi(n)
	if err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{hooks: &hooks{migrations: testMigrations, step: func(string) {
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := st.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(all[0].ID)
	if err == nil {
		_, err = a.Mailboxes()
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("migrated")
	os.Exit(0) // as abruptly as the others
}

// migrationScene is an account with mail, flags, mailboxes, kept messages and
// a journal that was not folded.
func migrationScene(t *testing.T) (dir string, id AccountID, texts []string) {
	st, a := openTest(t)
	for i := range 230 {
		texts = append(texts, message(i))
		appendTo(t, a, inbox(t, a).ID, texts[i])
	}
	for i := range 5 {
		if _, err := a.CreateMailbox(fmt.Sprint("box ", i)); err != nil {
			t.Fatal(err)
		}
	}
	setFlag(t, a, "\\Deleted", 230)
	if _, err := a.Expunge(inbox(t, a).ID, nil); err != nil {
		t.Fatal(err)
	}
	setFlag(t, a, "\\Flagged", 3, 5, 8)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return st.dir, a.id, texts[:229]
}

// migrated checks an account of the test's format 3.
func migrated(t *testing.T, dir string, id AccountID, texts []string) {
	t.Helper()
	st, err := Open(dir, Options{hooks: &hooks{migrations: testMigrations}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	a, err := st.Account(id)
	if err != nil {
		t.Fatal(err)
	}
	m := inbox(t, a)
	for i, text := range texts {
		rows, err := a.Rows(m.Space, []imap.UID{imap.UID(i + 1)}, nil)
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		b, err := a.OpenBlob(rows[0].Blob)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if _, err := b.WriteRange(&got, 0, b.Size()); err != nil || got.String() != text {
			t.Fatalf("UID %d: %v", i+1, err)
		}
		b.Close()
	}
	if got := flagsOf(t, a, "\\Flagged"); fmt.Sprint(got) != "[3 5 8]" {
		t.Errorf("flagged: %v", got)
	}
	sound(t, a)
	if err := a.read(func(_ *files, tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if f, r := getUint16(meta, "format"), getUint16(meta, "min_reader"); f != 3 || r != 2 || meta.Get(keyMigrating) != nil {
			t.Errorf("format %d, min_reader %d, migrating %x", f, r, meta.Get(keyMigrating))
		}
		rows := 0
		_ = tx.Bucket(bucketRows).ForEach(func(k, v []byte) error {
			rows++
			old := v[:len(v)-4]
			if binary.LittleEndian.Uint32(v[len(old):]) != crc32.ChecksumIEEE(old) {
				t.Errorf("row %x has no checksum, or two", k)
			}
			return nil
		})
		names, moved := 0, 0
		_ = tx.Bucket(bucketNames).ForEach(func(_, _ []byte) error { names++; return nil })
		_ = tx.Bucket(bucketTestNames).ForEach(func(_, _ []byte) error { moved++; return nil })
		if rows != len(texts) || names != moved || names != 11 {
			t.Errorf("%d rows, %d names, %d moved", rows, names, moved)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A migration that is killed at each of its points goes on where it was, and
// what there was before is kept, octet for octet.
func TestMigrationIsKilled(t *testing.T) {
	t.Parallel()
	dir, id, texts := migrationScene(t)
	path := filepath.Join(dir, accountsFolder, string(id), "mail.db")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kills, refused := 0, 0
	for n := 1; ; n++ {
		// The copy begins anew each time, so that it must get a point further;
		// from then on it is the next slice. Short: every third.
		point := n
		if refused > 0 {
			point = 1
			if testing.Short() {
				point = 3
			}
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestMigrationWorker$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", migrateEnv, dir, point))
		out, err := cmd.CombinedOutput()
		if bytes.Contains(out, []byte("migrated")) {
			break
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%v\n%s", err, out)
		}
		if kills++; kills > 200 {
			t.Fatal("the migration doesn't get on")
		}
		// A nestbox of before refuses the file as soon as a slice is done.
		min, err := minReaderOf(path)
		if err != nil {
			t.Fatal(err)
		}
		if min > 1 {
			var format *FormatError
			if _, err := Open(dir, Options{}); !errors.As(err, &format) || format.File != path || format.Known != 1 {
				t.Fatalf("an older nestbox opens a half migrated account: %v", err)
			}
			refused++
		} else if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
			t.Fatal("mail.db was changed before its copy was complete", err)
		}
	}
	t.Logf("killed %d times, %d of them half migrated", kills, refused)
	if kills < 6 || refused < 4 {
		t.Error("too few")
	}
	if kept, err := os.ReadFile(oldFormatPath(path, 1)); err != nil || !bytes.Equal(kept, before) {
		t.Error("the old mail.db is not there as it was", err)
	}
	migrated(t, dir, id, texts)
	// Back to the older nestbox, with the file that was kept.
	putFile(t, path, oldFormatPath(path, 1))
	st, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	a, err := st.Account(id)
	if err != nil {
		t.Fatal(err)
	}
	if m := inbox(t, a); int(m.Messages) != len(texts) {
		t.Errorf("%+v", m)
	}
	sound(t, a)
}

// Old files are kept for a month of a clock that is right.
func TestOldFormatIsDropped(t *testing.T) {
	t.Parallel()
	dir, id, texts := migrationScene(t)
	migrated(t, dir, id, texts)
	st, err := Open(dir, Options{hooks: &hooks{migrations: testMigrations}})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	st.clock.built = st.now().AddDate(-1, 0, 0)
	kept := oldFormatPath(filepath.Join(st.accountDir(id), "mail.db"), 1)
	for _, c := range []struct {
		age     time.Duration
		trusted bool
		stays   bool
	}{
		{keepOldFormat + time.Hour, false, true},
		{keepOldFormat - time.Hour, true, true},
		{50 * 365 * 24 * time.Hour, true, true}, // made in 1970
		{keepOldFormat - time.Hour, true, true},
		{keepOldFormat + time.Hour, true, false},
	} {
		st.clock.proof = ""
		if c.trusted {
			st.clock.proof = clockSynchronised
		}
		when := st.now().Add(-c.age)
		if err := os.Chtimes(kept, when, when); err != nil {
			t.Fatal(err)
		}
		if err := st.dropOldFormats(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(kept); (err == nil) != c.stays {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A disk that is full in the middle: the account answers so, and the migration
// goes on when there is room.
func TestMigrationOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir, id, texts := migrationScene(t)
	// Too little room to begin with: nothing is done.
	path := filepath.Join(dir, accountsFolder, string(id), "mail.db")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{hooks: &hooks{migrations: testMigrations, statFS: func(string) (FileSystem, error) {
		return FileSystem{Size: 1 << 40, Free: 3 << 20}, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Mailboxes(); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "3 MB are free") {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
		t.Error("mail.db was changed", err)
	}
	left := 3
	full := []migration{testMigrations[0], testMigrations[1]}
	full[0].slice = func(tx *bolt.Tx, at []byte) ([]byte, error) {
		if left--; left < 0 {
			return nil, &os.PathError{Op: "write", Path: "mail.db", Err: syscall.ENOSPC}
		}
		return checksumRows(tx, at)
	}
	if st, err = Open(dir, Options{hooks: &hooks{migrations: full}}); err != nil {
		t.Fatal(err)
	}
	if a, err = st.Account(id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := a.Mailboxes(); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "mail.db.format1") {
			t.Error(err)
		}
	}
	left = 1
	if _, err := a.Mailboxes(); !errors.Is(err, ErrDiskFull) {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	migrated(t, dir, id, texts)
}
