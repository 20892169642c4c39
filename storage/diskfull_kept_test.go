//go:build linux

package storage

import (
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// With nothing to stay free (min_free = 0) the disk fills to its last block:
// expunged mail that is kept makes room then, the oldest first, before new mail
// or a deletion is refused.
func TestKeptMailGivesWayOnAFullDisk(t *testing.T) {
	t.Parallel()
	d := &fullDisk{t: t, dir: smallDisk(t, 64), random: rand.New(rand.NewSource(9)), refuse: map[string]int{},
		boxes: map[string]map[imap.UID]string{"INBOX": {}, "Archive": {}}, flags: map[string]map[imap.UID]bool{"INBOX": {}, "Archive": {}}}
	must(t, Init(filepath.Join(d.dir, "data")))
	d.open()
	defer func() { must(t, d.st.Close()) }()
	for range 40 {
		d.append("fill", 200<<10)
	}
	var gone []imap.UID
	for uid := range d.boxes["INBOX"] {
		if gone = append(gone, uid); len(gone) == 20 {
			break
		}
	}
	gone = sorted(gone)
	expungeAll(t, d.a, d.box("INBOX").ID, gone...)
	for _, uid := range gone {
		delete(d.boxes["INBOX"], uid)
	}
	before, err := d.a.KeptCount()
	if err != nil || before.Messages != 20 {
		t.Fatalf("%+v, %v", before, err)
	}
	d.leave(0)
	d.st.lookAgain()
	d.append("big new mail", 2<<20) // streams in over several transactions
	if d.refuse["big new mail"] > 0 {
		t.Error("a big message was refused with as much kept mail")
	}
	before, err = d.a.KeptCount()
	if err != nil || before.Messages == 20 {
		t.Errorf("kept %+v, %v", before, err)
	}
	for range 100 { // until what is free inside the files is used up, and more
		d.append("new mail", 60<<10)
		if c, _ := d.a.KeptCount(); c.Messages == 0 || d.refuse["new mail"] > 0 {
			break
		}
	}
	if after, err := d.a.KeptCount(); err != nil || after.Messages > 0 {
		t.Errorf("kept %+v, %v, refused %v", after, err, d.refuse)
	}
	// Until kept mail is gone too: then new mail is refused, and deletions go
	// on without a reserve.
	for n := 0; d.refuse["new mail"] == 0; n++ {
		if n == 500 {
			t.Fatal("the disk is never full")
		}
		d.append("new mail", 60<<10)
	}
	_ = os.Remove(d.st.reservePath())
	for range 30 {
		uids := d.some("INBOX")
		expungeAll(t, d.a, d.box("INBOX").ID, uids...)
		for _, uid := range uids {
			delete(d.boxes["INBOX"], uid)
		}
		d.st.space.nothing = d.st.space.looked // a minute later
		d.append("after a deletion", 20<<10)
	}
	if d.refuse["after a deletion"] > 3 {
		t.Errorf("refused %v", d.refuse)
	}
	d.compare("at the end")
}
