package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// twoAccounts opens a data folder and the accounts ann and bob in it.
func twoAccounts(t testing.TB, dir string) (st *Store, ann, bob *Account) {
	t.Helper()
	st, err := Open(dir, Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	open := func(name string) *Account {
		info, err := st.FindAccount(name)
		if errors.Is(err, ErrNoAccount) {
			info, err = st.CreateAccount(name, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		a, err := st.Account(info.ID)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	return st, open("ann"), open("bob")
}

func goOn() error { return nil }

// liveUIDs are the messages of a mailbox.
func liveUIDs(t testing.TB, a *Account, id MailboxID) []imap.UID {
	t.Helper()
	m, _, err := a.Snapshot(id)
	if err != nil {
		t.Fatal(err)
	}
	uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, m.Messages))
	if err != nil {
		t.Fatal(err)
	}
	return uids
}

// bodiesOf are the messages of a mailbox, with flags and dates.
func bodiesOf(t testing.TB, a *Account, id MailboxID) (all []string) {
	t.Helper()
	m, err := a.Mailbox(id)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(liveUIDs(t, a, id), ReadRows) {
		rows, err := a.Rows(m.Space, part, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			blob, err := a.OpenBlob(rows[i].Blob)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, blob.Size())
			if _, err := blob.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			_ = blob.Close()
			text := string(b)
			all = append(all, text[strings.Index(text, "body "):len(text)-2]+fmt.Sprint(m.FlagNames(rows[i].Flags), rows[i].Date))
		}
	}
	return all
}

func noIntents(t testing.TB, a *Account) bool {
	t.Helper()
	n := 0
	if err := a.read(func(_ *files, tx *bolt.Tx) error {
		n = tx.Bucket(bucketIntents).Stats().KeyN
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n == 0
}

// TestCopyFrom: flags, dates and bytes come along, as far as the rights allow;
// what is refused leaves nothing behind.
func TestCopyFrom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, ann, bob := twoAccounts(t, dir)
	defer st.Close()
	from, to := inbox(t, ann), inbox(t, bob)
	date := time.Date(2020, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	for i := range 250 { // more than are staged at a time
		if _, err := ann.Append(from.ID, []NewMessage{{Upload: upload(t, ann, message(i)), Date: date, Flags: []imap.Flag{imap.FlagSeen, "$a", imap.FlagDeleted}[:i%4]}}); err != nil {
			t.Fatal(err)
		}
	}
	uids := liveUIDs(t, ann, from.ID)
	res, err := bob.CopyFrom(ann, from.ID, uids, to.ID, false, AllRights, goOn)
	if err != nil || len(res.To) != 250 || res.UIDValidity != to.UIDValidity {
		t.Fatal(res, err)
	}
	if a, b := bodiesOf(t, ann, from.ID), bodiesOf(t, bob, to.ID); !slices.Equal(a, b) {
		t.Errorf("copied\n%s\ngot\n%s", a, b)
	}
	// Without the rights, the flags are lost.
	res, err = bob.CopyFrom(ann, from.ID, uids[:3], to.ID, true, RightInsert|RightSeen, goOn)
	if err != nil || !slices.Equal(res.From, uids[:3]) {
		t.Fatal(res, err)
	}
	if got := bodiesOf(t, bob, to.ID)[250:]; !strings.Contains(got[1], `[\Seen]`) || !strings.Contains(got[2], `[\Seen]`) {
		t.Errorf("flags of copies: %s", got)
	}
	if n := inbox(t, ann).Messages; n != 247 {
		t.Errorf("%d messages left after the move", n)
	}
	// Refused, given up and in vain: nothing is left.
	if err := st.SetAccountSetting(bob.ID(), SettingQuotaMessages, "260"); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.CopyFrom(ann, from.ID, uids[3:], to.ID, false, AllRights, goOn); !errors.Is(err, ErrOverQuota) {
		t.Errorf("over quota: %v", err)
	}
	n := 0
	stop := errors.New("gone")
	if _, err := bob.CopyFrom(ann, from.ID, uids[100:107], to.ID, true, AllRights, func() error {
		if n++; n > 4 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Errorf("given up: %v", err)
	}
	if res, err := bob.CopyFrom(ann, from.ID, uids[:3], to.ID, false, AllRights, goOn); err != nil || len(res.To) != 0 {
		t.Errorf("messages that are gone: %v %v", res, err)
	}
	if inbox(t, bob).Messages != 253 || inbox(t, ann).Messages != 247 || !noIntents(t, bob) {
		t.Errorf("left: %d and %d messages, or an intent", inbox(t, bob).Messages, inbox(t, ann).Messages)
	}
	sound(t, ann)
	sound(t, bob)
}

// TestCopyFromMany: more than one transaction takes.
func TestCopyFromMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, ann, bob := twoAccounts(t, dir)
	defer st.Close()
	box := inbox(t, ann)
	uid := appendTo(t, ann, box.ID, message(1))
	uids := []imap.UID{uid}
	for len(uids) < 5200 { // copies of one are cheap to make
		res, err := ann.Copy(box.ID, uids, box.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, res.To...)
	}
	uids = uids[:5200]
	res, err := bob.CopyFrom(ann, box.ID, uids, inbox(t, bob).ID, false, AllRights, goOn)
	if err != nil || len(res.To) != 5200 {
		t.Fatal(len(res.To), err)
	}
	res, err = bob.CopyFrom(ann, box.ID, uids, inbox(t, bob).ID, true, AllRights, goOn)
	if err != nil || len(res.To) != 5200 || inbox(t, bob).Messages != 10400 || !noIntents(t, bob) {
		t.Fatal(len(res.To), inbox(t, bob).Messages, err)
	}
	if left := liveUIDs(t, ann, box.ID); slices.Contains(left, uids[0]) || slices.Contains(left, uids[5199]) {
		t.Error("moved messages are still there")
	}
	sound(t, ann)
	sound(t, bob)
}

// TestMoveEndsAtOpen: a crash between the two accounts' commits ends with the
// next open; one before, in nothing.
func TestMoveEndsAtOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, ann, bob := twoAccounts(t, dir)
	for i := range 4 {
		appendTo(t, ann, inbox(t, ann).ID, message(i))
	}
	uids := liveUIDs(t, ann, inbox(t, ann).ID)
	half := func(uids []imap.UID, show bool) {
		tr := &transfer{dst: bob, src: ann, from: inbox(t, ann).ID, to: inbox(t, bob).ID, move: true, rights: AllRights, goOn: goOn}
		if err := errors.Join(tr.begin(uids), tr.stageAll(uids)); err != nil {
			t.Fatal(err)
		}
		if show {
			if err := bob.do(&showRequest{t: tr}); err != nil {
				t.Fatal(err)
			}
		}
	}
	half(uids[:2], true)
	half(uids[2:], false)
	if inbox(t, ann).Messages != 4 || inbox(t, bob).Messages != 2 {
		t.Fatal("not half done")
	}
	sound(t, bob) // what is staged is under its intent
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, ann, bob = twoAccounts(t, dir)
	defer st.Close()
	waitFinished(t, bob)
	if a, b := inbox(t, ann).Messages, inbox(t, bob).Messages; a != 2 || b != 2 {
		t.Errorf("%d and %d messages", a, b)
	}
	sound(t, ann)
	sound(t, bob)
}

func waitFinished(t testing.TB, a *Account) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !noIntents(t, a); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the move is not finished")
		}
	}
}

