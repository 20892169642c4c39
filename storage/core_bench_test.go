package storage

import (
	"testing"

	"github.com/emersion/go-imap/v2"
)

// fill makes a mailbox of n small messages by doubling COPYs.
func fill(b testing.TB, a *Account, n int) (Mailbox, []imap.UID) {
	box := inbox(b, a)
	uids := []imap.UID{appendTo(b, a, box.ID, message(1))}
	for len(uids) < n {
		res, err := a.Copy(box.ID, uids[:min(len(uids), n-len(uids))], box.ID, false)
		if err != nil {
			b.Fatal(err)
		}
		uids = append(uids, res.To...)
	}
	return inbox(b, a), uids
}

func BenchmarkStoreOneFlag(b *testing.B) {
	_, a := openTest(b)
	box, uids := fill(b, a, 20000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		mode := StoreAdd
		if i/len(uids)%2 == 1 {
			mode = StoreRemove
		}
		if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: uids[i%len(uids) : i%len(uids)+1], Mode: mode, Flags: []imap.Flag{imap.FlagFlagged}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	_, a := openTest(b)
	box, uids := fill(b, a, 20000)
	rows := make([]Row, 0, ReadRows)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for lo := 0; lo < len(uids); lo += ReadRows {
			var err error
			if rows, err = a.Rows(box.Space, uids[lo:min(lo+ReadRows, len(uids))], rows[:0]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(uids)), "ns/row")
}

func BenchmarkSnapshot(b *testing.B) {
	_, a := openTest(b)
	box, _ := fill(b, a, 20000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, _, err := a.Snapshot(box.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCopyMoveExpunge1000(b *testing.B) {
	_, a := openTest(b)
	box, uids := fill(b, a, 20000)
	arch, err := a.MailboxByName("Archive")
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		res, err := a.Copy(box.ID, uids[:1000], arch.ID, false)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = a.StoreFlags(arch.ID, StoreRequest{UIDs: res.To, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
			b.Fatal(err)
		}
		if _, err = a.Expunge(arch.ID, res.To); err != nil {
			b.Fatal(err)
		}
	}
}
