package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// portableScene has two accounts with what a stream must carry.
func portableScene(t *testing.T) (*Store, *Account) {
	t.Helper()
	st, a := openHooks(t, hooks{volume: 1 << 20, firstBodies: 128 << 10})
	random := rand.New(rand.NewSource(4))
	box := inbox(t, a)
	for i := range 25 {
		appendTo(t, a, box.ID, largeMessage(random, i, 100+i*4000), imap.FlagFlagged, "$Label")
	}
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{3, 4, 5, 12}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen, imap.FlagDeleted}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Expunge(box.ID, []imap.UID{4, 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.CreateMailbox("Böxes/One", imap.MailboxAttrFlagged); err != nil {
		t.Fatal(err)
	}
	sub, err := a.MailboxByName("Böxes/One")
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, a, sub.ID, message(1)) // twice the same bytes
	appendTo(t, a, sub.ID, message(1))
	if _, err := a.Copy(box.ID, []imap.UID{7, 9}, sub.ID, false); err != nil {
		t.Fatal(err)
	}
	if err := a.Subscribe("Böxes/One", true); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.DeleteMailbox("Junk"), a.Subscribe("Sent", false), st.AddDomain("example.org"),
		st.AddAddress(a.id, "Ann@example.org"), st.SetSetting("kept_days", "3"), st.SetCredential(a.id, []byte("secret"))); err != nil {
		t.Fatal(err)
	}
	bob, err := st.CreateAccount("bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	annotate(t, a, sub.ID, Annotation{Entry: "/shared/Comment", Value: []byte("of the box\x00")}, Annotation{Entry: "/private/comment", Login: bob.ID, Value: []byte{}})
	annotate(t, a, box.ID, Annotation{Entry: "/private/vendor/x/big", Login: a.id, Value: make([]byte, MaxAnnotation)})
	annotate(t, a, MailboxID{}, Annotation{Entry: "/private/vendor/x/of-mine", Login: a.id, Value: []byte("1")})
	return st, a
}

func portableOf(t *testing.T, st *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := st.WritePortable(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if notes, err := CheckPortable(bytes.NewReader(b.Bytes())); err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
	return b.Bytes()
}

// properties is what clients see of the mailboxes, without what a restore
// makes anew.
func properties(t *testing.T, a *Account) string {
	t.Helper()
	var b strings.Builder
	boxes, err := a.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range boxes {
		fmt.Fprintln(&b, annotationsOf(t, a, m.ID))
		m.ID, m.Space, m.UIDValidity, m.HighestModSeq, m.Floor, m.FirstUnseen = MailboxID{}, 0, 0, 0, 0, 0
		fmt.Fprintf(&b, "%+v\n", m)
	}
	subs, err := a.Subscriptions()
	if err != nil {
		t.Fatal(err)
	}
	return b.String() + annotationsOf(t, a, MailboxID{}) + fmt.Sprint(subs)
}

func TestPortable(t *testing.T) {
	st, a := portableScene(t)
	stream := portableOf(t, st)
	to := filepath.Join(t.TempDir(), "new")
	r, err := RestorePortable(t.Context(), bytes.NewReader(stream), to, Options{NoSync: true})
	if err != nil || len(r.Findings) > 0 || r.Accounts != 2 || r.Messages != 27 {
		t.Fatalf("%v, %+v", err, r)
	}
	restored, err := Open(to, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	info, err := restored.FindAccount("ann@EXAMPLE.org")
	if err != nil || info.Name != "ann" {
		t.Fatal(info, err)
	}
	b, err := restored.Account(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	sameContents(t, contents(t, b), contents(t, a))
	if got, want := properties(t, b), properties(t, a); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	_, highest := validities(t, a)
	now, _ := validities(t, b)
	for name, v := range now {
		if v <= highest {
			t.Errorf("%s: UIDVALIDITY %d is not above %d", name, v, highest)
		}
	}
	if c, err := restored.Credential(info.ID); err != nil || string(c) != "secret" {
		t.Errorf("credential %q, %v", c, err)
	}
	if v, _, err := restored.Setting("kept_days"); err != nil || v != "3" {
		t.Errorf("setting %q, %v", v, err)
	}
	if inbox(t, b).HighestModSeq <= inbox(t, a).HighestModSeq {
		t.Error("MODSEQ went back")
	}
	// A stream of the restored folder says the same, but for larger numbers.
	again := portableOf(t, restored)
	if len(again) < len(stream) || len(again) > len(stream)+200 {
		t.Errorf("a stream of the restored data has %d octets, the first had %d", len(again), len(stream))
	}
}

// No part of a stream can be missing, changed or out of place without being
// noticed, and nothing is restored then.
func TestPortableDamaged(t *testing.T) {
	st, _ := portableScene(t)
	stream := portableOf(t, st)
	var starts []int // of records
	for at := len(portableMagic); at < len(stream); {
		starts = append(starts, at)
		at += 5 + int(binary.LittleEndian.Uint32(stream[at+1:])) + 4
	}
	starts = append(starts, len(stream))
	random := rand.New(rand.NewSource(5))
	try := func(what string, b []byte) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "new")
		r, err := RestorePortable(t.Context(), bytes.NewReader(b), to, Options{NoSync: true})
		if err == nil {
			t.Errorf("%s: restored, %+v", what, r)
		}
		if entries, _ := os.ReadDir(to); len(entries) > 0 {
			t.Errorf("%s: %d things are in the folder after %v", what, len(entries), err)
		}
		if _, err := CheckPortable(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: the check found nothing", what)
		}
	}
	for range 25 {
		try("cut off", stream[:random.Intn(len(stream))])
		b := bytes.Clone(stream)
		at := random.Intn(len(b))
		b[at] ^= 1 << random.Intn(8)
		try(fmt.Sprintf("a flipped bit at %d", at), b)
	}
	n := len(starts) - 1
	for range 8 {
		i := 1 + random.Intn(n-1)
		try(fmt.Sprintf("without record %d of %d", i, n), append(bytes.Clone(stream[:starts[i]]), stream[starts[i+1]:]...))
	}
	try("with a tail", append(bytes.Clone(stream), 'x'))
	try("twice", append(bytes.Clone(stream), stream...))
	try("empty", nil)
	newer := bytes.Clone(stream)
	newer[len(portableMagic)+5+2] = 9
	head := newer[len(portableMagic):]
	size := int(binary.LittleEndian.Uint32(head[1:]))
	binary.LittleEndian.PutUint32(head[5+size:], portableSum(0, head[:5], head[5:5+size]))
	_, err := CheckPortable(bytes.NewReader(newer))
	var format *FormatError
	if !errors.As(err, &format) || format.MinReader != 9 {
		t.Errorf("a later stream: %v", err)
	}
}
