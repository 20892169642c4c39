package storage

import (
	"errors"
	"fmt"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func shareNames(t *testing.T, st *Store, p *Principal, need Rights) (names string) {
	t.Helper()
	all, err := st.Shares(p, need)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range all {
		names += info.Name + " "
	}
	return names
}

// TestShares: the index says of each account to whom its mailboxes grant
// something, no more when a grant is gone, and all of it again when system.db
// was put back from before.
func TestShares(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, ann, bob := twoAccounts(t, dir)
	team, err := st.CreateSharedAccount("team")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := st.Account(team.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.SetGroup(bob.ID(), "$Crew", true); err != nil {
		t.Fatal(err)
	}
	who := func() *Principal {
		p, err := st.Principal(bob.ID())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	change := func(a *Account, c ACLChange) {
		t.Helper()
		if err := a.ChangeACL(inbox(t, a).ID, c); err != nil {
			t.Fatal(err)
		}
	}
	want := func(l, r string) {
		t.Helper()
		if got := shareNames(t, st, who(), RightLookup); got != l {
			t.Errorf("to look up: %q, want %q", got, l)
		}
		if got := shareNames(t, st, who(), RightRead); got != r {
			t.Errorf("to read: %q, want %q", got, r)
		}
	}
	want("", "")
	change(shared, ACLChange{Who: "$crew", Rights: RightLookup})
	change(ann, ACLChange{Who: AccountIdentifier(bob.ID()), Rights: RightRead})
	change(ann, ACLChange{Who: "-anyone", Rights: RightLookup})
	change(bob, ACLChange{Who: Anyone, Rights: AllRights}) // its own
	want("team ", "ann ")
	change(ann, ACLChange{Who: AccountIdentifier(bob.ID()), Mode: StoreAdd, Rights: RightLookup})
	want("ann team ", "ann ")
	change(ann, ACLChange{Who: AccountIdentifier(bob.ID()), Mode: StoreRemove, Rights: RightRead})
	want("ann team ", "")
	if err := st.SetGroup(bob.ID(), "crew", false); err != nil {
		t.Fatal(err)
	}
	want("ann ", "")
	change(ann, ACLChange{Who: AccountIdentifier(bob.ID()), Remove: true})
	want("", "")

	// A mailbox below inherits, and keeps the grant in the index when it is
	// taken from the one above.
	change(shared, ACLChange{Who: Anyone, Rights: RightLookup | RightRead})
	if _, err := shared.CreateMailbox("Top"); err != nil {
		t.Fatal(err)
	}
	change(shared, ACLChange{Who: Anyone, Remove: true})
	want("team ", "team ")
	// The index is lost: an account that is opened brings its own.
	if err := st.update(func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketShares) }); err != nil {
		t.Fatal(err)
	}
	want("", "")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, err = Open(dir, Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if shared, err = st.Account(team.ID); err != nil {
		t.Fatal(err)
	}
	sound(t, shared)
	want("team ", "team ")
	// Nobody logs in to a shared account.
	if _, err := st.Login(team.ID, nil); !errors.Is(err, ErrNoAccount) {
		t.Errorf("login: %v", err)
	}
}

// TestRightsText: the rights of RFC 2086 stand for their members, and are told
// when one of these is there (RFC 4314 §2.1.1).
func TestRightsText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, out string }{
		{"", ""}, {"lr", "lr"}, {"lrswida", "lrswitead"}, {"k", "kc"}, {"c", "kxc"}, {"e", "ed"}, {"lrswipkxtea", "lrswipkxteacd"}, {"xx", "xc"},
	} {
		r, err := ParseRights(c.in)
		if err != nil || r.String() != c.out {
			t.Errorf("%q: %q %v, want %q", c.in, r, err, c.out)
		}
	}
	for _, in := range []string{"q", "L", "l r", "0", "+l"} {
		if r, err := ParseRights(in); err == nil {
			t.Errorf("%q: %q", in, r)
		}
	}
}

// TestACLRow: an ACL survives in the row, to its limit.
func TestACLRow(t *testing.T) {
	t.Parallel()
	st, a := openTest(t)
	box := inbox(t, a)
	for i := range maxACL {
		if err := a.ChangeACL(box.ID, ACLChange{Who: Identifier(fmt.Sprintf("$g%d", i)), Rights: Rights(i%int(AllRights) + 1)}); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			// The other writes of the row keep it.
			appendTo(t, a, box.ID, message(1))
		}
	}
	var limit *LimitError
	if err := a.ChangeACL(box.ID, ACLChange{Who: "$more", Rights: RightRead}); !errors.As(err, &limit) {
		t.Errorf("one more: %v", err)
	}
	got := inbox(t, a).ACL
	if len(got) != maxACL || got.Get("$g5") != 6 {
		t.Errorf("%d entries, %v", len(got), got.Get("$g5"))
	}
	p := &Principal{Account: "x", Groups: []string{"g0", "g1"}} // l, r
	if r := got.Rights(p); r != RightLookup|RightRead {
		t.Errorf("rights: %q", r)
	}
	if r := (ACL{{Anyone, AllRights}, {"-$g1", RightRead | RightAdmin}}).Rights(p); r != AllRights&^(RightRead|RightAdmin) {
		t.Errorf("with a negative entry: %q", r)
	}
	sound(t, a)
	_ = st
}
