package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// repairScene is an account with mail in mail.db and in volumes, kept and
// journaled changes, and a deleted mailbox.
func repairScene(t testing.TB, dir string) (*Store, *Account, map[string]bool) {
	t.Helper()
	st, a := strayStore(t, dir)
	box := inbox(t, a)
	arch, err := a.MailboxByName("Archive")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for i := range 24 {
		text := bigMessage(i, []int{400, 3000, 90 << 10, 150 << 10}[i%4])
		texts[text] = true
		appendTo(t, a, []MailboxID{box.ID, arch.ID}[i%2], text, imap.FlagSeen, "$Label")
	}
	if _, err := a.Copy(box.ID, []imap.UID{1, 2, 3}, arch.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{5, 6}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Expunge(box.ID, nil); err != nil {
		t.Fatal(err)
	}
	old, err := a.CreateMailbox("Old")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Copy(arch.ID, []imap.UID{4, 5}, old.ID, false); err != nil {
		t.Fatal(err)
	}
	if err := a.DeleteMailbox("Old"); err != nil {
		t.Fatal(err)
	}
	if err := a.fold(); err != nil {
		t.Fatal(err)
	}
	return st, a, texts
}

// damage changes mail.db behind the writer's back.
func damage(t testing.TB, a *Account, fn func(f *files, tx *bolt.Tx) error) {
	t.Helper()
	if err := a.exec(func(f *files) error {
		return f.mail.Update(func(tx *bolt.Tx) error { return fn(f, tx) })
	}); err != nil {
		t.Fatal(err)
	}
}

// checkAll is a check of one account with everything.
func checkAll(t testing.TB, a *Account, repair bool) (left int, lines []Finding) {
	t.Helper()
	r := &checkReport{ctx: context.Background(), repair: repair, tell: func(f Finding) error {
		lines = append(lines, f)
		return nil
	}}
	if err := a.check(r, false); err != nil {
		t.Fatal(err)
	}
	return r.left, lines
}

// allTexts are the messages that the account's mailboxes have, each once.
func allTexts(t testing.TB, a *Account) map[string]bool {
	t.Helper()
	texts := map[string]bool{}
	boxes, err := a.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range boxes {
		for _, r := range rowsOf(t, a, m.Name) {
			if !r.Expunged {
				texts[blobText(t, a, r.Blob)] = true
			}
		}
	}
	return texts
}

func firstKey(tx *bolt.Tx, bucket []byte) (k, v []byte) {
	k, v = tx.Bucket(bucket).Cursor().First()
	return append([]byte(nil), k...), append([]byte(nil), v...)
}

// flipValue changes one byte of the first value of a bucket.
func flipValue(bucket []byte, at int) func(*files, *bolt.Tx) error {
	return func(_ *files, tx *bolt.Tx) error {
		k, v := firstKey(tx, bucket)
		v[at%len(v)] ^= 0x10
		return tx.Bucket(bucket).Put(k, v)
	}
}

func dropAll(bucket []byte) func(*files, *bolt.Tx) error {
	return func(_ *files, tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucket); err != nil {
			return err
		}
		_, err := tx.CreateBucket(bucket)
		return err
	}
}

