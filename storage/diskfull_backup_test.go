//go:build linux

package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// mailStore is a store with one account and mail of about so many kilobytes.
func mailStore(t *testing.T) (st *Store, a *Account, more func(n int)) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	info, err := st.CreateAccount("ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = st.Account(info.ID); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewSource(1))
	return st, a, func(n int) {
		for range n {
			appendTo(t, a, inbox(t, a).ID, fmt.Sprintf("Subject: x\r\n\r\n%s", hexText(noise(random.Int63(), 100<<10))))
		}
	}
}

// wholeCopy opens a restored folder, which must hold so many sound messages.
func wholeCopy(t *testing.T, dir string, want int) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	infos, err := st.Accounts()
	if err != nil || len(infos) != 1 {
		t.Fatal(infos, err)
	}
	a, err := st.Account(infos[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, a)
	box := inbox(t, a)
	read, err := readPowerBox(a, box)
	if err != nil || len(read) != want || box.UIDNext != imap.UID(want+1) {
		t.Errorf("%d messages of %d, next UID %d: %v", len(read), want, box.UIDNext, err)
	}
}

// TestBackupIntoAFullDisk: a backup that finds no room says so; the one before
// stays what can be restored, and the next with room is whole.
func TestBackupIntoAFullDisk(t *testing.T) {
	disk := smallDisk(t, 64)
	d := &fullDisk{t: t, dir: disk}
	st, _, more := mailStore(t)
	folder := filepath.Join(disk, "backup")
	ctx := context.Background()
	have, refused := 0, 0
	for round, octets := range []int64{0, 64 << 10, 300 << 10, 700 << 10, 1 << 20} {
		more(10)
		if d.leave(octets); round == 0 {
			if _, err := st.BackupTo(ctx, folder); !errors.Is(err, ErrDiskFull) {
				t.Fatalf("first backup: %v", err)
			}
		} else if _, err := st.BackupTo(ctx, folder); errors.Is(err, ErrDiskFull) {
			refused++
			to := filepath.Join(t.TempDir(), "old")
			if _, err := RestoreDir(ctx, folder, to, Options{Version: "test"}); err != nil {
				t.Fatalf("the backup before the one with %d bytes left: %v", octets, err)
			}
			wholeCopy(t, to, have)
		} else if err != nil {
			t.Fatalf("with %d bytes left: %v", octets, err)
		}
		d.leave(30 << 20)
		if _, err := st.BackupTo(ctx, folder); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		have = 10 * (round + 1)
		to := filepath.Join(t.TempDir(), "new")
		if _, err := RestoreDir(ctx, folder, to, Options{Version: "test"}); err != nil {
			t.Fatal(err)
		}
		wholeCopy(t, to, have)
	}
	if refused == 0 {
		t.Error("no later backup was refused")
	}
}

// TestRestoreIntoAFullDisk: a restore that finds no room says so, and the same
// command works when there is.
func TestRestoreIntoAFullDisk(t *testing.T) {
	disk := smallDisk(t, 200)
	d := &fullDisk{t: t, dir: disk}
	st, _, more := mailStore(t)
	more(30)
	folder := filepath.Join(t.TempDir(), "backup")
	ctx := context.Background()
	if _, err := st.BackupTo(ctx, folder); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(disk, "new")
	for _, octets := range []int64{0, 16 << 10, 200 << 10, 1 << 20, 3 << 20} {
		d.leave(octets)
		if _, err := RestoreDir(ctx, folder, to, Options{Version: "test"}); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("with %d bytes left: %v", octets, err)
		}
	}
	d.leave(190 << 20)
	if _, err := RestoreDir(ctx, folder, to, Options{Version: "test"}); err != nil {
		t.Fatalf("with room: %v", err)
	}
	wholeCopy(t, to, 30)
}
