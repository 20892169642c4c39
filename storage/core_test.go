package storage

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// openTest makes a data folder with one account.
func openTest(t testing.TB) (*Store, *Account) {
	t.Helper()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	info, err := st.CreateAccount("ann", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	return st, a
}

func upload(t testing.TB, a *Account, text string) *Upload {
	t.Helper()
	u, err := a.NewUpload(int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, text); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	return u
}

func message(n int) string {
	return fmt.Sprintf("From: ann@example.org\r\nSubject: message %d\r\nMessage-ID: <%d@example.org>\r\n\r\nbody %d\r\n", n, n, n)
}

func appendTo(t testing.TB, a *Account, id MailboxID, text string, flags ...imap.Flag) imap.UID {
	t.Helper()
	res, err := a.Append(id, []NewMessage{{Upload: upload(t, a, text), Flags: flags}})
	if err != nil {
		t.Fatal(err)
	}
	return res.UIDs[0]
}

func sound(t testing.TB, a *Account) {
	t.Helper()
	findings, err := a.Check()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Errorf("check: %s", f)
	}
}

func inbox(t testing.TB, a *Account) Mailbox {
	t.Helper()
	m, err := a.MailboxByName("inbox")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNewAccountHasItsMailboxes(t *testing.T) {
	_, a := openTest(t)
	all, err := a.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, fmt.Sprint(m.Name, m.SpecialUse))
		if m.UIDNext != 1 || m.HighestModSeq == 0 || m.UIDValidity == 0 {
			t.Errorf("%s: %+v", m.Name, m)
		}
	}
	want := []string{`Archive[\Archive]`, `Drafts[\Drafts]`, "INBOX[]", `Junk[\Junk]`, `Sent[\Sent]`, `Trash[\Trash]`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	sound(t, a)
}

func TestAppendReadBack(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	var m Mailbox
	for i := range 20 {
		uid := appendTo(t, a, box.ID, message(i), imap.FlagSeen, "$Label")
		m = inbox(t, a)
		rows, err := a.Rows(m.Space, []imap.UID{uid}, nil)
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		b, err := a.OpenBlob(rows[0].Blob)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if _, err := b.WriteRange(&got, 0, b.Size()); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if got.String() != message(i) {
			t.Fatalf("got %q", got.String())
		}
		if names := m.FlagNames(rows[0].Flags); !slices.Equal(names, []imap.Flag{imap.FlagSeen, "$Label"}) {
			t.Error(names)
		}
	}
	if m.Messages != 20 || m.Unseen != 0 || m.UIDNext != 21 {
		t.Errorf("%+v", m)
	}
	sound(t, a)
}

func TestSameBytesAreStoredOnce(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	appendTo(t, a, box.ID, message(1))
	rows, err := a.Rows(box.Space, []imap.UID{1, 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rows[0].Blob != rows[1].Blob || rows[0].Email != rows[1].Email || rows[0].Thread != rows[1].Thread {
		t.Errorf("%+v", rows)
	}
	sound(t, a)
}

func TestReplyJoinsThread(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	head := func(id, refs string) string {
		return "Message-ID: <" + id + ">\r\n" + refs + "\r\nx\r\n"
	}
	appendTo(t, a, box.ID, head("b@x", "References: <a@x>\r\n"))
	appendTo(t, a, box.ID, head("c@x", "References: <a@x>\r\n")) // sibling: only a is common
	appendTo(t, a, box.ID, head("a@x", ""))                      // the original comes last
	appendTo(t, a, box.ID, head("d@x", "In-Reply-To: <b@x>\r\n"))
	appendTo(t, a, box.ID, head("e@x", ""))
	rows, err := a.Rows(box.Space, []imap.UID{1, 2, 3, 4, 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if rows[i].Thread != rows[0].Thread {
			t.Errorf("message %d is in thread %s, not %s", i+1, rows[i].Thread, rows[0].Thread)
		}
	}
	if rows[4].Thread == rows[0].Thread {
		t.Error("an unrelated message joined")
	}
}

func TestFlagsAreJournaledAndFolded(t *testing.T) {
	st, a := openTest(t)
	box := inbox(t, a)
	for i := range 10 {
		appendTo(t, a, box.ID, message(i))
	}
	before := inbox(t, a)
	res, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{3, 4, 99}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen, imap.FlagDeleted}})
	if err != nil {
		t.Fatal(err)
	}
	if res.ModSeq <= before.HighestModSeq || len(res.Changed) != 2 {
		t.Errorf("%+v", res)
	}
	if a.f.overlay.len() != 2 {
		t.Error("not in the journal")
	}
	expect := func() {
		t.Helper()
		m, changes, more, err := a.Changes(box.ID, before.HighestModSeq, 0, make([]Change, 0, 10))
		if err != nil || more || m.HighestModSeq != res.ModSeq || m.Unseen != 8 || m.Deleted != 2 {
			t.Fatalf("%+v %v %v", m, more, err)
		}
		want := []Change{{UID: 3, Last: 3, ModSeq: res.ModSeq, Flags: FlagSeen | FlagDeleted}, {UID: 4, Last: 4, ModSeq: res.ModSeq, Flags: FlagSeen | FlagDeleted}}
		if !reflect.DeepEqual(changes, want) {
			t.Fatalf("%+v", changes)
		}
	}
	expect()
	sound(t, a)
	dir, id := st.dir, a.id
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if a, err = again.Account(id); err != nil {
		t.Fatal(err)
	}
	expect()
	if a.f.overlay.len() != 2 {
		t.Error("the journal was not replayed")
	}
	sound(t, a)
	if err := a.fold(); err != nil {
		t.Fatal(err)
	}
	expect()
	if a.f.overlay.len() != 0 {
		t.Error("not folded")
	}
	sound(t, a)
}

