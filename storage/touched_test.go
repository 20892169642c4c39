package storage

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// TestTouched: after random changes the log names each message whose MODSEQ is
// later, and each that went, in pieces of any size; and it reads no row.
func TestTouched(t *testing.T) {
	t.Parallel()
	_, a, _ := keptStore(t)
	box := inbox(t, a)
	r := rand.New(rand.NewPCG(7162, 3))
	var live []imap.UID
	gone := map[imap.UID]ModSeq{}
	for step := range 120 {
		switch n := r.IntN(4); {
		case n == 0 || len(live) < 3:
			res, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, message(step))}, {Upload: upload(t, a, message(step+500))}})
			must(t, err)
			live = append(live, res.UIDs...)
		case n == 1:
			i := r.IntN(len(live))
			_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: live[i : i+1], Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
			must(t, err)
			res, err := a.Expunge(box.ID, live[i:i+1])
			must(t, err)
			gone[live[i]] = res.ModSeq
			live = append(live[:i:i], live[i+1:]...)
		default:
			i := r.IntN(len(live))
			mode := []StoreMode{StoreAdd, StoreRemove}[r.IntN(2)]
			_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: live[i : i+1], Mode: mode, Flags: []imap.Flag{imap.FlagFlagged}})
			must(t, err)
		}
		if step%10 != 9 {
			continue
		}
		now := inbox(t, a)
		rows, err := a.Rows(now.Space, live, nil)
		must(t, err)
		for _, since := range []ModSeq{0, now.HighestModSeq / 2, now.HighestModSeq - 1, now.HighestModSeq} {
			before := a.RowsRead()
			changed, went := map[imap.UID]bool{}, map[imap.UID]bool{}
			for at := since; at < now.HighestModSeq; {
				var touches []Touch
				touches, at, err = a.Touched(now.Space, at, now.HighestModSeq, make([]Touch, 0, 1+r.IntN(20)))
				must(t, err)
				for _, touch := range touches {
					for uid := touch.UID; uid <= touch.Last; uid++ {
						if touch.Expunged {
							went[uid] = true
						} else {
							changed[uid] = true
						}
					}
				}
			}
			if a.RowsRead() != before {
				t.Fatal("rows were read")
			}
			for i := range rows {
				if changed[rows[i].UID] != (rows[i].ModSeq > since) {
					t.Fatalf("since %d: UID %d of MODSEQ %d: %v", since, rows[i].UID, rows[i].ModSeq, changed[rows[i].UID])
				}
			}
			want := map[imap.UID]bool{}
			for uid, at := range gone {
				if at > since {
					want[uid] = true
				}
			}
			if !maps.Equal(went, want) {
				t.Fatalf("since %d: %v went, want %v", since, went, want)
			}
		}
	}
}
