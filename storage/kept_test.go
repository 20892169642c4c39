package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// keptStore is a store with a clock that the test sets, and one account.
func keptStore(t *testing.T) (*Store, *Account, *testTime) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	clock := &testTime{wall: inTest, synced: true, known: true}
	st := openKept(t, dir, clock)
	info, err := st.CreateAccount("ann", []byte("verifier"))
	must(t, err)
	return st, accountOf(t, st, info.ID), clock
}

func openKept(t *testing.T, dir string, clock *testTime) *Store {
	t.Helper()
	st, err := Open(dir, Options{NoSync: true, Version: "test", Built: builtDay, Time: clock})
	must(t, err)
	t.Cleanup(func() {
		if findings, err := st.Check(); !errors.Is(err, ErrClosed) && (err != nil || len(findings) > 0) {
			t.Errorf("Check: %q, %v", findings, err)
		}
		must(t, st.Close())
	})
	return st
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func accountOf(t *testing.T, st *Store, id AccountID) *Account {
	t.Helper()
	a, err := st.Account(id)
	must(t, err)
	return a
}

// expungeAll expunges messages of a mailbox; no UIDs, all of them.
func expungeAll(t testing.TB, a *Account, id MailboxID, uids ...imap.UID) {
	t.Helper()
	m, err := a.Mailbox(id)
	must(t, err)
	if len(uids) == 0 {
		uids, err = a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 10000))
		must(t, err)
	}
	_, err = a.StoreFlags(id, StoreRequest{UIDs: uids, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
	must(t, err)
	res, err := a.Expunge(id, uids)
	must(t, err)
	if len(res.UIDs) != len(uids) {
		t.Fatalf("expunged %d of %d", len(res.UIDs), len(uids))
	}
}

// liveRows lists a mailbox's rows.
func liveRows(t testing.TB, a *Account, id MailboxID) (Mailbox, []Row) {
	t.Helper()
	m, err := a.Mailbox(id)
	must(t, err)
	var rows []Row
	for lo := imap.UID(1); ; {
		uids, err := a.UIDs(m.Space, lo, m.UIDNext, make([]imap.UID, 0, ReadRows))
		must(t, err)
		if len(uids) == 0 {
			return m, rows
		}
		rows, err = a.Rows(m.Space, uids, rows)
		must(t, err)
		lo = uids[len(uids)-1] + 1
	}
}

func keptOf(t testing.TB, a *Account, f KeptFilter) (all []KeptMessage) {
	t.Helper()
	must(t, a.Kept(context.Background(), f, func(page []KeptMessage) error {
		all = append(all, page...)
		return nil
	}))
	return all
}

func wantKept(t testing.TB, a *Account, messages int) {
	t.Helper()
	c, err := a.KeptCount()
	must(t, err)
	if all := keptOf(t, a, KeptFilter{}); len(all) != messages || c.Messages != int64(messages) {
		t.Errorf("%d kept, counted as %d, want %d", len(all), c.Messages, messages)
	}
}

func restore(t testing.TB, a *Account, f KeptFilter) RestoreResult {
	t.Helper()
	res, err := a.RestoreKept(context.Background(), f)
	must(t, err)
	return res
}

func TestRestoreExpunged(t *testing.T) {
	t.Parallel()
	_, a, clock := keptStore(t)
	box := inbox(t, a)
	for i := range 5 {
		appendTo(t, a, box.ID, message(i), imap.FlagFlagged, "$Work")
	}
	_, before := liveRows(t, a, box.ID)
	clock.pass(time.Hour)
	expungeAll(t, a, box.ID, 2, 3)
	wantKept(t, a, 2)
	used, _, err := a.Quota()
	must(t, err)
	if used.Messages != 3 {
		t.Errorf("expunged messages count in the quota: %+v", used)
	}
	k := keptOf(t, a, KeptFilter{Mailbox: "inbox"})[0]
	if k.Mailbox != "INBOX" || k.UID != 2 || k.Gone || !k.Expunged.Equal(clock.Wall()) || !slices.Contains(k.Flags, "$Work") {
		t.Errorf("listed as %+v", k)
	}
	if res := restore(t, a, KeptFilter{Since: clock.Wall().Add(time.Minute)}); res.Messages != 0 {
		t.Errorf("restored what was expunged before: %+v", res)
	}
	clock.pass(time.Hour)
	res := restore(t, a, KeptFilter{})
	if res.Messages != 2 || !slices.Equal(res.Mailboxes, []string{"INBOX"}) || len(res.Made) != 0 {
		t.Errorf("restored %+v", res)
	}
	m, after := liveRows(t, a, box.ID)
	if m.Messages != 5 || m.UIDNext != 8 || len(after) != 5 {
		t.Fatalf("after the restore: %+v", m)
	}
	for i, r := range after[3:] {
		was := before[i+1]
		if r.UID != imap.UID(6+i) || r.Email != was.Email || r.Thread != was.Thread || r.Flags != was.Flags ||
			r.Date != was.Date || r.ModSeq <= was.ModSeq || r.SaveDate != clock.Wall().Unix() {
			t.Errorf("restored %+v, was %+v", r, was)
		}
	}
	b, err := a.OpenBlob(after[4].Blob)
	must(t, err)
	var text strings.Builder
	_, err = b.WriteRange(&text, 0, b.Size())
	must(t, errors.Join(err, b.Close()))
	if text.String() != message(2) {
		t.Errorf("it reads %q", text.String())
	}
	if res := restore(t, a, KeptFilter{}); res.Messages != 0 {
		t.Errorf("restored twice: %+v", res)
	}
	wantKept(t, a, 0)
}

// A moved message is not expunged mail; its row can be had all the same.
func TestMovedIsNotExpunged(t *testing.T) {
	t.Parallel()
	_, a, _ := keptStore(t)
	box := inbox(t, a)
	uid := appendTo(t, a, box.ID, message(1))
	trash, err := a.MailboxByName("Trash")
	must(t, err)
	_, err = a.Copy(box.ID, []imap.UID{uid}, trash.ID, true)
	must(t, err)
	wantKept(t, a, 0)
	if moved := keptOf(t, a, KeptFilter{Moved: true}); len(moved) != 1 || !moved[0].Moved {
		t.Errorf("moved: %+v", moved)
	}
	if res := restore(t, a, KeptFilter{Moved: true}); res.Messages != 1 {
		t.Errorf("restored %+v", res)
	}
}

func TestRestoreDeletedMailbox(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	m, err := a.CreateMailbox("Work/Old", "\\Flagged")
	must(t, err)
	const n = 2600 // more than one slice
	for i := 0; i < n; i += 100 {
		var msgs []NewMessage
		for j := range 100 {
			msgs = append(msgs, NewMessage{Upload: upload(t, a, message((i+j)%7)), Flags: []imap.Flag{"$Job"}})
		}
		_, err := a.Append(m.ID, msgs)
		must(t, err)
	}
	// Flags that are in the journal alone when the mailbox goes.
	some := make([]imap.UID, 400)
	for i := range some {
		some[i] = imap.UID(i + 1)
	}
	_, err = a.StoreFlags(m.ID, StoreRequest{UIDs: some, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}})
	must(t, err)
	expungeAll(t, a, m.ID, 2599, 2600)
	clock.pass(time.Hour)
	must(t, a.DeleteMailbox("Work/Old"))
	if c, err := a.KeptCount(); err != nil || c.Messages != n {
		t.Errorf("kept at once: %+v, %v", c, err)
	}
	// As after a crash: nothing of it was settled yet.
	dir := st.dir
	must(t, st.Close())
	st = openKept(t, dir, clock)
	a = accountOf(t, st, a.id)
	if findings, err := st.Check(); err != nil || len(findings) > 0 {
		t.Errorf("Check before settling: %q %v", findings, err)
	}
	wantKept(t, a, n)
	if k := keptOf(t, a, KeptFilter{Mailbox: "Work/Old"}); len(k) != n || !k[0].Gone || !slices.Contains(k[0].Flags, imap.FlagSeen) {
		t.Errorf("listed %d, the first as %+v", len(k), k[:1])
	}
	res := restore(t, a, KeptFilter{Mailbox: "Work/Old"})
	if res.Messages != n || !slices.Equal(res.Made, []string{"Work/Old"}) {
		t.Errorf("restored %+v", res)
	}
	again, err := a.MailboxByName("Work/Old")
	must(t, err)
	if again.Messages != n || again.ID == m.ID || again.Unseen != n-400 || again.Deleted != 0 || again.Bit("$Job") == 0 ||
		again.UIDValidity <= m.UIDValidity || !slices.Equal(again.SpecialUse, m.SpecialUse) {
		t.Errorf("made again as %+v", again)
	}
	if subs, _ := a.Subscriptions(); !slices.Contains(subs, "Work/Old") {
		t.Errorf("not subscribed: %q", subs)
	}
	must(t, a.read(func(f *files, tx *bolt.Tx) error {
		if k, _ := tx.Bucket(bucketIntents).Cursor().First(); k != nil {
			t.Errorf("an intent is left: %x", k)
		}
		return nil
	}))
}

