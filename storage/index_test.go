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