func TestUnchangedSince(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	appendTo(t, a, box.ID, message(2))
	since := inbox(t, a).HighestModSeq
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{1}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	res, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{1, 2}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagFlagged}, UnchangedSince: since, HasUnchangedSince: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(res.Modified, []imap.UID{1}) || len(res.Changed) != 1 || res.Changed[0].UID != 2 {
		t.Errorf("%+v", res)
	}
}

func TestKeywordLimit(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	uid := appendTo(t, a, box.ID, message(1))
	var flags []imap.Flag
	for i := range MaxKeywords {
		flags = append(flags, imap.Flag(fmt.Sprintf("k%d", i)))
	}
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: StoreAdd, Flags: flags}); err != nil {
		t.Fatal(err)
	}
	_, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: StoreAdd, Flags: []imap.Flag{"more"}})
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Fatal(err)
	}
	sound(t, a)
}

func TestRenameInbox(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	for i := range 3 {
		appendTo(t, a, box.ID, message(i))
	}
	before := inbox(t, a)
	if err := a.RenameMailbox("Inbox", "Old/Mail"); err != nil {
		t.Fatal(err)
	}
	after := inbox(t, a)
	old, err := a.MailboxByName("Old/Mail")
	if err != nil {
		t.Fatal(err)
	}
	if after.ID != before.ID || after.UIDNext != 4 || after.Messages != 0 || after.UIDValidity != before.UIDValidity {
		t.Errorf("%+v", after)
	}
	if old.ID == before.ID || old.Messages != 3 || old.UIDValidity <= before.UIDValidity {
		t.Errorf("%+v", old)
	}
	_, changes, _, err := a.Changes(box.ID, before.HighestModSeq, 0, nil)
	if err != nil || len(changes) != 1 || !changes[0].Expunged || changes[0].UID != 1 || changes[0].Last != 3 {
		t.Errorf("%+v %v", changes, err)
	}
	sound(t, a)
}