func TestKeptExpires(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	box := inbox(t, a)
	short, err := a.CreateMailbox("Short")
	must(t, err)
	held, err := a.CreateMailbox("Held")
	must(t, err)
	must(t, a.SetKeptDays("Short", 2))
	must(t, a.SetHold("Held", true))
	for _, id := range []MailboxID{box.ID, short.ID, held.ID} {
		appendTo(t, a, id, message(1))
		expungeAll(t, a, id)
	}
	ctx := context.Background()
	expire := func(want int) {
		t.Helper()
		next, err := a.expireWhenDue(ctx)
		must(t, err)
		if clock.synced && !next.After(st.now()) {
			t.Errorf("due again at %v, it is %v", next, st.now())
		}
		wantKept(t, a, want)
	}
	clock.pass(47 * time.Hour)
	expire(3)
	clock.pass(2 * time.Hour)
	expire(2)
	// The clock jumps: nothing goes until it is believed.
	now := clock.Wall()
	clock.set(now.Add(10*365*24*time.Hour), false)
	expire(2)
	clock.set(now, true)
	expire(2)
	clock.pass(12 * 24 * time.Hour)
	expire(1)
	must(t, st.SetAccountSetting(a.id, SettingHold, "true"))
	must(t, a.SetHold("Held", false))
	expire(1)
	must(t, st.SetAccountSetting(a.id, SettingHold, ""))
	expire(0)
	must(t, a.sweepNow(ctx))
	must(t, a.read(func(f *files, tx *bolt.Tx) error {
		if k, _ := tx.Bucket(bucketBlobs).Cursor().First(); k != nil {
			t.Errorf("blob %x is left", k)
		}
		return nil
	}))
}

