package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/test/tap"
)

// searchWord is in the text of the message with that blob, and in no other.
func searchWord(id BlobID) string { return fmt.Sprintf("needle%dx", id) }

// searchMessage has such a word, and text enough for search.db to be worth a
// compaction.
func searchMessage(id BlobID) string {
	r := rand.New(rand.NewPCG(uint64(id), 1))
	var text strings.Builder
	for text.Len() < 6000 {
		fmt.Fprintf(&text, "%x\r\n", r.Uint64())
	}
	return fmt.Sprintf("Subject: %d\r\n\r\n%s %s\r\n", id, text.String(), searchWord(id))
}

// prepareSearch makes so many messages, the first with blob 1.
func prepareSearch(t *testing.T, dir string, n int) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	must(t, err)
	info, err := st.FindAccount("ann")
	must(t, err)
	a, err := st.Account(info.ID)
	must(t, err)
	box := inbox(t, a)
	for id := BlobID(1); id <= BlobID(n); {
		var msgs []NewMessage
		for ; len(msgs) < 200 && id <= BlobID(n); id++ {
			msgs = append(msgs, NewMessage{Upload: upload(t, a, searchMessage(id))})
		}
		_, err := a.Append(box.ID, msgs)
		must(t, err)
	}
	must(t, st.Close())
}

// search builds the index, erases most of the mail, compacts the index and goes
// on building it.
func (p powerTask) search(marks *os.File) error {
	st, err := Open(p.Dir, Options{Version: "test"})
	if err != nil {
		return err
	}
	defer st.Close()
	info, err := st.FindAccount("ann")
	if err != nil {
		return err
	}
	a, err := st.Account(info.ID)
	if err != nil {
		return err
	}
	box, err := a.MailboxByName("INBOX")
	if err != nil {
		return err
	}
	built := func() error {
		for more := true; more; {
			var err error
			if more, err = a.index.step(func() bool { return true }); err != nil {
				return err
			}
		}
		return nil
	}
	erase := func() error {
		var gone []imap.UID
		for uid := imap.UID(1); uid < box.UIDNext; uid++ {
			if uid%10 > 1 {
				gone = append(gone, uid)
			}
		}
		for part := range slices.Chunk(gone, 200) {
			if err := forgetNow(a, box, part); err != nil {
				return err
			}
		}
		return a.sweepNow(context.Background())
	}
	for _, step := range []func() error{built, erase, func() error { return a.Compact(context.Background(), true) }, built} {
		if _, err := fmt.Fprintln(marks, "begin 0"); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(marks, "done 0"); err != nil {
			return err
		}
	}
	return nil
}

// TestPowerLossSearch: the power is cut while search.db is built and compacted.
// Whatever is left of it, a search misses no message, and it is built to the
// end.
func TestPowerLossSearch(t *testing.T) {
	t.Parallel()
	if err := tap.Supported(); err != nil {
		t.Skip(err)
	}
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	root := newPowerFolder(t)
	prepareSearch(t, root, 3*signatureBlobs)
	disk, err := tap.NewDisk(root)
	must(t, err)
	r := &powerRecord{disk: disk, begun: []int{0}, done: []int{0}}
	r.record(t, root, powerTask{Work: "search", Dir: root, Marks: filepath.Join(t.TempDir(), "marks"), Seed: seed})
	r.first = slices.IndexFunc(r.events, func(e tap.Event) bool { return e.Op == tap.Mark })
	in, compacted := 0, 0
	for _, e := range r.events {
		if strings.HasPrefix(filepath.Base(e.Path), "search.db") {
			in++
			if e.Op == tap.Rename && strings.HasSuffix(e.Path, compactSuffix) {
				compacted++
			}
		}
	}
	if in == 0 || compacted == 0 {
		t.Errorf("%d events of the index, %d compactions", in, compacted)
	}
	random := rand.New(rand.NewPCG(seed, 6))
	moments := r.moments(random, 30+powerCuts()/10)
	next := 0
	for _, moment := range moments {
		for ; next < moment; next++ {
			r.happen(t, r.events[next])
		}
		cut, c := memoryDir(t), tap.RandomCut(random)
		must(t, disk.Cut(cut, c, random, skipReserve))
		if searchCut(t, cut); t.Failed() {
			t.Fatalf("seed %d, after %v; cut: %v", seed, r.events[max(0, moment-5):moment], c)
		}
		must(t, os.RemoveAll(cut))
	}
	t.Logf("seed %d, %d states of %d events, %d of them of search.db, %d compactions", seed, len(moments), len(r.events), in, compacted)
}

// searchCut opens what is left, and searches for each message before the index
// is built to its end and afterwards.
func searchCut(t *testing.T, dir string) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test", NoSync: true})
	must(t, err)
	info, err := st.FindAccount("ann")
	must(t, err)
	a, err := st.Account(info.ID)
	must(t, err)
	_, rows := liveRows(t, a, inbox(t, a).ID)
	if len(rows) < signatureBlobs/2 {
		t.Errorf("%d messages are left", len(rows))
	}
	var blobs []BlobID
	for _, row := range rows {
		blobs = append(blobs, row.Blob)
	}
	for _, when := range []string{"at first", "when it is built"} {
		for i, id := range blobs {
			if i%7 > 0 {
				continue
			}
			maybe, err := a.Candidates(blobs, strings.ToUpper(searchWord(id))) // text in the index is in capitals
			if err != nil || !maybe[i] {
				t.Errorf("%s a search misses blob %d: %v", when, id, err)
			}
		}
		build(t, a)
	}
	storeSound(t, st)
	must(t, st.Close())
}
