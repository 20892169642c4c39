package storage

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// strayStore is a store whose bodies go to small volumes at once.
func strayStore(t testing.TB, dir string) (*Store, *Account) {
	t.Helper()
	fresh := false
	if _, err := os.Stat(dir + "/nestbox.id"); err != nil {
		fresh = true
		if err := Init(dir); err != nil {
			t.Fatal(err)
		}
	}
	st, err := Open(dir, Options{Version: "test", NoSync: true, hooks: &hooks{volume: 1 << 20, firstBodies: 40 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if fresh {
		if _, err := st.CreateAccount("ann", nil); err != nil {
			t.Fatal(err)
		}
	}
	info, err := st.FindAccount("ann")
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	return st, a
}

// bigMessage has a body of about n octets that don't compress well.
func bigMessage(seed, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "From: a@example.org\r\nSubject: big %d\r\nMessage-ID: <big%d@example.org>\r\nDate: Mon, 5 Feb 2024 10:00:00 +0100\r\n\r\n", seed, seed)
	x := uint32(seed)*2654435761 + 1
	for b.Len() < n {
		for range 60 {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
			b.WriteByte(byte(' ' + x%94))
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

func blobText(t testing.TB, a *Account, id BlobID) string {
	t.Helper()
	b, err := a.OpenBlob(id)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var s strings.Builder
	if _, err := b.WriteRange(&s, 0, b.Size()); err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func rowsOf(t testing.TB, a *Account, name string) []Row {
	t.Helper()
	m, err := a.MailboxByName(name)
	if err != nil {
		t.Fatal(err)
	}
	uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, ReadRows))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := a.Rows(m.Space, uids, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// forgetBlobs takes all that mail.db has of some messages, but for their bytes.
func forgetBlobs(t *testing.T, a *Account, rows []Row, space Space, blobsToo bool) {
	t.Helper()
	err := a.exec(func(f *files) error {
		return f.mail.Update(func(tx *bolt.Tx) error {
			for _, r := range rows {
				if err := tx.Bucket(bucketRows).Delete(keyUID(space, r.UID)); err != nil {
					return err
				}
				if !blobsToo {
					continue
				}
				if err := f.blobs.putRecord(tx, r.Blob, nil); err != nil {
					return err
				}
				_ = tx.Bucket(bucketEmails).Delete(r.Email[:])
				if err := tx.Bucket(bucketBlobs).Delete(keyBlob(r.Blob)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStrayBlobsAreRecovered(t *testing.T) {
	for _, blobsToo := range []bool{true, false} {
		t.Run(fmt.Sprint(blobsToo), func(t *testing.T) {
			_, a := strayStore(t, t.TempDir())
			arch, err := a.MailboxByName("Archive")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.CreateMailbox("Recovered"); err != nil { // somebody else's
				t.Fatal(err)
			}
			texts := map[string]bool{}
			for i := range 12 {
				text := bigMessage(i, []int{500, 90 << 10, 200 << 10}[i%3])
				texts[text] = true
				appendTo(t, a, arch.ID, text)
			}
			rows := rowsOf(t, a, "Archive")
			var strays []strayBlob
			for _, r := range rows {
				b, err := a.OpenBlob(r.Blob)
				if err != nil {
					t.Fatal(err)
				}
				strays = append(strays, strayBlob{b.row.volume, r.Blob})
				b.Close()
			}
			if strays[0].volume != 0 || strays[11].volume == 0 {
				t.Fatalf("volumes: %+v", strays)
			}
			forgetBlobs(t, a, rows, arch.Space, blobsToo)
			told := 0
			err = a.recoverBlobs(context.Background(), strays, func(mailbox string, r recoveredBlob) {
				told++
				if r.err != nil || r.uid == 0 || r.known || mailbox != "Recovered 2" {
					t.Errorf("%s %+v", mailbox, r)
				}
			})
			if err != nil || told != len(strays) {
				t.Fatal(told, err)
			}
			m, err := a.MailboxByName("Recovered 2")
			if err != nil || m.Messages != 12 || m.Unseen != 12 || !m.Recovered {
				t.Fatalf("%+v %v", m, err)
			}
			subs, err := a.Subscriptions()
			if err != nil || !strings.Contains(strings.Join(subs, ","), "Recovered 2") {
				t.Errorf("%q %v", subs, err)
			}
			for _, r := range rowsOf(t, a, "Recovered 2") {
				text := blobText(t, a, r.Blob)
				if !texts[text] || r.InternalDate().Format("2006-01-02 15:04 -0700") != "2024-02-05 10:00 +0100" {
					t.Errorf("UID %d: %.60q of %v", r.UID, text, r.InternalDate())
				}
				delete(texts, text)
			}
			if len(texts) > 0 {
				t.Errorf("%d are missing", len(texts))
			}
			// Again: a stray that has its message by now makes no second blob, and
			// other strays go to the same mailbox.
			appendTo(t, a, m.ID, message(1))
			if m, err = a.MailboxByName("Recovered 2"); err != nil || m.Messages != 13 {
				t.Fatal(m, err)
			}
		})
	}
}

// A stray under an id that another message has since gets a new one.
func TestStrayWithTakenID(t *testing.T) {
	_, a := strayStore(t, t.TempDir())
	box := inbox(t, a)
	text := bigMessage(1, 90<<10)
	appendTo(t, a, box.ID, text)
	row := rowsOf(t, a, "INBOX")[0]
	other := message(7)
	// mail.db has a message of its own as that blob.
	forgetBlobs(t, a, []Row{row}, box.Space, true)
	err := a.exec(func(f *files) error {
		f.blobs.next = row.Blob - 1
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, a, box.ID, other)
	rows := rowsOf(t, a, "INBOX")
	if rows[0].Blob != row.Blob {
		t.Fatalf("blob %d, want %d", rows[0].Blob, row.Blob)
	}
	b, err := a.OpenBlob(row.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if b.row.volume != 0 {
		t.Fatal("the other message should be in mail.db")
	}
	b.Close()
	var got recoveredBlob
	for range 2 {
		err = a.recoverBlobs(context.Background(), []strayBlob{{1, row.Blob}}, func(_ string, r recoveredBlob) { got = r })
		if err != nil || got.err != nil {
			t.Fatal(err, got.err)
		}
	}
	if !got.known {
		t.Errorf("recovered twice: %+v", got)
	}
	found := rowsOf(t, a, "Recovered")
	if len(found) != 1 || blobText(t, a, found[0].Blob) != text || blobText(t, a, row.Blob) != other {
		t.Errorf("%+v", found)
	}
}
