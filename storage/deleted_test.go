package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type testWaker chan struct{}

func (w testWaker) Wake() { w <- struct{}{} }

func wantEnded(t *testing.T, l *Login, w testWaker, why string) {
	t.Helper()
	select {
	case <-w:
	case <-time.After(10 * time.Second):
		t.Fatal("the session was not woken")
	}
	if !strings.Contains(l.Ended(), why) {
		t.Errorf("ended because %q, want %q", l.Ended(), why)
	}
	l.Close()
}

func TestLoginsEnd(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	w := make(testWaker, 1)
	login := func() *Login {
		t.Helper()
		l, err := st.Login(a.id, w)
		must(t, err)
		if l.Ended() != "" {
			t.Errorf("ended at once: %s", l.Ended())
		}
		return l
	}
	l := login()
	must(t, st.SetCredential(a.id, []byte("another")))
	wantEnded(t, l, w, "password")
	l = login()
	must(t, st.SetDisabled(a.id, true))
	wantEnded(t, l, w, "disabled")
	_, err := st.Login(a.id, w)
	wantErr(t, "login of a disabled account", err, ErrNoAccount)
	must(t, st.SetDisabled(a.id, false))
	l = login()
	must(t, st.DeleteAccount("ann"))
	wantEnded(t, l, w, "deleted")
	_, err = st.Login(a.id, w)
	wantErr(t, "login of a deleted account", err, ErrNoAccount)
	_, err = a.Mailboxes()
	wantErr(t, "reading a deleted account", err, ErrClosed)
	if len(st.logins.all) != 0 {
		t.Errorf("logins are left: %v", st.logins.all)
	}
}

func TestUndeleteAccount(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	appendTo(t, a, inbox(t, a).ID, message(1))
	must(t, errors.Join(st.AddAddress(a.id, "ann@example.org"), st.AddAddress(a.id, "a@example.org")))
	must(t, st.SetAccountSetting(a.id, SettingQuota, "100000"))
	must(t, st.DeleteAccount("ann"))
	all, err := st.DeletedAccounts()
	must(t, err)
	if len(all) != 1 || all[0].Name != "ann" || all[0].Octets == 0 || !all[0].Until.Equal(clock.Wall().Add(14*24*time.Hour)) {
		t.Errorf("deleted: %+v", all)
	}
	// Somebody else takes the name and an address.
	other, err := st.CreateAccount("ann", nil)
	must(t, err)
	must(t, st.AddAddress(other.ID, "a@example.org"))
	_, _, err = st.UndeleteAccount("ann", "")
	wantErr(t, "undelete to a name that is taken", err, ErrAccountExists)
	_, _, err = st.UndeleteAccount("otto", "")
	wantErr(t, "undelete of an unknown name", err, ErrNoDeleted)
	info, lost, err := st.UndeleteAccount("ANN", "Ann2")
	must(t, err)
	if info.ID != a.id || info.Name != "ann2" || info.Settings[SettingQuota] != "100000" || !slices.Equal(lost, []string{"a@example.org"}) {
		t.Errorf("undeleted %+v, lost %v", info, lost)
	}
	c, err := st.Credential(a.id)
	must(t, err)
	if string(c) != "verifier" {
		t.Errorf("its password is %q", c)
	}
	if addresses, err := st.Addresses(a.id); err != nil || len(addresses) != 1 || addresses[0].Address != "ann@example.org" {
		t.Errorf("addresses %+v %v", addresses, err)
	}
	a = accountOf(t, st, a.id)
	if m := inbox(t, a); m.Messages != 1 {
		t.Errorf("INBOX %+v", m)
	}
	_, _, err = st.UndeleteAccount("ann", "")
	wantErr(t, "undelete twice", err, ErrNoDeleted)
}

// Two deleted accounts of one name are told apart by their ids.
func TestUndeleteOfSeveral(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	must(t, st.DeleteAccount("ann"))
	_, err := st.CreateAccount("ann", nil)
	must(t, err)
	must(t, st.DeleteAccount("ann"))
	if _, _, err = st.UndeleteAccount("ann", ""); err == nil || !strings.Contains(err.Error(), string(a.id)) {
		t.Errorf("undelete of one of two: %v", err)
	}
	if info, _, err := st.UndeleteAccount(string(a.id), ""); err != nil || info.ID != a.id {
		t.Errorf("by id: %+v %v", info, err)
	}
}

func TestDeletedAccountExpires(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	appendTo(t, a, inbox(t, a).ID, message(1))
	must(t, st.SetAccountSetting(a.id, SettingKeptDays, "3"))
	must(t, st.DeleteAccount("ann"))
	ctx := context.Background()
	there := func(want bool) {
		t.Helper()
		must(t, st.expireDeleted(ctx))
		_, err := os.Stat(st.accountDir(a.id) + deletedSuffix)
		if all, lerr := st.DeletedAccounts(); lerr != nil || (len(all) == 1) != want || (err == nil) != want {
			t.Errorf("deleted accounts %+v (%v), folder %v, want it there: %v", all, lerr, err, want)
		}
	}
	clock.pass(71 * time.Hour)
	there(true)
	now := clock.Wall()
	clock.set(now.Add(1000*time.Hour), false) // nobody believes that
	there(true)
	clock.set(now, true)
	clock.pass(2 * time.Hour)
	there(false)
}