func TestKeptDaysOfTheHousehold(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	box := inbox(t, a)
	for i := range 3 {
		appendTo(t, a, box.ID, message(i))
	}
	expungeAll(t, a, box.ID)
	must(t, st.SetSetting(SettingKeptDays, "0"))
	clock.pass(time.Second)
	must(t, st.SetAccountSetting(a.id, SettingKeptDays, "3"))
	_, err := a.expireWhenDue(context.Background())
	must(t, err)
	wantKept(t, a, 3)
	must(t, st.SetAccountSetting(a.id, SettingKeptDays, ""))
	_, err = a.expireWhenDue(context.Background())
	must(t, err)
	wantKept(t, a, 0)
}

// When space runs out, the oldest goes first over all accounts, what is held
// never, and no more than is needed.
func TestFreeKeptOldestFirst(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	info, err := st.CreateAccount("ben", nil)
	must(t, err)
	b := accountOf(t, st, info.ID)
	body := strings.Repeat("x", 1000)
	for i := range 6 {
		who := []*Account{a, b}[i%2]
		uid := appendTo(t, who, inbox(t, who).ID, message(i)+body)
		expungeAll(t, who, inbox(t, who).ID, uid)
		clock.pass(3 * time.Hour)
	}
	held, err := a.CreateMailbox("Held")
	must(t, err)
	must(t, a.SetHold("Held", true))
	appendTo(t, a, held.ID, message(100)+body)
	expungeAll(t, a, held.ID)
	freed, err := st.freeKept(context.Background(), 2500)
	must(t, err)
	if freed < 2500 || freed > 4000 {
		t.Errorf("freed %d", freed)
	}
	left := func(who *Account) (uids []imap.UID) {
		for _, k := range keptOf(t, who, KeptFilter{Mailbox: "INBOX"}) {
			uids = append(uids, k.UID)
		}
		return uids
	}
	if la, lb := left(a), left(b); !slices.Equal(la, []imap.UID{3}) || !slices.Equal(lb, []imap.UID{2, 3}) {
		t.Errorf("left: %v %v", la, lb)
	}
	// A deleted account goes in its turn: after what is older.
	gone, err := st.CreateAccount("cid", nil)
	must(t, err)
	must(t, st.DeleteAccount("cid"))
	clock.pass(3 * time.Hour)
	uid := appendTo(t, a, inbox(t, a).ID, message(200)+body)
	expungeAll(t, a, inbox(t, a).ID, uid)
	if freed, err = st.freeKept(context.Background(), 4000); err != nil || len(left(a)) != 1 || len(left(b)) != 0 {
		t.Errorf("freed %d, left %v %v, %v", freed, left(a), left(b), err)
	}
	if all, err := st.DeletedAccounts(); err != nil || len(all) != 0 {
		t.Errorf("account %s is there still: %+v %v", gone.ID, all, err)
	}
	if _, err = st.freeKept(context.Background(), 1<<40); err != nil {
		t.Error(err)
	}
	if len(left(a))+len(left(b)) != 0 || len(keptOf(t, a, KeptFilter{Mailbox: "Held"})) != 1 {
		t.Error("all but the held one should be gone")
	}
}

