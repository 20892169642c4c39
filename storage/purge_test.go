package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// secretText is a message that can't be compressed, so that its bytes stand in
// the files as they came, with a mark every 500 octets.
func secretText(mark string, size int) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: ann@example.org\r\nSubject: %s in the subject\r\nMessage-ID: <%s@example.org>\r\n\r\n", mark, mark)
	r := rand.New(rand.NewSource(int64(size)))
	for b.Len() < size {
		noise := make([]byte, 500)
		for i := range noise {
			noise[i] = byte(' ' + r.Intn(95))
			if r.Intn(3) == 0 {
				noise[i] |= 0x80
			}
		}
		b.WriteString(mark)
		b.Write(noise)
	}
	return b.String()
}

// found lists the files of a folder that hold mark, and how often.
func found(t *testing.T, dir, mark string) (in []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if n := bytes.Count(b, []byte(mark)); n > 0 {
			in = append(in, fmt.Sprintf("%s (%d times)", filepath.Base(path), n))
		}
		return err
	}))
	return in
}

// TestPurgeErasesBytes greps the files of the account for what was purged:
// from the body volume of the first messages and from sealed ones, the
// records, and what was expunged before.
func TestPurgeErasesBytes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	must(t, Init(dir))
	st, err := Open(dir, Options{NoSync: true, hooks: &hooks{volume: 4 << 20, firstBodies: 1 << 20}})
	must(t, err)
	defer st.Close()
	info, err := st.CreateAccount("ann", nil)
	must(t, err)
	a := accountOf(t, st, info.ID)
	box := inbox(t, a)
	marks := []string{"PurgeMeFirst", "PurgeMeSecond", "PurgeMeThird", "PurgeMeFourth"}
	size := []int{3000, 200_000, 300_000, 1_500_000}
	for i, mark := range marks {
		appendTo(t, a, box.ID, secretText(mark, size[i]))
		for j := range 4 { // others around it, some in volumes of their own
			appendTo(t, a, box.ID, secretText(fmt.Sprintf("KeepMe%d-%d!", i, j), size[i]))
		}
	}
	expungeAll(t, a, box.ID, 6) // the second
	must(t, a.index.build(t))
	for _, mark := range marks {
		if len(found(t, a.dir, mark)) == 0 {
			t.Fatalf("%s is stored otherwise than this test thinks", mark)
		}
	}
	res := purge(t, a, Criteria{Subject: "PurgeMe"}, false)
	if res.Messages != 3 || res.Expunged != 1 || res.Reading != 0 || res.Shared != 0 {
		t.Errorf("purged %+v", res)
	}
	for _, mark := range append(marks, "PurgeMe", "purgeme") {
		if in := found(t, a.dir, mark); len(in) > 0 {
			t.Errorf("%s is still in %v", mark, in)
		}
	}
	sound(t, a)
	readAll(t, a, box.ID, 16)
	must(t, st.Close())
	st, err = Open(dir, Options{NoSync: true, hooks: &hooks{volume: 4 << 20, firstBodies: 1 << 20}})
	must(t, err)
	defer st.Close()
	a = accountOf(t, st, info.ID)
	sound(t, a)
	readAll(t, a, box.ID, 16)
}

// build makes the signatures of all blobs, complete blocks or not.
func (x *searchIndex) build(t *testing.T) error {
	t.Helper()
	_, err := x.step(func() bool { return true })
	return err
}

// readAll reads every message of a mailbox to its end.
func readAll(t *testing.T, a *Account, id MailboxID, want int) {
	t.Helper()
	_, rows := liveRows(t, a, id)
	if len(rows) != want {
		t.Errorf("%d messages, want %d", len(rows), want)
	}
	for _, r := range rows {
		b, err := a.OpenBlob(r.Blob)
		must(t, err)
		var all bytes.Buffer
		_, err = b.WriteRange(&all, 0, b.Size())
		must(t, errors.Join(err, b.Close()))
		if !bytes.Contains(all.Bytes(), []byte("KeepMe")) {
			t.Errorf("UID %d reads otherwise", r.UID)
		}
	}
}

// TestScrubUnderLoad: overwriting free pages while others read and write
// harms nothing of theirs.
func TestScrubUnderLoad(t *testing.T) {
	t.Parallel()
	_, a, _ := keptStore(t)
	box := inbox(t, a)
	for i := range 50 {
		appendTo(t, a, box.ID, secretText(fmt.Sprintf("KeepMe%d!", i), 20_000))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { // comes and goes
		for i := 0; ctx.Err() == nil; i++ {
			uid := appendTo(t, a, box.ID, secretText(fmt.Sprintf("PurgeMe%d!", i), 30_000))
			expungeAll(t, a, box.ID, uid)
			if i%5 == 4 {
				if _, err := a.Purge(context.Background(), Criteria{Expunged: true}, false); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 2 {
		all.Go(func() { // and reads
			for ctx.Err() == nil {
				_, rows := liveRows(t, a, box.ID)
				for _, r := range rows[:50] {
					b, err := a.OpenBlob(r.Blob)
					if err != nil {
						t.Error(err)
						return
					}
					var text bytes.Buffer
					if _, err := b.WriteRange(&text, 0, b.Size()); err != nil || !bytes.Contains(text.Bytes(), []byte("KeepMe")) {
						t.Errorf("UID %d: %v", r.UID, err)
					}
					_ = b.Close()
				}
			}
		})
	}
	time.Sleep(2 * time.Second)
	cancel()
	all.Wait()
	_, err := a.Purge(context.Background(), Criteria{Expunged: true}, false)
	must(t, err)
	if in := found(t, a.dir, "PurgeMe"); len(in) > 0 {
		t.Errorf("left in %v", in)
	}
}

// A message that is being read is purged all the same: its reader reads to the
// end, the purge says so, and the next one finds nothing.
func TestPurgeOfWhatIsRead(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, secretText("PurgeMe", 100_000))
	_, rows := liveRows(t, a, box.ID)
	b, err := a.OpenBlob(rows[0].Blob)
	must(t, err)
	res := purge(t, a, Criteria{UIDs: imap.UIDSetNum(1), Mailbox: "INBOX"}, false)
	if res.Messages != 1 || res.Reading != 1 || !res.Pending {
		t.Errorf("purged %+v", res)
	}
	var text bytes.Buffer
	_, err = b.WriteRange(&text, 0, b.Size())
	must(t, errors.Join(err, b.Close()))
	if text.Len() < 100_000 || bytes.Count(text.Bytes(), []byte("PurgeMe")) < 100 {
		t.Error("the reader got something else")
	}
	if marked, err := a.toScrub(); err != nil || len(marked) != 1 {
		t.Errorf("marked: %v %v", marked, err)
	}
	// The upkeep finishes it, also after a crash.
	dir := st.dir
	must(t, st.Close())
	st = openKept(t, dir, clock)
	a = accountOf(t, st, a.id)
	next, err := a.finishPurge(context.Background())
	if err != nil || !next.IsZero() {
		t.Errorf("due again %v, %v", next, err)
	}
	if marked, err := a.toScrub(); err != nil || len(marked) != 0 {
		t.Errorf("still marked: %v %v", marked, err)
	}
	if in := found(t, a.dir, "PurgeMe"); len(in) > 0 {
		t.Errorf("left in %v", in)
	}
}
