package storage

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func TestMinFreeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m          MinFree
		size, want int64
	}{
		{MinFree{}, 1 << 40, 0}, {MinFree{Percent: 5}, 100 << 20, 5 << 20}, {MinFree{Percent: 5}, 1 << 40, 2 << 30},
		{MinFree{Bytes: 5 << 30}, 1 << 40, 5 << 30}, {MinFree{Bytes: 1 << 20, Percent: 0}, 0, 1 << 20},
	} {
		if got := c.m.Of(c.size); got != c.want {
			t.Errorf("%+v of %d: %d, want %d", c.m, c.size, got, c.want)
		}
	}
}

// openLow opens an account on a file system of 1 GB whose free space the test
// sets, with 100 MB to stay free.
func openLow(t *testing.T, free *atomic.Int64) (*Store, *Account) {
	t.Helper()
	dir := t.TempDir() + "/data"
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true, MinFree: MinFree{Bytes: 100 << 20}, hooks: &hooks{statFS: func(string) (FileSystem, error) {
		return FileSystem{Type: "ext4", Size: 1 << 30, Free: free.Load()}, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	a, err := st.Account(mustAccount(t, st, "anna").ID)
	if err != nil {
		t.Fatal(err)
	}
	return st, a
}

// lookAgain has the next request ask for the free space.
func (st *Store) lookAgain() {
	st.space.mu.Lock()
	defer st.space.mu.Unlock()
	st.space.looked = time.Time{}
	st.space.nothing = time.Time{}
}

func TestBelowMinFree(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(500 << 20)
	st, a := openLow(t, &free)
	box := inbox(t, a)
	for n := range 4 {
		appendTo(t, a, box.ID, message(n))
	}
	trash, err := a.MailboxByName("Trash")
	if err != nil {
		t.Fatal(err)
	}
	free.Store(50 << 20)
	if _, err := a.NewUpload(1000); err != nil {
		t.Errorf("within %v of the last look: %v", spaceLook, err)
	}
	st.lookAgain()
	var low *SpaceError
	_, err = a.NewUpload(1000)
	if !errors.As(err, &low) || !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), "50 MB free, 100 MB") {
		t.Errorf("new mail: %v", err)
	}
	_, err = a.Copy(box.ID, []imap.UID{1}, trash.ID, false)
	wantErr(t, "copy", err, ErrDiskFull)
	_, err = a.CreateMailbox("more")
	wantErr(t, "create", err, ErrDiskFull)
	_, err = st.CreateAccount("bert", nil)
	wantErr(t, "account", err, ErrDiskFull)

	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{1, 2}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
		t.Errorf("flags: %v", err)
	}
	if _, err := a.Copy(box.ID, []imap.UID{3}, trash.ID, true); err != nil {
		t.Errorf("move: %v", err)
	}
	if _, err := a.Expunge(box.ID, nil); err != nil {
		t.Errorf("expunge: %v", err)
	}
	if err := a.DeleteMailbox("Archive"); err != nil {
		t.Errorf("delete: %v", err)
	}
	free.Store(500 << 20)
	st.lookAgain()
	appendTo(t, a, box.ID, message(9))
	sound(t, a)
}

// Kept mail goes before new mail is refused: its pages take the new one.
func TestKeptMailGivesWay(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(500 << 20)
	st, a := openLow(t, &free)
	box := inbox(t, a)
	big := "Subject: big\r\n\r\n" + string(hexText(noise(5, 600<<10)))
	uid := appendTo(t, a, box.ID, big)
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Expunge(box.ID, nil); err != nil {
		t.Fatal(err)
	}
	before, err := a.KeptCount()
	if err != nil || before.Messages != 1 {
		t.Fatalf("kept %+v, %v", before, err)
	}
	free.Store(0)
	st.lookAgain()
	appendTo(t, a, box.ID, "Subject: small\r\n\r\n"+string(hexText(noise(6, 20<<10))))
	after, err := a.KeptCount()
	if err != nil || after.Messages != 0 {
		t.Errorf("kept %+v, %v", after, err)
	}
	if _, err := a.NewUpload(10 << 20); !errors.Is(err, ErrDiskFull) {
		t.Errorf("more than was freed: %v", err)
	}
	sound(t, a)
}

// hexText makes text that compresses little.
func hexText(b []byte) []byte {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	text := make([]byte, 0, len(b)*2)
	for i, c := range b {
		text = append(text, digits[c>>4], digits[16+c&15])
		if i%32 == 31 {
			text = append(text, "\r\n"...)
		}
	}
	return text
}
