//go:build linux

package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestMigrationFillsASmallDisk: a real disk that is full at any moment of a
// migration, because others fill it: the account is not served, no message is
// lost, and the migration goes on when there is room.
func TestMigrationFillsASmallDisk(t *testing.T) {
	t.Parallel()
	from, id, texts := migrationScene(t)
	info, err := os.Stat(filepath.Join(from, accountsFolder, string(id), "mail.db"))
	must(t, err)
	refused, done := 0, 0
	for left := int64(0); done < 2; left += 192 << 10 {
		if left > 4*info.Size()+4<<20 {
			t.Fatalf("mail.db of %d octets is not migrated with %d free", info.Size(), left)
		}
		d := &fullDisk{t: t, dir: smallDisk(t, 32)}
		dir := filepath.Join(d.dir, "data")
		must(t, os.CopyFS(dir, os.DirFS(from)))
		d.leave(left)
		// What the disk says of itself is of a moment before.
		st, err := Open(dir, Options{hooks: &hooks{migrations: testMigrations, statFS: func(string) (FileSystem, error) {
			return FileSystem{Size: 1 << 40, Free: 1 << 39}, nil
		}}})
		if err == nil {
			var a *Account
			if a, err = st.Account(id); err == nil {
				_, err = a.Mailboxes()
			}
			err = errors.Join(err, st.Close())
		}
		switch {
		case err == nil:
			done++
		case errors.Is(err, ErrDiskFull):
			refused++
		default:
			t.Errorf("with %d octets free: %v", left, err)
		}
		must(t, os.Remove(filepath.Join(d.dir, "filler")))
		migrated(t, dir, id, texts)
	}
	if refused < 3 {
		t.Errorf("the disk was full %d times", refused)
	}
	t.Logf("refused %d times", refused)
}
