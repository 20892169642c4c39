package storage

import (
	"errors"
	"testing"
)

type loginCounter struct{ n int }

func (w *loginCounter) Wake() { w.n++ }

// TestCredentialRows: rows change in one commit or not at all, and end the
// sessions that logged in with them, no others.
func TestCredentialRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	info, err := st.CreateAccountWith("anna", []Credential{{KindPassword, []byte("p")}, {"app/phone", []byte("a")}})
	if err != nil {
		t.Fatal(err)
	}
	var main, phone loginCounter
	byMain, err := st.LoginBy(info.ID, info.ID, KindPassword, &main)
	if err != nil {
		t.Fatal(err)
	}
	defer byMain.Close()
	byPhone, err := st.LoginBy(info.ID, info.ID, "app/phone", &phone)
	if err != nil {
		t.Fatal(err)
	}
	defer byPhone.Close()
	refused := errors.New("refused")
	change := func(err error) error {
		return st.ChangeCredentials(info.ID, func(now []Credential) (CredentialChange, error) {
			if len(now) != 2 {
				t.Errorf("%d rows", len(now))
			}
			return CredentialChange{Set: []Credential{{Kind: "app/phone"}}, Ends: func(k string) bool { return k == "app/phone" }, Why: "revoked"}, err
		})
	}
	if err := change(refused); !errors.Is(err, refused) || phone.n != 0 {
		t.Fatalf("%v, %d", err, phone.n)
	}
	// Who uses it is known at once, and after a restart; nothing is written for it.
	before := st.SettingsVersion()
	st.NoteUse(info.ID, "app/phone")
	if err := st.writeNotes(); err != nil || st.SettingsVersion() != before {
		t.Fatalf("%v: a login is written", err)
	}
	if used, err := st.CredentialUses(info.ID); err != nil || used["app/phone"].IsZero() {
		t.Fatalf("%v, %v", used, err)
	}
	if err := change(nil); err != nil || phone.n != 1 || main.n != 0 || byPhone.Ended() != "revoked" || byMain.Ended() != "" {
		t.Fatalf("%v: woken %d and %d", err, phone.n, main.n)
	}
	if _, err := st.LoginBy(info.ID, info.ID, "app/phone", &phone); !errors.Is(err, ErrNoAccount) {
		t.Errorf("revoked between the password and the session: %v", err)
	}
	st.NoteUse(info.ID, KindPassword)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err = Open(dir, Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	used, err := st.CredentialUses(info.ID)
	if err != nil || len(used) != 1 || used[KindPassword].IsZero() {
		t.Errorf("after a restart: %v, %v", used, err)
	}
	if rows, err := st.Credentials(info.ID); err != nil || len(rows) != 1 {
		t.Errorf("%v, %v", rows, err)
	}
	if findings, err := st.Check(); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
}

// TestActorsLogin: a session in which one acts for another ends with either.
func TestActorsLogin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := Open(dir, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	anna, err := st.CreateAccount("anna", []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	sync, err := st.CreateAccount("imapsync", []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []AccountID{anna.ID, sync.ID} {
		var w loginCounter
		l, err := st.LoginBy(anna.ID, sync.ID, KindPassword, &w)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.SetDisabled(id, true); err != nil {
			t.Fatal(err)
		}
		if w.n != 1 {
			t.Errorf("woken %d times", w.n)
		}
		l.Close()
		if _, err := st.LoginBy(anna.ID, sync.ID, KindPassword, &w); err == nil {
			t.Error("a new session for a disabled account")
		}
		if err := st.SetDisabled(id, false); err != nil {
			t.Fatal(err)
		}
	}
	if len(st.logins.all) != 0 {
		t.Errorf("%d holds are left", len(st.logins.all))
	}
}
