//go:build linux

package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A fullDisk is a store on a small disk, what it acknowledged, and a file that
// takes the rest of the room.
type fullDisk struct {
	t      *testing.T
	dir    string
	st     *Store
	a      *Account
	random *rand.Rand
	boxes  map[string]map[imap.UID]string // mailbox -> UID -> message
	flags  map[string]map[imap.UID]bool   // \Seen
	refuse map[string]int
}

// leave fills the disk but for so many bytes.
func (d *fullDisk) leave(octets int64) {
	d.t.Helper()
	for try := 0; ; try++ {
		err := d.tryLeave(octets)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.ENOSPC) || try == 100 { // the account's quiet work took some meanwhile
			d.t.Fatal(err)
		}
	}
}

func (d *fullDisk) tryLeave(octets int64) error {
	d.t.Helper()
	filler := filepath.Join(d.dir, "filler")
	s, err := statFS(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	f, err := os.OpenFile(filler, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	size := max(0, info.Size()+s.Free-octets)
	if size <= info.Size() {
		err = f.Truncate(size)
	} else {
		err = syscall.Fallocate(int(f.Fd()), 0, info.Size(), size-info.Size())
	}
	return err
}

// do runs a step that may be refused for want of room, and nothing else.
func (d *fullDisk) do(what string, err error) (done bool) {
	d.t.Helper()
	switch {
	case err == nil:
		return true
	case !errors.Is(err, ErrDiskFull):
		d.t.Errorf("%s: %v", what, err)
	}
	d.refuse[what]++
	return false
}

func (d *fullDisk) box(name string) Mailbox {
	d.t.Helper()
	m, err := d.a.MailboxByName(name)
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

func (d *fullDisk) some(name string) (uids []imap.UID) {
	for uid := range d.boxes[name] {
		if uids = append(uids, uid); len(uids) == 3 {
			break
		}
	}
	return sorted(uids)
}

func sorted(uids []imap.UID) []imap.UID {
	for i := range uids {
		for k := i; k > 0 && uids[k] < uids[k-1]; k-- {
			uids[k], uids[k-1] = uids[k-1], uids[k]
		}
	}
	return uids
}

func (d *fullDisk) append(what string, octets int) {
	text := fmt.Sprintf("Subject: %s %d\r\n\r\n%s", what, d.random.Int63(), hexText(noise(d.random.Int63(), octets/2)))
	u, err := d.a.NewUpload(int64(len(text)))
	if err == nil {
		if _, err = io.WriteString(u, text); err == nil {
			err = u.Close()
		}
		if err != nil {
			u.Abort()
		}
	}
	var res AppendResult
	if err == nil {
		res, err = d.a.Append(d.box("INBOX").ID, []NewMessage{{Upload: u}})
	}
	if d.do(what, err) {
		d.boxes["INBOX"][res.UIDs[0]] = text
	}
}

// step does one thing of each kind.
func (d *fullDisk) step() {
	d.append("small", 2000)
	d.append("big", 600<<10)
	uids := d.some("INBOX")
	_, err := d.a.StoreFlags(d.box("INBOX").ID, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
	if d.do("flags", err) {
		for _, uid := range uids {
			d.flags["INBOX"][uid] = true
		}
	}
	for _, move := range []bool{false, true} {
		what := map[bool]string{false: "copy", true: "move"}[move]
		uids := d.some("INBOX")
		res, err := d.a.Copy(d.box("INBOX").ID, uids, d.box("Archive").ID, move)
		if d.do(what, err) {
			for i, uid := range res.From {
				d.boxes["Archive"][res.To[i]] = d.boxes["INBOX"][uid]
				d.flags["Archive"][res.To[i]] = d.flags["INBOX"][uid]
				if move {
					delete(d.boxes["INBOX"], uid)
				}
			}
		}
	}
	name := fmt.Sprintf("box%d", d.random.Int63())
	_, err = d.a.CreateMailbox(name)
	if d.do("create", err) {
		d.do("delete", d.a.DeleteMailbox(name))
	}
	d.do("fold", d.a.fold())
	d.do("compact", d.a.Compact(d.t.Context(), true))
	d.do("sweep", d.a.sweepNow(d.t.Context()))
	d.do("setting", d.st.SetSetting("box_name", name))
	_, err = d.st.CreateAccount(name, []byte("x"))
	if d.do("account", err) {
		d.do("account deleted", d.st.DeleteAccount(name))
	}
	d.st.copies.mu.Lock()
	d.st.copies.pending = true
	d.st.copies.flush()
	d.st.copies.mu.Unlock()
	d.st.saveClock()
	_, err = d.a.index.step(func() bool { return true })
	d.do("signatures", err)
	uids = d.some("Archive")
	if len(uids) > 1 {
		_, err = d.a.StoreFlags(d.box("Archive").ID, StoreRequest{UIDs: uids[:1], Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
		if d.do("mark", err) {
			_, err = d.a.Expunge(d.box("Archive").ID, uids[:1])
			if d.do("expunge", err) {
				delete(d.boxes["Archive"], uids[0])
			}
		}
	}
}

// compare looks whether all that was acknowledged is there, and nothing else.
func (d *fullDisk) compare(when string) {
	d.t.Helper()
	for name, want := range d.boxes {
		m := d.box(name)
		uids, err := d.a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 5000))
		if err != nil {
			d.t.Fatalf("%s: %v", when, err)
		}
		if len(uids) != len(want) || int(m.Messages) != len(want) {
			d.t.Errorf("%s: %s has %d messages (row: %d), want %d", when, name, len(uids), m.Messages, len(want))
		}
		for i := 0; i < len(uids); i += 500 {
			rows, err := d.a.Rows(m.Space, uids[i:min(len(uids), i+500)], nil)
			if err != nil {
				d.t.Fatalf("%s: %v", when, err)
			}
			for _, r := range rows {
				if got := string(readBlob(d.t, d.a, r.Blob)); got != want[r.UID] {
					d.t.Errorf("%s: %s UID %d has other bytes (%d, want %d)", when, name, r.UID, len(got), len(want[r.UID]))
				}
				if d.flags[name][r.UID] && r.Flags&FlagSeen == 0 {
					d.t.Errorf("%s: %s UID %d lost its flag", when, name, r.UID)
				}
			}
		}
	}
	sound(d.t, d.a)
}

func (d *fullDisk) open() {
	d.t.Helper()
	var err error
	if d.st, err = Open(filepath.Join(d.dir, "data"), Options{}); err != nil {
		d.t.Fatal(err)
	}
	info, err := d.st.FindAccount("anna")
	if errors.Is(err, ErrNoAccount) {
		info = mustAccount(d.t, d.st, "anna")
	} else if err != nil {
		d.t.Fatal(err)
	}
	if d.a, err = d.st.Account(info.ID); err != nil {
		d.t.Fatal(err)
	}
}

// The disk gets full in the middle of everything: what was acknowledged stays,
// what was refused is not half there, and all goes on when there is room.
func TestDiskFullInEveryPhase(t *testing.T) {
	t.Parallel()
	d := &fullDisk{t: t, dir: smallDisk(t, 64), random: rand.New(rand.NewSource(7)), refuse: map[string]int{},
		boxes: map[string]map[imap.UID]string{"INBOX": {}, "Archive": {}}, flags: map[string]map[imap.UID]bool{"INBOX": {}, "Archive": {}}}
	if err := Init(filepath.Join(d.dir, "data")); err != nil {
		t.Fatal(err)
	}
	d.open()
	for range 3 {
		d.step()
	}
	if len(d.refuse) > 0 {
		t.Fatalf("refused with room: %v", d.refuse)
	}
	for round := range 24 {
		// From a few blocks to more than any step wants.
		d.leave(int64(d.random.Intn(4 << (10 + round%12))))
		for n := 0; round%3 == 0 && d.refuse["medium"] <= round/3 && n < 100; n++ {
			d.append("medium", 40<<10) // until the free pages inside the files are used up too
		}
		d.step()
		if round%6 == 5 {
			d.compare(fmt.Sprintf("round %d", round))
			if err := d.st.Close(); err != nil && !errors.Is(err, ErrDiskFull) {
				t.Errorf("Close: %v", err)
			}
			d.open() // with the disk as full as it is
			d.compare(fmt.Sprintf("round %d, opened again", round))
		}
	}
	if d.refuse["big"] == 0 || d.refuse["medium"] == 0 || d.refuse["account"] == 0 {
		t.Errorf("the disk was never full: %v", d.refuse)
	}
	t.Logf("refused for want of room: %v", d.refuse)
	d.leave(1 << 40)
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(d.refuse)
	d.step()
	if fmt.Sprint(d.refuse) != before {
		t.Errorf("refused with room again: %v, before %v", d.refuse, before)
	}
	d.compare("with room again")
	if findings, err := d.st.Check(); err != nil || len(findings) > 0 {
		t.Errorf("Check: %v, %v", findings, err)
	}
	if err := d.st.Close(); err != nil {
		t.Error(err)
	}
	d.open()
	d.compare("at the end")
	if b, err := os.ReadFile(filepath.Join(d.dir, "data", systemCopyFile)); err != nil || !bytes.Contains(b, []byte("anna")) {
		t.Errorf("the copy of system.db: %v", err)
	}
	if err := d.st.Close(); err != nil {
		t.Error(err)
	}
}

// TestCompactionWithoutRoom: the room that was there when a compaction began is
// gone in the middle. The old file stays, and nothing of the new one.
func TestCompactionWithoutRoom(t *testing.T) {
	t.Parallel()
	d := &fullDisk{t: t, dir: smallDisk(t, 48), random: rand.New(rand.NewSource(8)), refuse: map[string]int{},
		boxes: map[string]map[imap.UID]string{"INBOX": {}, "Archive": {}}, flags: map[string]map[imap.UID]bool{"INBOX": {}, "Archive": {}}}
	if err := Init(filepath.Join(d.dir, "data")); err != nil {
		t.Fatal(err)
	}
	d.open()
	for range 60 {
		d.append("some", 100<<10)
	}
	refused, done := 0, 0
	for left := int64(4 << 10); left <= 16<<20; left *= 2 {
		d.leave(left)
		f, err := d.a.acquire()
		if err != nil {
			t.Fatal(err)
		}
		w := compactWork{ctx: t.Context(), a: d.a, f: f, all: true}
		err = w.mailCompaction(0, 0).run() // without looking for room first
		f.release()
		if d.do("compaction", err) {
			done++
		} else {
			refused++
		}
		if files, _ := filepath.Glob(filepath.Join(d.a.dir, "*"+compactSuffix)); len(files) > 0 {
			t.Errorf("with %d octets left: %v", left, files)
		}
		d.compare(fmt.Sprintf("with %d octets left", left))
	}
	if refused < 4 || done == 0 {
		t.Errorf("%d compactions found no room, %d did", refused, done)
	}
	d.leave(1 << 20)
	d.st.space.mu.Lock()
	d.st.space.looked = time.Time{} // the background may have looked a moment ago
	d.st.space.mu.Unlock()
	if err := d.a.Compact(t.Context(), true); !errors.Is(err, ErrDiskFull) {
		t.Errorf("it doesn't look for room: %v", err)
	}
	if err := d.st.Close(); err != nil {
		t.Error(err)
	}
	d.open()
	d.compare("at the end")
	if err := d.st.Close(); err != nil {
		t.Error(err)
	}
}
