package auth

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"nestbox/storage"
)

const sshaHash = "{SSHA}pMLKbbdlJQCpJjaHsNO2a00yhGPficSQ" // of hashedPassword

// addForeign makes an account that came with a hash.
func (h *house) addForeign(t testing.TB, name, hash string) storage.AccountInfo {
	t.Helper()
	rows, err := NewForeignCredentials(hash)
	if err != nil {
		t.Fatal(err)
	}
	info, err := h.st.CreateAccountWith(name, rows)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (h *house) kinds(t testing.TB, id storage.AccountID) (kinds string) {
	t.Helper()
	rows, err := h.st.Credentials(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		kinds += r.Kind + " "
	}
	return kinds
}

// TestForeignLogin: a hash of another server is good for one login, after which
// nothing of it is left, and SCRAM works.
func TestForeignLogin(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	if !h.announces("SCRAM-SHA-256") {
		t.Fatal("SCRAM is not announced")
	}
	bert := h.addForeign(t, "bert", sshaHash)
	if h.announces("SCRAM-SHA-256") || h.announces("SCRAM-SHA-1") {
		t.Error("SCRAM is announced, and bert can't log in by it")
	}
	if _, err := h.Password(t.Context(), "bert", "wrong", home); !errors.Is(err, ErrBadLogin) {
		t.Error(err)
	}
	// A client that opens several connections at once.
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			who, err := h.Password(t.Context(), "bert", hashedPassword, home)
			if err != nil || who.Account != bert.ID || who.Secret != storage.KindPassword || who.Scope != ScopeAll {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	all.Wait()
	if kinds := h.kinds(t, bert.ID); kinds != "params password password.sha1 " {
		t.Errorf("left: %s", kinds)
	}
	if !h.announces("SCRAM-SHA-256") {
		t.Error("SCRAM is not announced")
	}
	for password, want := range map[string]error{"wrong too": ErrBadLogin, hashedPassword: nil} {
		if _, err := h.Password(t.Context(), "bert", password, home); !errors.Is(err, want) {
			t.Errorf("%s: %v", password, err)
		}
	}
}

// TestSetForeign: the hash takes the password's place, and a new password the
// hash's.
func TestSetForeign(t *testing.T) {
	t.Parallel()
	h, anna := newHouse(t)
	h.try(t, "anna", "secret of anna", home, nil)
	if _, err := AddAppPassword(h.st, anna.ID, "phone", ScopeAll); err != nil {
		t.Fatal(err)
	}
	if err := SetForeign(h.st, anna.ID, "{PLAIN}x"); !errors.Is(err, ErrHash) {
		t.Error(err)
	}
	h.try(t, "anna", "secret of anna", home, nil)
	if err := SetForeign(h.st, anna.ID, sshaHash); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", "secret of anna", home, ErrBadLogin)
	if err := h.SetPassword(anna.ID, "the third"); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", hashedPassword, home, ErrBadLogin)
	h.try(t, "anna", "the third", home, nil)
	if kinds := h.kinds(t, anna.ID); kinds != "app/phone params password password.sha1 " {
		t.Errorf("left: %s", kinds)
	}
	if err := SetForeign(h.st, anna.ID, sshaHash); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", hashedPassword, home, nil) // beside the app password
	if kinds := h.kinds(t, anna.ID); kinds != "app/phone params password password.sha1 " {
		t.Errorf("left: %s", kinds)
	}
}

// A countedHash counts how often it is computed.
type countedHash struct{ times int }

func (h *countedHash) matches(string) (bool, error) { h.times++; return false, nil }

// TestDecoysCostTheSame: what a wrong password costs doesn't tell whether there is
// such an account: names that nobody has cost what some account's do, always the
// same, and those of both kinds are found among them.
func TestDecoysCostTheSame(t *testing.T) {
	t.Parallel()
	h, anna := newHouse(t)
	kind := func(login string) string {
		t.Helper()
		c, err := h.claim(login, "wrong", home)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(c.decoy.foreign != nil, c.decoy.both)
	}
	if k := kind("nobody"); k != "false true" && k != "false false" {
		t.Errorf("nobody has a hash, and a decoy is of %s", k)
	}
	h.addForeign(t, "bert", sshaHash)
	seen := map[string]int{}
	for i := range 200 {
		login := fmt.Sprint("nobody", i)
		k := kind(login)
		if again := kind(login); again != k {
			t.Fatalf("%s once costs %s, once %s", login, k, again)
		}
		seen[k]++
	}
	if seen["false true"] < 50 || seen["true false"] < 50 || len(seen) != 2 {
		t.Errorf("decoys are of %v", seen)
	}
	// Why a claim can't succeed makes no difference.
	for _, disabled := range []bool{false, true} {
		if err := h.st.SetDisabled(anna.ID, disabled); err != nil {
			t.Fatal(err)
		}
		if a, b := kind("anna"), kind("bert"); a != "false true" || b != "true false" {
			t.Errorf("anna costs %s, bert %s", a, b)
		}
	}
	// And the sources compute it.
	for _, c := range []struct {
		reason string
		both   bool
		times  int
	}{{"unknown", true, 1}, {"unknown", false, 1}, {"", false, 0}} {
		hash := &countedHash{}
		claim := &claim{reason: c.reason, decoy: decoy{verifier: h.decoyVerifier("x"), foreign: hash, both: c.both}}
		if err := claim.match(); err != nil || hash.times != c.times || claim.matched != nil {
			t.Errorf("%+v: computed %d times, %v", c, hash.times, err)
		}
	}
	real := &countedHash{}
	claim := &claim{secrets: secrets{foreign: real}, raw: "x"}
	if err := claim.match(); err != nil || real.times != 1 {
		t.Errorf("of an account: computed %d times, %v", real.times, err)
	}
}

// TestForeignIsNeverLogged: neither a hash nor a password is in the log.
func TestForeignIsNeverLogged(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	h.addForeign(t, "bert", sshaHash)
	for _, password := range []string{"a wrong one", hashedPassword} {
		_, _ = h.Password(t.Context(), "bert", password, home)
	}
	for _, secret := range []string{"pMLKbb", "a wrong one", hashedPassword} {
		if bytes.Contains([]byte(h.log.String()), []byte(secret)) {
			t.Errorf("the log has %q", secret)
		}
	}
}
