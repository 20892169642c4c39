package storage

import (
	"fmt"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	bolt "go.etcd.io/bbolt"
)

// validities lists the UIDVALIDITY of each mailbox, and the highest.
func validities(t *testing.T, a *Account) (all map[string]uint32, highest uint32) {
	t.Helper()
	boxes, err := a.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	all = map[string]uint32{}
	for _, m := range boxes {
		all[m.Name] = m.UIDValidity
		highest = max(highest, m.UIDValidity)
	}
	return all, highest
}

func TestRenewValidity(t *testing.T) {
	_, a := openTest(t)
	box := inbox(t, a)
	appendTo(t, a, box.ID, message(1))
	appendTo(t, a, box.ID, message(2))
	// A flag change in the journal, which the renewal must not forget.
	if _, err := a.StoreFlags(box.ID, StoreRequest{UIDs: []imap.UID{2}, Mode: StoreAdd, Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	old, _ := validities(t, a)
	past := highWater{Validity: uint32(time.Now().Unix()) + 100_000, ModSeq: inbox(t, a).HighestModSeq + 5000}
	if err := a.renewValidity(past); err != nil {
		t.Fatal(err)
	}
	now, _ := validities(t, a)
	seen := map[uint32]bool{}
	for name, v := range now {
		if v <= past.Validity || v <= old[name] || seen[v] {
			t.Errorf("%s has UIDVALIDITY %d, before %d, elsewhere up to %d", name, v, old[name], past.Validity)
		}
		seen[v] = true
	}
	after := inbox(t, a)
	if after.HighestModSeq <= past.ModSeq || after.Messages != 2 || after.Unseen != 1 || after.UIDNext != 3 || after.ID == box.ID {
		t.Errorf("%+v", after)
	}
	made, err := a.CreateMailbox("later")
	if err != nil || made.UIDValidity <= past.Validity+uint32(len(now)) {
		t.Errorf("%+v, %v", made, err)
	}
	sound(t, a)
	if err := a.renewValidity(highWater{Validity: 1<<32 - 3}); err == nil {
		t.Error("a UIDVALIDITY that leaves none above it was taken")
	}
	sound(t, a)
}

// A crash between two transactions of a renewal: the next open finishes it.
func TestRenewalGoesOnAtOpen(t *testing.T) {
	st, a := openTest(t)
	for i := range renewSlice + 20 {
		if _, err := a.CreateMailbox(fmt.Sprint("box", i)); err != nil {
			t.Fatal(err)
		}
	}
	old, highest := validities(t, a)
	if err := a.exec(func(f *files) error { return f.beginRenewal(highWater{}) }); err != nil {
		t.Fatal(err)
	}
	dir, id := st.dir, a.id
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if a, err = st.Account(id); err != nil {
		t.Fatal(err)
	}
	now, _ := validities(t, a)
	if len(now) != len(old) {
		t.Errorf("%d mailboxes, were %d", len(now), len(old))
	}
	for name, v := range now {
		if v <= highest {
			t.Fatalf("%s: UIDVALIDITY %d is not above %d", name, v, highest)
		}
	}
	err = a.read(func(_ *files, tx *bolt.Tx) error {
		if tx.Bucket(bucketMeta).Get([]byte("renew")) != nil {
			t.Error("the renewal is still noted")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, a)
}
