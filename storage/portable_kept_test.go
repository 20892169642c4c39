package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// keptText is what could be restored, with the bytes' ids.
func keptText(t *testing.T, a *Account) string {
	t.Helper()
	var lines []string
	for _, moved := range []bool{false, true} {
		must(t, a.Kept(t.Context(), KeptFilter{Moved: moved}, func(page []KeptMessage) error {
			for _, m := range page {
				lines = append(lines, fmt.Sprintln(m.Mailbox, m.Gone, m.Moved, m.Expunged.Unix(), m.Flags, m.Row.UID, m.Row.Email, m.Row.Size, m.Row.Date, m.Row.SaveDate))
			}
			return nil
		}))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// portableKeptScene has expunged messages of all kinds, and a deleted account.
func portableKeptScene(t *testing.T) (*Store, *Account) {
	t.Helper()
	st, a, _ := keptStore(t)
	random := rand.New(rand.NewSource(6))
	box := inbox(t, a)
	for i := range 12 {
		appendTo(t, a, box.ID, largeMessage(random, i, 100+i*3000), imap.FlagFlagged, "$Label")
	}
	gone, err := a.CreateMailbox("Gone/Böx")
	must(t, err)
	appendTo(t, a, gone.ID, message(1), "$Other")
	appendTo(t, a, gone.ID, message(2))
	_, err = a.Copy(box.ID, []imap.UID{2, 7}, gone.ID, false)
	must(t, err)
	sent, err := a.MailboxByName("Sent")
	must(t, err)
	_, err = a.Copy(box.ID, []imap.UID{5}, sent.ID, true) // moved
	must(t, err)
	expungeAll(t, a, box.ID, 3, 4, 12)
	must(t, a.DeleteMailbox("Gone/Böx"))
	bob, err := st.CreateAccount("bob", []byte("of bob"))
	must(t, err)
	must(t, errors.Join(st.AddDomain("example.org"), st.AddAddress(bob.ID, "bob@example.org")))
	b := accountOf(t, st, bob.ID)
	appendTo(t, b, inbox(t, b).ID, message(5))
	appendTo(t, b, inbox(t, b).ID, message(6))
	expungeAll(t, b, inbox(t, b).ID, 1)
	must(t, st.DeleteAccount("bob"))
	return st, a
}

// Expunged messages and deleted accounts come along, and can be restored from
// the restored data.
func TestPortableKept(t *testing.T) {
	for _, settled := range []bool{false, true} {
		st, a := portableKeptScene(t)
		if settled {
			must(t, a.settleDeleted())
		}
		stream := portableOf(t, st)
		to := filepath.Join(t.TempDir(), "new")
		r, err := RestorePortable(t.Context(), bytes.NewReader(stream), to, Options{NoSync: true, Time: &testTime{wall: inTest, synced: true, known: true}})
		if err != nil || len(r.Findings) > 0 || r.Accounts != 1 || r.Messages != 9 || r.Octets == 0 {
			t.Fatalf("%v, %+v", err, r)
		}
		restored := openKept(t, to, &testTime{wall: inTest, synced: true, known: true})
		b := accountOf(t, restored, a.id)
		must(t, a.settleDeleted())
		sameContents(t, contents(t, b), contents(t, a))
		want := keptText(t, a)
		if got := keptText(t, b); got != want || strings.Count(want, "\n") != 8 {
			t.Errorf("settled %v: kept\n%swant\n%s", settled, got, want)
		}
		res, err := b.RestoreKept(t.Context(), KeptFilter{})
		if err != nil || res.Messages != 7 || !slices.Contains(res.Made, "Gone/Böx") {
			t.Errorf("%v, %+v", err, res)
		}
		info, lost, err := restored.UndeleteAccount("bob", "")
		if err != nil || len(lost) > 0 {
			t.Fatal(lost, err)
		}
		if c, err := restored.Credential(info.ID); err != nil || string(c) != "of bob" {
			t.Errorf("credential %q, %v", c, err)
		}
		bob := accountOf(t, restored, info.ID)
		if m := inbox(t, bob); m.Messages != 1 || m.UIDNext != 3 {
			t.Errorf("%+v", m)
		}
		if res, err := bob.RestoreKept(t.Context(), KeptFilter{}); err != nil || res.Messages != 1 {
			t.Errorf("%v, %+v", err, res)
		}
	}
}

// A nestbox that doesn't know the new records reads the rest: without them the
// stream is that of live mail alone, whole.
func TestPortableKeptUnknown(t *testing.T) {
	st, _ := portableKeptScene(t)
	stream := portableOf(t, st)
	out := []byte(portableMagic)
	n, kinds := uint64(0), map[byte]int{}
	for at := len(portableMagic); at < len(stream); {
		size := int(binary.LittleEndian.Uint32(stream[at+1:]))
		head, payload := bytes.Clone(stream[at:at+5]), stream[at+5:at+5+size]
		kinds[head[0]]++
		if head[0] > recordAnnotation {
			head[0] = 191 // of a later nestbox
		}
		out = append(append(out, head...), payload...)
		out = binary.LittleEndian.AppendUint32(out, portableSum(n, head, payload))
		n, at = n+1, at+5+size+4
	}
	for _, kind := range []byte{recordKeptMailbox, recordKeptBody, recordKeptMessage, deletedKind(recordHousehold), deletedKind(recordMessage), deletedKind(recordKeptMessage)} {
		if kinds[kind] == 0 {
			t.Errorf("there is no record %d among %v", kind, kinds)
		}
	}
	r, err := RestorePortable(t.Context(), bytes.NewReader(out), filepath.Join(t.TempDir(), "new"), Options{NoSync: true})
	if err != nil || r.Messages != 9 || r.Accounts != 1 {
		t.Errorf("%v, %+v", err, r)
	}
}

// An account that is brought back while it is read is there at once, and the
// stream is whole all the same and says so.
func TestPortableUndeleted(t *testing.T) {
	st, _ := portableKeptScene(t)
	var b bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) { return b.Write(p) })
	p, err := newPortableWriter(w)
	must(t, err)
	must(t, p.write(recordStream, make([]byte, 12)))
	all, err := st.DeletedAccounts()
	must(t, err)
	x := portableAccount{ctx: t.Context(), p: p}
	p.deleted = true
	a := newAccount(quietStore(st.dir), all[0].ID)
	a.dir = st.accountDir(a.id) + deletedSuffix
	end := st.readDeleted(a)
	_, err = a.Mailboxes()
	must(t, err)
	info, _, err := st.UndeleteAccount("bob", "")
	must(t, err)
	bob := accountOf(t, st, info.ID)
	appendTo(t, bob, inbox(t, bob).ID, message(8))
	if _, err := a.Mailboxes(); !errors.Is(err, ErrClosed) {
		t.Errorf("it is still read: %v", err)
	}
	end()
	must(t, x.deletedAccount(st, &all[0])) // its folder is gone
	p.deleted = false
	must(t, p.write(recordEnd, make([]byte, 8)))
	must(t, p.w.Flush())
	notes, err := CheckPortable(&b)
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "bob") {
		t.Error(notes, err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