// A crash in the middle of an erase: what is left of the folder can't be
// brought back, and goes at the next start.
func TestEraseIsFinished(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	must(t, st.DeleteAccount("ann"))
	must(t, os.Rename(st.accountDir(a.id)+deletedSuffix, st.accountDir(a.id)+erasedSuffix))
	if _, _, err := st.UndeleteAccount("ann", ""); err == nil {
		t.Error("half an account was brought back")
	}
	dir := st.dir
	must(t, st.Close())
	st = openKept(t, dir, clock)
	if _, err := os.Stat(st.accountDir(a.id) + erasedSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	if all, err := st.DeletedAccounts(); err != nil || len(all) != 0 {
		t.Errorf("listed still: %+v %v", all, err)
	}
}

// A crash in the middle of an undelete: the account is deleted as before.
func TestUndeleteIsUndone(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	must(t, st.DeleteAccount("ann"))
	must(t, os.Rename(st.accountDir(a.id)+deletedSuffix, st.accountDir(a.id)))
	dir := st.dir
	must(t, st.Close())
	st = openKept(t, dir, clock)
	if _, _, err := st.UndeleteAccount("ann", ""); err != nil {
		t.Error(err)
	}
	if m := inbox(t, accountOf(t, st, a.id)); m.UIDNext != 1 {
		t.Errorf("%+v", m)
	}
}

func TestDeleteAccountNow(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	must(t, st.DeleteAccountNow("ann"))
	left, err := os.ReadDir(filepath.Dir(st.accountDir(a.id)))
	must(t, err)
	if all, err := st.DeletedAccounts(); err != nil || len(all) != 0 || len(left) != 0 {
		t.Errorf("left: %v %+v %v", left, all, err)
	}
}

func TestHeldAccountStays(t *testing.T) {
	t.Parallel()
	st, a, _ := keptStore(t)
	appendTo(t, a, inbox(t, a).ID, message(1))
	refused := func(what string) {
		t.Helper()
		wantErr(t, what, st.DeleteAccount("ann"), ErrHeld)
		wantErr(t, what+", now", st.DeleteAccountNow("ann"), ErrHeld)
	}
	must(t, st.SetAccountSetting(a.id, SettingHold, "true"))
	refused("account held")
	must(t, st.SetAccountSetting(a.id, SettingHold, ""))
	_, err := a.CreateMailbox("Case")
	must(t, err)
	must(t, a.SetHold("Case", true))
	refused("mailbox held")
	appendTo(t, a, mailboxOf(t, a, "Case").ID, message(2))
	must(t, a.DeleteMailbox("Case"))
	refused("deleted mailbox held")
	if all, names, err := a.Held(); all || !slices.Equal(names, []string{"Case"}) || err != nil {
		t.Errorf("held: %v %v %v", all, names, err)
	}
	must(t, a.SetHold("Case", false))
	wantKept(t, a, 1)
	must(t, st.DeleteAccount("ann"))
}

// An account whose folder is gone can be deleted, once it is not held; who does
// it is told, and its name is free.
func TestDeleteAccountWithoutFolder(t *testing.T) {
	t.Parallel()
	st, a, clock := keptStore(t)
	appendTo(t, a, inbox(t, a).ID, message(1))
	if notice, err := st.DeletionNotice("ann"); notice != "" || err != nil {
		t.Fatal(notice, err)
	}
	must(t, st.SetAccountSetting(a.id, SettingHold, "true"))
	dir := st.dir
	must(t, st.Close())
	must(t, os.RemoveAll(filepath.Join(dir, accountsFolder)))
	st = openKept(t, dir, clock)
	wantErr(t, "held", st.DeleteAccount("ann"), ErrHeld)
	must(t, st.SetAccountSetting(a.id, SettingHold, ""))
	notice, err := st.DeletionNotice("ann")
	if err != nil || !strings.Contains(notice, "is not there") {
		t.Errorf("%q %v", notice, err)
	}
	must(t, st.DeleteAccount("ann"))
	if _, err := st.FindAccount("ann"); !errors.Is(err, ErrNoAccount) {
		t.Error(err)
	}
	if _, _, err := st.UndeleteAccount("ann", ""); err == nil {
		t.Error("it came back without mail")
	}
	info, err := st.CreateAccount("ann", nil) // accounts/ is made again
	must(t, err)
	b := accountOf(t, st, info.ID)
	appendTo(t, b, inbox(t, b).ID, message(2))
	must(t, st.Close())
	st = openKept(t, dir, clock)
	must(t, st.DeleteAccountNow("ann"))
	if all, err := st.DeletedAccounts(); err != nil || len(all) != 1 {
		t.Errorf("%+v %v", all, err)
	}
}

// While the data folder is away, an account is neither deleted because its
// folder can't be seen, nor made in an empty place.
func TestFolderAwayIsNoReason(t *testing.T) {
	t.Parallel()
	st, _, _ := keptStore(t)
	away := st.dir + ".away"
	must(t, os.Rename(st.dir, away))
	must(t, os.Mkdir(st.dir, 0o700))
	wantErr(t, "deleting", st.DeleteAccount("ann"), ErrUnavailable)
	_, err := st.CreateAccount("bob", nil)
	wantErr(t, "making", err, ErrUnavailable)
	if left, err := os.ReadDir(st.dir); err != nil || len(left) > 0 {
		t.Errorf("in the empty place: %v %v", left, err)
	}
	must(t, os.Remove(st.dir))
	must(t, os.Rename(away, st.dir))

	accounts := filepath.Join(st.dir, accountsFolder)
	must(t, os.Rename(accounts, accounts+".away"))
	must(t, os.Symlink(st.dir+".other", accounts)) // a second disk, that is not mounted
	_, err = st.CreateAccount("bob", nil)
	wantErr(t, "making below a link that leads nowhere", err, ErrUnavailable)
	wantErr(t, "deleting below it", st.DeleteAccount("ann"), ErrUnavailable)
	must(t, os.Remove(accounts))
	must(t, os.Rename(accounts+".away", accounts))
}
