package imap

import (
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/storage"
)

// BenchmarkSearchRare looks for a word that one message of 20,000 has, with the
// signatures and by reading everything: before they are there, and for two
// letters, which they say nothing of. The promise is 50 ms.
func BenchmarkSearchRare(b *testing.B) {
	w := newBench(b)
	account := w.s.account
	u, err := account.NewUpload(1 << 20)
	must(b, err)
	_, err = u.Write([]byte("Subject: rare\r\n\r\nthe zzyzx of it\r\n"))
	must(b, err)
	must(b, u.Close())
	_, err = account.Append(w.s.sel.box.ID, []storage.NewMessage{{Upload: u}})
	must(b, err)
	box, blocks, err := account.Snapshot(w.s.sel.box.ID)
	must(b, err)
	w.s.sel.box, w.s.sel.view = box, view.New(box, blocks)
	b.Run("TEXT reading everything", func(b *testing.B) { w.run(b, "UID SEARCH TEXT zy") })
	waitForSignatures(b, account, box)
	for _, keys := range []string{"TEXT zzyzx", "BODY zzyzx", "TEXT qqqzzzqq", "OR TEXT zzyzx BODY qqqzzzqq"} {
		b.Run(keys, func(b *testing.B) {
			w.run(b, "UID SEARCH "+keys)
			b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/search")
		})
	}
}

// waitForSignatures waits until all blocks but the last have theirs.
func waitForSignatures(t testing.TB, account *storage.Account, box storage.Mailbox) {
	t.Helper()
	last, err := account.UIDs(box.Space, box.UIDNext-1000, box.UIDNext-501, make([]imap.UID, 0, 500))
	must(t, err)
	rows, err := account.Rows(box.Space, last, nil)
	must(t, err)
	blobs := make([]storage.BlobID, len(rows))
	for i := range rows {
		blobs[i] = rows[i].Blob
	}
	slices.Sort(blobs)
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		maybe, err := account.Candidates(blobs, "QQQZZZQQ")
		must(t, err)
		if !slices.Contains(maybe, true) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no signatures were made")
		}
	}
}
