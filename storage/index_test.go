package storage

import (
	"fmt"
	"os"
	"testing"
)

// build makes all complete blocks.
func build(t testing.TB, a *Account) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = a.index.step(func() bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCandidates(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	var blobs []BlobID
	for i := range 600 {
		word := "common"
		if i == 77 || i == 590 {
			word = "xylotomous"
		}
		appendTo(t, a, box.ID, fmt.Sprintf("Subject: %d\r\n\r\nsome %s text of message %d\r\n", i, word, i))
		blobs = append(blobs, BlobID(i+1))
	}
	build(t, a)
	maybe, err := a.Candidates(blobs, "XYLOTOMOUS")
	if err != nil {
		t.Fatal(err)
	}
	yes := 0
	for i, m := range maybe {
		if i < 511 && m { // blobs 1 to 511 are in a block
			yes++
		}
	}
	if !maybe[77] || !maybe[590] || yes > 3 {
		t.Errorf("77: %v, 590: %v, %d of the indexed ones", maybe[77], maybe[590], yes)
	}
	// A damaged file is made anew, and nothing is missed meanwhile.
	a.closeAtRest()
	if err := os.WriteFile(a.index.path(), make([]byte, 65536), 0o600); err != nil {
		t.Fatal(err)
	}
	if maybe, err = a.Candidates(blobs, "XYLOTOMOUS"); err != nil || !maybe[77] {
		t.Fatal(err, maybe[77])
	}
	build(t, a)
	if maybe, err = a.Candidates(blobs, "XYLOTOMOUS"); err != nil || !maybe[77] || maybe[78] {
		t.Error(err, maybe[77], maybe[78])
	}
}

// A search.db of another time or history than mail.db has signatures of other
// messages under the same blob ids: nothing may be missed because of it.
func TestIndexOfAnotherTime(t *testing.T) {
	t.Parallel()
	s := newBlobScene(t, hooks{})
	fill := func(word string) {
		for i := range 300 {
			s.ids = append(s.ids, BlobID(len(s.ids)+1))
			appendTo(t, s.a, inbox(t, s.a).ID, fmt.Sprintf("Subject: %d\r\n\r\nsome %s text of message %d\r\n", i, word, i))
		}
	}
	finds := func(from, to int, word string) (found int) {
		t.Helper()
		for from < to {
			n := min(to-from, ReadRows)
			maybe, err := s.a.Candidates(s.ids[from:from+n], word)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range maybe {
				if m {
					found++
				}
			}
			from += n
		}
		return found
	}
	fill("COMMON")
	build(t, s.a)
	s.restart(func(dir string) {
		putFile(t, dir+"/mail.db.1", dir+"/mail.db")
		putFile(t, dir+"/search.db.1", dir+"/search.db")
	})
	fill("XYLOTOMOUS")
	build(t, s.a)
	if got := finds(0, 255, "XYLOTOMOUS"); got != 0 { // the first block is indexed
		t.Errorf("%d candidates that are none", got)
	}
	s.restart(func(dir string) { // mail.db is older than search.db
		putFile(t, dir+"/search.db.2", dir+"/search.db")
		putFile(t, dir+"/mail.db.2", dir+"/mail.db")
		putFile(t, dir+"/mail.db", dir+"/mail.db.1")
	})
	s.forget()
	s.ids = s.ids[:300]
	fill("QUINTESSENCE") // the same blob ids as the messages before
	if got := finds(300, 600, "QUINTESSENCE"); got != 300 {
		t.Errorf("%d of 300 messages are found with a later search.db", got)
	}
	build(t, s.a)
	if got := finds(300, 600, "QUINTESSENCE"); got != 300 {
		t.Errorf("%d of 300 messages are found", got)
	}
	if got := finds(0, 255, "QUINTESSENCE"); got != 0 {
		t.Errorf("%d candidates that are none: it was not built again", got)
	}
	// A search.db that a crash left one block behind mail.db is not lost.
	before := s.a.index.token
	s.restart(func(dir string) {
		putFile(t, dir+"/search.db.3", dir+"/search.db")
		putFile(t, dir+"/mail.db.3", dir+"/mail.db")
	})
	if _, err := s.a.index.announceNow(); err != nil {
		t.Fatal(err)
	}
	s.restart(func(string) {})
	finds(0, 1, "QUINTESSENCE")
	if s.a.index.token != before || before == 0 {
		t.Errorf("token %x, was %x: built again", s.a.index.token, before)
	}
	// Another account's.
	other := newBlobScene(t, hooks{})
	other.restart(func(string) {})
	s.restart(func(dir string) { putFile(t, other.a.dir+"/search.db", dir+"/search.db") })
	if maybe, err := other.a.Candidates([]BlobID{1}, "COMMON"); err != nil || len(maybe) != 1 || !maybe[0] {
		t.Error("a foreign search.db is believed", maybe, err)
	}
}

// announceNow is announce for a caller that doesn't hold the files.
func (x *searchIndex) announceNow() (uint64, error) {
	f, err := x.a.acquire()
	if err != nil {
		return 0, err
	}
	defer f.release()
	return x.announce(f)
}