func TestRenameTreeAndDeleteParent(t *testing.T) {
	_, a := openTest(t)
	for _, name := range []string{"a", "a/b", "a/b/c", "ab"} {
		if _, err := a.CreateMailbox(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.RenameMailbox("a", "a/x"); err == nil {
		t.Error("renamed into itself")
	}
	if err := a.RenameMailbox("a", "z"); err != nil {
		t.Fatal(err)
	}
	if err := a.DeleteMailbox("z/b"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"z": nil, "z/b": ErrNoMailbox, "z/b/c": nil, "ab": nil, "a": ErrNoMailbox} {
		if _, err := a.MailboxByName(name); err != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.RenameMailbox("z/b", "y"); err != nil { // a name without a mailbox
		t.Error(err)
	}
	if _, err := a.MailboxByName("y/c"); err != nil {
		t.Error(err)
	}
	sound(t, a)
}

func TestBigCopyMoveStoreExpunge(t *testing.T) {
	_, a := openTest(t)
	box, n := inbox(t, a), 2*sliceRows+300
	appendTo(t, a, box.ID, message(1), "$A")
	uids := []imap.UID{1}
	for len(uids) < n { // doubling by COPY
		res, err := a.Copy(box.ID, uids[:min(len(uids), n-len(uids))], box.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, res.To...)
	}
	arch, err := a.MailboxByName("Archive")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Copy(box.ID, uids, arch.ID, false); err != nil {
		t.Fatal(err)
	}
	sound(t, a)
	if _, err := a.Copy(box.ID, uids, arch.ID, true); err != nil {
		t.Fatal(err)
	}
	sound(t, a)
	arch, _ = a.Mailbox(arch.ID)
	if int(arch.Messages) != 2*n || inbox(t, a).Messages != 0 {
		t.Fatalf("%d messages, want %d", arch.Messages, 2*n)
	}
	all, err := a.UIDs(arch.Space, 1, arch.UIDNext, make([]imap.UID, 0, 2*n+1))
	if err != nil || len(all) != 2*n {
		t.Fatal(len(all), err)
	}
	res, err := a.StoreFlags(arch.ID, StoreRequest{UIDs: all, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagDeleted}})
	if err != nil || len(res.Changed) != 2*n {
		t.Fatal(len(res.Changed), err)
	}
	sound(t, a)
	ex, err := a.Expunge(arch.ID, nil)
	if err != nil || len(ex.UIDs) != 2*n {
		t.Fatal(len(ex.UIDs), err)
	}
	sound(t, a)
	if rows, err := a.Rows(arch.Space, []imap.UID{7}, nil); err != nil || len(rows) != 1 || !rows[0].Expunged {
		t.Errorf("kept row: %+v %v", rows, err)
	}
}

func TestRecentBelongsToTheFirst(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	if first := a.ClaimRecent(&box); first != 1 { // knows no message yet
		t.Error(first)
	}
	box = inbox(t, a)
	for i, want := range []imap.UID{1, 2, 2} {
		if first := a.ClaimRecent(&box); first != want {
			t.Errorf("claim %d: %d", i, first)
		}
	}
	appendTo(t, a, box.ID, message(2))
	box = inbox(t, a)
	if first := a.PeekRecent(&box); first != 2 {
		t.Error(first)
	}
	if box.RecentUID != 1 {
		t.Errorf("the mark was not written with the commit: %d", box.RecentUID)
	}
}

type wakeCount struct {
	mu sync.Mutex
	n  int
}

func (w *wakeCount) Wake() { w.mu.Lock(); w.n++; w.mu.Unlock() }

func TestWatchersAreWoken(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	w := new(wakeCount)
	stop := a.Watch(box.ID, w)
	uid := appendTo(t, a, box.ID, message(1))
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{uid}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	stop()
	appendTo(t, a, box.ID, message(2))
	if w.n != 2 {
		t.Errorf("woken %d times", w.n)
	}
}

func TestGroupCommitManyWriters(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 25 {
				u, err := a.NewUpload(-1)
				if err == nil {
					io.WriteString(u, message(c*1000+i))
					err = u.Close()
				}
				if err == nil {
					_, err = a.Append(box.ID, []NewMessage{{Upload: u, Date: time.Unix(1e9, 0)}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	if m := inbox(t, a); m.Messages != 200 || m.UIDNext != 201 {
		t.Errorf("%+v", m)
	}
	sound(t, a)
}

// TestModel does random work and compares with a map after each step.
func TestModel(t *testing.T) {
	st, a := openTest(t)
	dir, id := st.dir, a.id
	r := rand.New(rand.NewSource(4))
	boxes := []string{"INBOX", "Archive"}
	model := map[string]map[imap.UID][]imap.Flag{"INBOX": {}, "Archive": {}}
	get := func(name string) Mailbox {
		m, err := a.MailboxByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	pick := func(name string) (uids []imap.UID) {
		for uid := range model[name] {
			if r.Intn(3) == 0 {
				uids = append(uids, uid)
			}
		}
		slices.Sort(uids)
		return uids
	}
	flags := []imap.Flag{imap.FlagSeen, imap.FlagDeleted, imap.FlagFlagged, "$One", "Two"}
	steps := 400
	if testing.Short() {
		steps = 100
	}
	for step := range steps {
		name, other := boxes[r.Intn(2)], boxes[r.Intn(2)]
		m := get(name)
		switch r.Intn(6) {
		case 0, 1:
			f := flags[r.Intn(len(flags))]
			model[name][appendTo(t, a, m.ID, message(r.Intn(50)), f)] = []imap.Flag{f}
		case 2, 3:
			f := flags[r.Intn(len(flags))]
			uids := pick(name)
			if _, err := a.StoreFlags(m.ID, StoreRequest{UIDs: uids, Mode: StoreReplace, Flags: []imap.Flag{f}}); err != nil {
				t.Fatal(err)
			}
			for _, uid := range uids {
				model[name][uid] = []imap.Flag{f}
			}
		case 4:
			res, err := a.Expunge(m.ID, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, uid := range res.UIDs {
				if !slices.Equal(model[name][uid], []imap.Flag{imap.FlagDeleted}) {
					t.Fatalf("step %d: UID %d expunged with %v", step, uid, model[name][uid])
				}
				delete(model[name], uid)
			}
		case 5:
			move := r.Intn(2) == 0
			res, err := a.Copy(m.ID, pick(name), get(other).ID, move)
			if err != nil {
				t.Fatal(err)
			}
			for i, uid := range res.From {
				model[other][res.To[i]] = model[name][uid]
				if move {
					delete(model[name], uid)
				}
			}
		}
		if r.Intn(20) == 0 {
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			var err error
			if st, err = Open(dir, Options{Version: "test", NoSync: true}); err != nil {
				t.Fatal(err)
			}
			if a, err = st.Account(id); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range boxes {
			m := get(name)
			uids, err := a.UIDs(m.Space, 1, m.UIDNext, make([]imap.UID, 0, 5000))
			if err != nil || len(uids) != len(model[name]) || int(m.Messages) != len(uids) {
				t.Fatalf("step %d: %d messages, want %d (%v)", step, len(uids), len(model[name]), err)
			}
			rows, err := a.Rows(m.Space, uids, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if !slices.Equal(m.FlagNames(row.Flags), model[name][row.UID]) {
					t.Fatalf("step %d: UID %d has %v, want %v", step, row.UID, m.FlagNames(row.Flags), model[name][row.UID])
				}
			}
		}
		if step%10 == 0 {
			sound(t, a)
			if t.Failed() {
				t.Fatalf("step %d", step)
			}
		}
	}
	st.Close()
}