// A restore that passes the quota restores nothing.
func TestRestoreOverQuota(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	box := inbox(t, a)
	for i := range 3 {
		appendTo(t, a, box.ID, message(i))
	}
	expungeAll(t, a, box.ID)
	must(t, st.SetAccountSetting(a.id, SettingQuotaMessages, "2"))
	if _, err := a.RestoreKept(context.Background(), KeptFilter{}); !errors.Is(err, ErrOverQuota) {
		t.Errorf("restored over the quota: %v", err)
	}
	wantKept(t, a, 3)
	must(t, st.SetAccountSetting(a.id, SettingQuotaMessages, "3"))
	if res := restore(t, a, KeptFilter{}); res.Messages != 3 {
		t.Errorf("restored %+v", res)
	}
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	box := inbox(t, a)
	size := int64(len(message(1)))
	try := func(what string, err error, over bool) {
		t.Helper()
		if errors.Is(err, ErrOverQuota) != over {
			t.Errorf("%s: %v, want over quota: %v", what, err, over)
		}
	}
	add := func(n int) error {
		_, err := a.Append(box.ID, []NewMessage{{Upload: upload(t, a, message(n))}})
		return err
	}
	must(t, st.SetSetting(SettingQuota, fmt.Sprint(3*size)))
	try("first", add(1), false)
	try("second", add(2), false)
	try("third", add(3), false)
	try("fourth", add(4), true)
	try("may", a.MayAppend(1), true)
	must(t, st.SetAccountSetting(a.id, SettingQuota, "0")) // none, whatever the household has
	try("fourth", add(4), false)
	must(t, st.SetAccountSetting(a.id, SettingQuotaMessages, "5"))
	_, err := a.Copy(box.ID, []imap.UID{1, 2}, mailboxOf(t, a, "Trash").ID, false)
	try("copy", err, true)
	_, err = a.Copy(box.ID, []imap.UID{1}, mailboxOf(t, a, "Trash").ID, false)
	try("copy of one", err, false)
	_, err = a.Copy(box.ID, []imap.UID{2, 3}, mailboxOf(t, a, "Trash").ID, true)
	try("move", err, false)
	try("append", add(9), true)
	expungeAll(t, a, box.ID, 1)
	try("append after expunge", add(9), false)
	must(t, st.SetAccountSetting(a.id, SettingQuotaMailboxes, "7"))
	_, err = a.CreateMailbox("Seventh")
	try("create", err, false)
	_, err = a.CreateMailbox("Eighth")
	try("create", err, true)
	try("rename INBOX", a.RenameMailbox("INBOX", "Eighth"), true)
	must(t, a.DeleteMailbox("Seventh"))
	_, err = a.CreateMailbox("Eighth")
	try("create", err, false)
	used, limits, err := a.Quota()
	must(t, err)
	if want := (Usage{5 * size, 5, 7}); used != want || limits != (Usage{0, 5, 7}) {
		t.Errorf("used %+v of %+v, want %+v", used, limits, want)
	}
	sound(t, a)
}

func mailboxOf(t testing.TB, a *Account, name string) Mailbox {
	t.Helper()
	m, err := a.MailboxByName(name)
	must(t, err)
	return m
}

// What the household says of an account is in its folder too, so that
// system.db can be made anew from the folders.
func TestProfileHasSettings(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	must(t, st.SetAccountSetting(a.id, SettingHold, "true"))
	must(t, st.SetAccountSetting(a.id, SettingQuota, "1000"))
	must(t, a.read(func(f *files, tx *bolt.Tx) error {
		p := decodeProfile(tx.Bucket(bucketMeta).Get([]byte("profile")))
		if p.Name != "ann" || p.Settings[SettingHold] != "true" || p.Settings[SettingQuota] != "1000" {
			t.Errorf("the folder says %+v", p)
		}
		return nil
	}))
}
