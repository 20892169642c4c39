package storage

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna := mustAccount(t, st, "Anna")
	bob := mustAccount(t, st, "bob@example.org")
	if anna.Name != "anna" {
		t.Errorf("name %q, want lower case", anna.Name)
	}
	if _, err := st.CreateAccount("ANNA", nil); !errors.Is(err, ErrAccountExists) {
		t.Errorf("same name again: %v", err)
	}
	for login, want := range map[string]AccountID{"anna": anna.ID, "ANNA": anna.ID, "ａｎｎａ": anna.ID, "Bob@Example.ORG": bob.ID} {
		if got, err := st.FindAccount(login); err != nil || got.ID != want {
			t.Errorf("FindAccount(%q) = %v, %v; want %s", login, got, err, want)
		}
	}
	for _, login := range []string{"", "carol", "bob", "an/na", "\x00", strings.Repeat("x", 300)} {
		if _, err := st.FindAccount(login); !errors.Is(err, ErrNoAccount) {
			t.Errorf("FindAccount(%q): %v, want ErrNoAccount", login, err)
		}
	}
	all, err := st.Accounts()
	if err != nil || !reflect.DeepEqual(all, []AccountInfo{anna, bob}) {
		t.Errorf("Accounts = %v, %v", all, err)
	}
	if err := st.SetDisabled(anna.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := st.SetExtensions(anna.ID, []string{"MOVE", "IDLE", "MOVE"}); err != nil {
		t.Fatal(err)
	}
	anna.Disabled, anna.Extensions = true, []string{"IDLE", "MOVE"}
	if got, err := st.AccountInfo(anna.ID); err != nil || !reflect.DeepEqual(got, anna) {
		t.Errorf("AccountInfo = %+v, %v; want %+v", got, err, anna)
	}
	for _, value := range []string{"5000", "6000"} {
		if err := st.SetAccountSetting(bob.ID, "quota", value); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := st.AccountInfo(bob.ID); err != nil || !reflect.DeepEqual(got.Settings, map[string]string{"quota": "6000"}) {
		t.Errorf("settings = %v, %v", got.Settings, err)
	}
	if p, err := st.profile(bob.ID); err != nil || p.Settings["quota"] != "6000" || p.Name != "bob@example.org" {
		t.Errorf("profile = %v, %v", p, err)
	}
	if err := st.SetAccountSetting(bob.ID, "quota", ""); err != nil {
		t.Fatal(err)
	}
	if got, err := st.AccountInfo(bob.ID); err != nil || got.Settings != nil {
		t.Errorf("settings = %v, %v; want none", got.Settings, err)
	}
	wantErr(t, "SetDisabled of nobody", st.SetDisabled("nobody", true), ErrNoAccount)
}

func TestRenameAccount(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna, bob := mustAccount(t, st, "anna"), mustAccount(t, st, "bob")
	if err := st.AddAddress(bob.ID, "robert@example.org"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "to another's name", st.RenameAccount("anna", "BOB"), ErrAccountExists)
	wantErr(t, "to another's address", st.RenameAccount("anna", "Robert@example.org"), ErrAddressExists)
	wantErr(t, "of nobody", st.RenameAccount("carol", "dora"), ErrNoAccount)
	var name *NameError
	if err := st.RenameAccount("anna", "a/b"); !errors.As(err, &name) {
		t.Errorf("to a bad name: %v", err)
	}
	if err := st.RenameAccount("Anna", "Anna Maria"); err != nil {
		t.Fatal(err)
	}
	if err := st.RenameAccount("bob", "robert@example.org"); err != nil {
		t.Errorf("to an own address: %v", err)
	}
	if err := st.RenameAccount("anna maria", "anna maria"); err != nil {
		t.Errorf("to the same name: %v", err)
	}
	if got, err := st.FindAccount("anna maria"); err != nil || got.ID != anna.ID {
		t.Errorf("FindAccount = %v, %v", got, err)
	}
	if _, err := st.FindAccount("anna"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("the old name still leads somewhere: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna, bob := mustAccount(t, st, "anna"), mustAccount(t, st, "bob@example.org")
	for _, a := range []string{"Anna.Bauer@Example.ORG", "jürgen@xn--mller-kva.de"} {
		if err := st.AddAddress(anna.ID, a); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "same address", st.AddAddress(bob.ID, "anna.bauer@example.org"), ErrAddressExists)
	wantErr(t, "another's name", st.AddAddress(anna.ID, "BOB@example.org"), ErrAccountExists)
	wantErr(t, "nobody's", st.AddAddress("nobody", "x@example.org"), ErrNoAccount)
	if err := st.AddAddress(bob.ID, "bob@example.org"); err != nil {
		t.Errorf("own name as an address: %v", err)
	}
	if _, err := st.CreateAccount("anna.bauer@example.org", nil); !errors.Is(err, ErrAddressExists) {
		t.Errorf("an account named like another's address: %v", err)
	}
	got, err := st.Addresses(anna.ID)
	if err != nil || len(got) != 2 || got[0].Address != "Anna.Bauer@example.org" || got[1].Address != "jürgen@müller.de" {
		t.Errorf("Addresses = %v, %v", got, err)
	}
	for _, login := range []string{"ANNA.BAUER@EXAMPLE.ORG", "Jürgen@MÜLLER.de", "jürgen@xn--mller-kva.de"} {
		if info, err := st.FindAccount(login); err != nil || info.ID != anna.ID {
			t.Errorf("FindAccount(%q) = %v, %v", login, info, err)
		}
		if a, err := st.FindAddress(login); err != nil || a.Account != anna.ID {
			t.Errorf("FindAddress(%q) = %v, %v", login, a, err)
		}
	}
	domains, err := st.Domains()
	if err != nil || !reflect.DeepEqual(domains, []string{"example.org", "müller.de"}) {
		t.Errorf("Domains = %q, %v", domains, err)
	}
	wantErr(t, "a domain in use", st.DeleteDomain("EXAMPLE.org"), ErrDomainInUse)
	if err := st.DeleteAddress("JÜRGEN@müller.de"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "deleted twice", st.DeleteAddress("jürgen@müller.de"), ErrNoAddress)
	if err := st.DeleteDomain("xn--mller-kva.de"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "no domain", st.DeleteDomain("müller.de"), ErrNoDomain)
	if err := st.AddDomain("Home.Arpa."); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "same domain", st.AddDomain("home.arpa"), ErrDomainExists)
}

func TestDeleteAccount(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna := mustAccount(t, st, "anna")
	if err := st.AddAddress(anna.ID, "anna@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := st.DeleteAccount("ANNA@example.org"); !errors.Is(err, ErrNoAccount) {
		t.Errorf("DeleteAccount of an address: %v; only the name will do", err)
	}
	if err := st.DeleteAccount("Anna"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(st.accountDir(anna.ID) + deletedSuffix); err != nil {
		t.Errorf("the folder was not kept: %v", err)
	}
	for _, login := range []string{"anna", "anna@example.org"} {
		if _, err := st.FindAccount(login); !errors.Is(err, ErrNoAccount) {
			t.Errorf("FindAccount(%q): %v", login, err)
		}
	}
	if _, err := st.Account(anna.ID); !errors.Is(err, ErrNoAccount) {
		t.Errorf("Account: %v", err)
	}
	if _, err := st.Credential(anna.ID); !errors.Is(err, ErrNoAccount) {
		t.Errorf("Credential: %v", err)
	}
	if again := mustAccount(t, st, "anna"); again.ID == anna.ID {
		t.Error("an id was used twice")
	}
	wantErr(t, "deleting nobody", st.DeleteAccount("carol"), ErrNoAccount)
}

// A crash between the commit and the rename of the folder is made good at open.
func TestDeletionFinishedAtOpen(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna := mustAccount(t, st, "anna")
	if err := st.update(func(tx *bolt.Tx) error { return st.deleteRows(tx, anna) }); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	openTestSystem(t, st.Dir())
	if _, err := os.Stat(st.accountDir(anna.ID) + deletedSuffix); err != nil {
		t.Errorf("the folder was not moved: %v", err)
	}
}

func TestCheckNamesUnknownFolders(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna := mustAccount(t, st, "anna")
	stray := st.accountDir("stray")
	if err := os.Mkdir(stray, 0o700); err != nil {
		t.Fatal(err)
	}
	findings, err := st.Check()
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0], "stray") {
		t.Errorf("Check = %q, %v; want the stray folder", findings, err)
	}
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}
	if err := st.sys.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketLogins).Delete([]byte("anna"))
	}); err != nil {
		t.Fatal(err)
	}
	if findings, err = st.Check(); err != nil || len(findings) != 1 || !strings.Contains(findings[0], string(anna.ID)) {
		t.Errorf("Check = %q, %v; want the account without a name", findings, err)
	}
	if err := st.update(func(tx *bolt.Tx) error {
		return putSystem(tx, bucketLogins, []byte("anna"), []byte(anna.ID))
	}); err != nil {
		t.Fatal(err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	if v, ok, err := st.Setting("box.name"); v != "" || ok || err != nil {
		t.Errorf("unset: %q, %v, %v", v, ok, err)
	}
	for k, v := range map[string]string{"box.name": "Küche", "empty": ""} {
		if err := st.SetSetting(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if v, ok, err := st.Setting("empty"); v != "" || !ok || err != nil {
		t.Errorf("empty: %q, %v, %v", v, ok, err)
	}
	all, err := st.Settings()
	if err != nil || !reflect.DeepEqual(all, map[string]string{"box.name": "Küche", "empty": ""}) {
		t.Errorf("Settings = %v, %v", all, err)
	}
	if err := st.DeleteSetting("empty"); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := st.Setting("empty"); ok {
		t.Error("still set")
	}
	var name *NameError
	if err := st.SetSetting("", "x"); !errors.As(err, &name) {
		t.Errorf("empty key: %v", err)
	}
	var limit *LimitError
	if err := st.SetSetting("big", strings.Repeat("x", maxSetting+1)); !errors.As(err, &limit) {
		t.Errorf("big value: %v", err)
	}
	if b, err := st.Secret("cert"); b != nil || err != nil {
		t.Errorf("no secret: %q, %v", b, err)
	}
	if err := st.SetSecret("cert", []byte("key")); err != nil {
		t.Fatal(err)
	}
	if b, err := st.Secret("cert"); string(b) != "key" || err != nil {
		t.Errorf("Secret = %q, %v", b, err)
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	anna := mustAccount(t, st, "anna")
	if c, err := st.Credential(anna.ID); string(c) != "verifier of anna" || err != nil {
		t.Errorf("Credential = %q, %v", c, err)
	}
	if err := st.SetCredential(anna.ID, nil); err != nil {
		t.Fatal(err)
	}
	if c, err := st.Credential(anna.ID); c != nil || err != nil {
		t.Errorf("Credential = %q, %v; want none", c, err)
	}
	wantErr(t, "nobody's", st.SetCredential("nobody", []byte("x")), ErrNoAccount)
}

// Changes and reads from many goroutines: for the race detector.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	st := newSystem(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			name := fmt.Sprintf("user%d", i)
			info, err := st.CreateAccount(name, nil)
			if err != nil {
				t.Error(err)
				return
			}
			err = errors.Join(
				st.AddAddress(info.ID, name+"@example.org"),
				st.SetCredential(info.ID, []byte("x")),
				st.RenameAccount(name, name+"-renamed"))
			if err != nil {
				t.Error(err)
			}
			if got, err := st.FindAccount(name + "@example.org"); err != nil || got.ID != info.ID {
				t.Errorf("FindAccount = %v, %v", got, err)
			}
			if i%2 == 0 {
				if err := st.DeleteAccount(name + "-renamed"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if all, err := st.Accounts(); err != nil || len(all) != 2 {
		t.Errorf("Accounts = %v, %v; want 2", all, err)
	}
}