// Each kind of damage to what is derived is found, mended, and gone then; no
// message is lost.
func TestDerivedDamageIsMended(t *testing.T) {
	t.Parallel()
	box := func(change func(m *Mailbox)) func(*files, *bolt.Tx) error {
		return func(_ *files, tx *bolt.Tx) error {
			id := tx.Bucket(bucketNames).Get([]byte("INBOX"))
			m, err := decodeMailbox(id, tx.Bucket(bucketMailboxes).Get(id))
			if err != nil {
				return err
			}
			change(&m)
			return tx.Bucket(bucketMailboxes).Put(append([]byte(nil), id...), encodeMailbox(&m))
		}
	}
	for name, fn := range map[string]func(*files, *bolt.Tx) error{
		"counts":       box(func(m *Mailbox) { m.Messages, m.Unseen, m.Octets = 1000, 7, 3 }),
		"uidnext":      box(func(m *Mailbox) { m.UIDNext = 3 }),
		"modseq":       box(func(m *Mailbox) { m.HighestModSeq = 2 }),
		"first unseen": box(func(m *Mailbox) { m.Unseen, m.FirstUnseen = 1, 5000 }),
		"keywords":     box(func(m *Mailbox) { m.Keywords = nil }),
		"space":        box(func(m *Mailbox) { m.Space = 99 }),
		"two owners":   box(func(m *Mailbox) { m.Space++ }),
		"validity":     box(func(m *Mailbox) { m.UIDValidity = 0 }),
		"bad name":     box(func(m *Mailbox) { m.Name = "a//b" }),
		"row":          flipValue(bucketRows, 40),
		"row flags":    flipValue(bucketRows, 8),
		"row's end":    flipValue(bucketRows, rowBytes+1),
		"row zeros": func(_ *files, tx *bolt.Tx) error {
			k, v := firstKey(tx, bucketRows)
			return tx.Bucket(bucketRows).Put(k, make([]byte, len(v)))
		},
		"row short": func(_ *files, tx *bolt.Tx) error {
			k, v := firstKey(tx, bucketRows)
			return tx.Bucket(bucketRows).Put(k, v[:30])
		},
		"mailbox row": flipValue(bucketMailboxes, 12),
		"mailbox row lost": func(_ *files, tx *bolt.Tx) error {
			id := tx.Bucket(bucketNames).Get([]byte("INBOX"))
			return tx.Bucket(bucketMailboxes).Delete(append([]byte(nil), id...))
		},
		"mailbox row torn": func(_ *files, tx *bolt.Tx) error {
			id := append([]byte(nil), tx.Bucket(bucketNames).Get([]byte("INBOX"))...)
			return tx.Bucket(bucketMailboxes).Put(id, append([]byte{tagName, 200}, make([]byte, 40)...))
		},
		"names":     dropAll(bucketNames),
		"blocks":    dropAll(bucketBlocks),
		"block":     flipValue(bucketBlocks, 3),
		"log":       dropAll(bucketLog),
		"log entry": flipValue(bucketLog, 0),
		"kept row":  flipValue(bucketKept, 50),
		"kept zeros": func(_ *files, tx *bolt.Tx) error {
			k, v := firstKey(tx, bucketKept)
			return tx.Bucket(bucketKept).Put(k, make([]byte, len(v)))
		},
		"kept count": func(_ *files, tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(keptCountKey, KeptCount{7, 7}.encode())
		},
		"bodies":    func(_ *files, tx *bolt.Tx) error { return putUint64(tx.Bucket(bucketMeta), "bodies", 5) },
		"emails":    dropAll(bucketEmails),
		"email":     flipValue(bucketEmails, 7),
		"records":   dropAll(bucketRecords),
		"record":    flipValue(bucketRecords, 30),
		"threads":   flipValue(bucketThreads, 5),
		"blob row":  flipValue(bucketBlobs, 3),
		"blob rows": dropAll(bucketBlobs),
		"rows":      dropAll(bucketRows),
		"intents":   dropAll(bucketIntents),
		"profile": func(_ *files, tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put([]byte("profile"), []byte{1, 1, 'x'})
		},
		"validities":  func(_ *files, tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("validity"), le32(1)) },
		"spaces":      func(_ *files, tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("space"), le32(1)) },
		"thread":      func(_ *files, tx *bolt.Tx) error { return putUint64(tx.Bucket(bucketMeta), "thread", 1) },
		"blob number": func(f *files, tx *bolt.Tx) error { f.blobs.next = 2; return nil },
		"references": func(_ *files, tx *bolt.Tx) error {
			return tx.Bucket(bucketBlobs).ForEach(func(k, v []byte) error {
				row, err := decodeBlobRow(v)
				if err != nil {
					return err
				}
				row.refs += uint32(k[7] % 3)
				return tx.Bucket(bucketBlobs).Put(append([]byte(nil), k...), row.encode())
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, a, texts := repairScene(t, t.TempDir())
			if left, lines := checkAll(t, a, false); left > 0 {
				t.Fatalf("not sound before: %v", lines)
			}
			damage(t, a, fn)
			if name == "bodies" {
				if err := a.exec(func(f *files) error { f.blobs.bodies = 5; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			left, lines := checkAll(t, a, false)
			if left == 0 {
				t.Fatal("not found")
			}
			t.Logf("%d findings: %s", left, lines[0])
			left, lines = checkAll(t, a, true)
			if left > 0 {
				t.Fatalf("%d findings left: %v", left, lines)
			}
			for text := range allTexts(t, a) {
				delete(texts, text)
			}
			// Two messages were expunged, and are in no mailbox unless their rows were lost.
			if len(texts) > 2 {
				t.Errorf("%d messages lost: %v", len(texts), lines)
			}
			appendTo(t, a, inbox(t, a).ID, message(99))
			sound(t, a)
		})
	}
}

// What a repair did is found as it was when it is killed and goes on.
func TestRepairInSteps(t *testing.T) {
	t.Parallel()
	_, a, texts := repairScene(t, t.TempDir())
	for _, b := range [][]byte{bucketEmails, bucketRecords, bucketNames, bucketBlocks, bucketLog, bucketRows} {
		damage(t, a, dropAll(b))
	}
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		lines := 0
		r := &checkReport{ctx: ctx, repair: true, tell: func(f Finding) error {
			if lines++; lines == n*3 {
				cancel()
			}
			return nil
		}}
		err := a.check(r, false)
		cancel()
		if err == nil {
			break
		}
		if n > 500 {
			t.Fatal("it never ends:", err)
		}
	}
	if left, lines := checkAll(t, a, false); left > 0 {
		t.Fatal(lines)
	}
	for text := range allTexts(t, a) {
		delete(texts, text)
	}
	if len(texts) > 2 {
		for text := range texts {
			t.Errorf("lost, or one of two that were expunged: %.60q", text)
		}
	}
}

// A check beside writers and compactions finds nothing that isn't there.
func TestCheckBesideWriters(t *testing.T) {
	t.Parallel()
	_, a, _ := repairScene(t, t.TempDir())
	stop, done := make(chan bool), make(chan error)
	go func() {
		box := inbox(t, a)
		arch, _ := a.MailboxByName("Archive")
		for i := 1000; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			u, err := a.NewUpload(-1)
			if err == nil {
				_, err = u.Write([]byte(bigMessage(i, 400+i%7*20000)))
			}
			var res AppendResult
			if err == nil {
				if err = u.Close(); err == nil {
					res, err = a.Append(box.ID, []NewMessage{{Upload: u}})
				}
			}
			if err == nil {
				_, err = a.StoreFlags(box.ID, StoreRequest{UIDs: res.UIDs, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagFlagged, imap.FlagDeleted}})
			}
			if err == nil {
				_, err = a.Copy(box.ID, res.UIDs, arch.ID, i%2 == 0)
			}
			if err == nil && i%5 == 0 {
				_, err = a.Expunge(box.ID, nil)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	compactions, ended := 0, make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		var err error
		for ; ctx.Err() == nil && (err == nil || errors.Is(err, context.Canceled)); compactions++ {
			err = a.Compact(ctx, true)
		}
		ended <- err
	}()
	for range 15 {
		if left, lines := checkAll(t, a, false); left > 0 {
			t.Errorf("%v", lines)
			break
		}
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error("compaction:", err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	t.Log(compactions, "compactions")
	sound(t, a)
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]AccountID{}
	for _, name := range []string{"anna", "ben"} {
		info := mustAccount(t, st, name)
		ids[name] = info.ID
		if err := st.AddAddress(info.ID, name+"@Example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.SetAccountSetting(ids["ben"], SettingQuota, "12345678"); err != nil {
		t.Fatal(err)
	}
	if err := st.SetDisabled(ids["ben"], true); err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(ids["anna"])
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, a, inbox(t, a).ID, message(1))
	if _, err := Rebuild(dir, Options{}, nil); err == nil {
		t.Fatal("rebuilt under a server")
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{systemFile, systemCopyFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("noise", 5000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Fatal("opened without system.db")
	}
	res, err := Rebuild(dir, Options{}, func(f Finding) error { t.Log(f); return nil })
	if err != nil || fmt.Sprint(res.Accounts) != "[anna ben]" && fmt.Sprint(res.Accounts) != "[ben anna]" {
		t.Fatal(res, err)
	}
	if b, err := os.ReadFile(res.Aside); err != nil || !strings.HasPrefix(string(b), "noise") {
		t.Error("the old file is not there", err)
	}
	again := openTestSystem(t, dir)
	ben, err := again.FindAccount("BEN@example.org")
	if err != nil || ben.ID != ids["ben"] || !ben.Disabled || ben.Settings[SettingQuota] != "12345678" {
		t.Errorf("%+v %v", ben, err)
	}
	if c, err := again.Credential(ids["anna"]); err != nil || c != nil {
		t.Errorf("%q %v", c, err)
	}
	if a, err = again.Account(ids["anna"]); err != nil {
		t.Fatal(err)
	}
	if m := inbox(t, a); m.Messages != 1 {
		t.Errorf("%+v", m)
	}
}