const moveWorker = "NESTBOX_TEST_MOVE_WORKER"

// TestMoveKilled: a process that moves messages between two accounts, to and
// fro, is killed at any moment. Each message is in one of them then.
func TestMoveKilled(t *testing.T) {
	if dir := os.Getenv(moveWorker); dir != "" {
		moveForever(t, dir)
		return
	}
	t.Parallel()
	const messages = 60
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, ann, _ := twoAccounts(t, dir)
	for i := range messages {
		appendTo(t, ann, inbox(t, ann).ID, message(i))
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	both := 0
	for range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMoveKilled$")
		cmd.Env = append(os.Environ(), moveWorker+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100*time.Millisecond + time.Duration(rand.IntN(200))*time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		st, ann, bob := twoAccounts(t, dir)
		if inbox(t, ann).Messages+inbox(t, bob).Messages > messages {
			both++
		}
		waitFinished(t, ann)
		waitFinished(t, bob)
		all := append(bodiesOf(t, ann, inbox(t, ann).ID), bodiesOf(t, bob, inbox(t, bob).ID)...)
		slices.Sort(all)
		if n := len(all); n != messages || len(slices.Compact(all)) != messages {
			t.Errorf("%d messages, want each of %d once", n, messages)
		}
		sound(t, ann)
		sound(t, bob)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("of %d kills, %d between the two commits", rounds, both)
}

func moveForever(t *testing.T, dir string) {
	_, ann, bob := twoAccounts(t, dir)
	for i := 0; ; i++ {
		src, dst := ann, bob
		if i%2 == 1 {
			src, dst = bob, ann
		}
		from, to := inbox(t, src).ID, inbox(t, dst).ID
		uids := liveUIDs(t, src, from)
		for part := range slices.Chunk(uids, 1+rand.IntN(30)) {
			if _, err := dst.CopyFrom(src, from, part, to, true, AllRights, goOn); err != nil {
				t.Fatal(err)
			}
		}
	}
}
