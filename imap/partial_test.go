package imap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestPartialPieces compares pieces of a result with the whole one, over more
// messages than a batch has.
func TestPartialPieces(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.grow(1700)
	c := r.client()
	rnd := rand.New(rand.NewPCG(9394, 1))
	var flagged, gone []string
	for uid := 1; uid <= 1700; uid++ {
		switch rnd.IntN(5) {
		case 0, 1:
			flagged = append(flagged, fmt.Sprint(uid))
		case 2:
			gone = append(gone, fmt.Sprint(uid))
		}
	}
	c.ok("UID STORE " + strings.Join(flagged, ",") + ` +FLAGS.SILENT (\Flagged)`)
	c.ok("UID STORE " + strings.Join(gone, ",") + ` +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	all := func(keys string) []imap.UID {
		lines := c.ok("UID SEARCH RETURN (ALL) " + keys)
		_, set, ok := strings.Cut(lines[0], " ALL ")
		if !ok {
			return nil
		}
		return expand(t, set)
	}
	whole := all("FLAGGED")
	if len(whole) != len(flagged) {
		t.Fatalf("%d flagged, want %d", len(whole), len(flagged))
	}
	for range 150 {
		lo, hi := 1+rnd.IntN(len(whole)+50), 1+rnd.IntN(len(whole)+50)
		sign, options := "", []string{"", "MIN", "MAX", "COUNT", "MIN MAX", "MIN MAX COUNT"}[rnd.IntN(6)]
		from, to := min(lo, hi)-1, max(lo, hi)
		if rnd.IntN(2) == 0 {
			sign = "-"
			from, to = len(whole)-to, len(whole)-from
		}
		want := whole[min(max(from, 0), len(whole)):min(max(to, 0), len(whole))]
		command := fmt.Sprintf("UID SEARCH RETURN (SAVE PARTIAL %s%d:%s%d %s) FLAGGED", sign, lo, sign, hi, options)
		command = strings.ReplaceAll(command, " )", ")")
		line := c.ok(command)[0]
		_, piece, _ := strings.Cut(line, fmt.Sprintf(" PARTIAL (%s%d:%s%d ", sign, lo, sign, hi))
		piece, _, _ = strings.Cut(piece, ")")
		var got []imap.UID
		if piece != "NIL" {
			got = expand(t, piece)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %d results, want %d", command, len(got), len(want))
		}
		// "$", by table 1 of RFC 9394 §3.2.
		saved := slices.Clone(want)
		switch {
		case strings.Contains(options, "COUNT"):
			saved = whole
		default:
			if strings.Contains(options, "MIN") {
				saved = append(saved, whole[0])
			}
			if strings.Contains(options, "MAX") {
				saved = append(saved, whole[len(whole)-1])
			}
			slices.Sort(saved)
			saved = slices.Compact(saved)
		}
		if got := all("$"); !slices.Equal(got, saved) {
			t.Fatalf("%s: $ has %d, want %d", command, len(got), len(saved))
		}
	}
}
