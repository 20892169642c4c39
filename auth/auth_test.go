package auth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nestbox/storage"
)

var (
	home   = netip.MustParseAddr("192.0.2.7")
	abroad = netip.MustParseAddr("2001:db8::1")
)

type house struct {
	*Authenticator
	st  *storage.Store
	log *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newHouse has an account anna, with an address, whose password is "secret of anna".
func newHouse(t testing.TB) (*house, storage.AccountInfo) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := storage.Init(dir); err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open(dir, storage.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	credential, err := newCredential("secret of anna", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.CreateAccount("anna", credential)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.AddAddress(info.ID, "anna@example.org"); err != nil {
		t.Fatal(err)
	}
	h := &house{st: st, log: &lockedBuffer{}}
	h.Authenticator = New(st, Options{Log: slog.New(slog.NewTextHandler(h.log, nil))})
	return h, info
}

// try logs in and expects an error, or none.
func (h *house) try(t *testing.T, login, password string, peer netip.Addr, want error) {
	t.Helper()
	id, err := h.Password(t.Context(), login, password, peer)
	if !errors.Is(err, want) {
		t.Errorf("Password(%q, %q): error %v, want %v", login, password, err, want)
	}
	if err == nil && (id.Name != "anna" || id.Login != login) {
		t.Errorf("Password(%q) = %+v", login, id)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	for range 2 { // the second time from the cache
		h.try(t, "anna", "secret of anna", home, nil)
		h.try(t, "ANNA@Example.org", "secret of anna", abroad, nil)
	}
	for _, c := range [][2]string{
		{"anna", "Secret of anna"}, {"anna", ""}, {"anna", "secret of anna\x00"}, {"anna", "\xff"}, {"bob", "secret of anna"}, {"", ""},
	} {
		h.try(t, c[0], c[1], home, ErrBadLogin)
	}
	if err := h.st.SetDisabled(info.ID, true); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", "secret of anna", home, ErrBadLogin)
	if err := h.st.SetDisabled(info.ID, false); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", "secret of anna", home, nil)
}

// A new password ends what the cache remembers of the old one, and a
// remembered failure doesn't keep the new one out.
func TestPasswordChange(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	h.try(t, "anna", "secret of anna", home, nil)
	h.try(t, "anna", "brand new one", home, ErrBadLogin)
	if err := h.SetPassword(info.ID, "brand new one"); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", "secret of anna", home, ErrBadLogin)
	h.try(t, "anna", "brand new one", home, nil)
	if err := h.st.SetCredential(info.ID, nil); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", "brand new one", home, ErrBadLogin)
	h.try(t, "anna", "", home, ErrBadLogin)
}

// Composed and decomposed letters are one password (RFC 4013).
func TestPasswordForms(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	if err := h.SetPassword(info.ID, "gru\u0308\u00dfe\u00a0zuhause"); err != nil {
		t.Fatal(err)
	}
	h.try(t, "anna", "gr\u00fc\u00dfe zuhause", home, nil)
	h.try(t, "anna", "gr\u00fc\u00dfezuhause", home, ErrBadLogin)
}

// Logs name the event first, and never hold a password or an unknown login,
// which may be one.
func TestLog(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	h.try(t, "anna", "hunter2-typed", home, ErrBadLogin)
	h.try(t, "hunter2-as-login", "x", home, ErrBadLogin)
	got := h.log.String()
	for _, want := range []string{"msg=login_failed peer=192.0.2.7 reason=wrong_password account=" + string(info.ID) + " login=anna", "reason=unknown"} {
		if !strings.Contains(got, want) {
			t.Errorf("log lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Errorf("the log holds a password:\n%s", got)
	}
}

// The same wrong password again and again is a device that wasn't told of
// the new one, not somebody who guesses.
func TestOldPasswordAgain(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	for range 50 {
		h.try(t, "anna", "an old password", home, ErrBadLogin)
		h.try(t, "anna", "an older password", home, ErrBadLogin)
		h.try(t, "nobody", "an old password", home, ErrBadLogin)
	}
	if m := h.addresses.meters[peerPrefix(home)]; m == nil || m.failures != 3 {
		t.Errorf("meter of the address: %+v, want 3 failures", m)
	}
}

// Guesses are held back, then refused; who was here before isn't held back
// for what others do.
func TestGuessing(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	h.try(t, "anna", "secret of anna", home, nil)
	for range 20 {
		h.addresses.fail(peerPrefix(abroad))
		h.accounts.fail("id " + string(info.ID))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Password(ctx, "anna", "guess", abroad); !errors.Is(err, context.Canceled) {
		t.Errorf("first guess: %v, want it held back", err)
	}
	for range 100 {
		var throttled *ThrottledError
		if _, err := h.Password(t.Context(), "anna", "guess", abroad); !errors.As(err, &throttled) || throttled.Wait <= maxHold {
			t.Fatalf("guesses in parallel: %v, want a ThrottledError of more than %v", err, maxHold)
		}
	}
	start := time.Now()
	h.try(t, "anna", "secret of anna", home, nil)
	if took := time.Since(start); took > accountRule.max/2 {
		t.Errorf("anna was held back for a stranger: %v", took)
	}
	if !strings.Contains(h.log.String(), "msg=login_throttled peer=2001:db8::1") {
		t.Error("no login_throttled in the log")
	}
}

// Unknown and known accounts answer alike and in the same time.
func TestUnknownLooksKnown(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	h.try(t, "anna", "secret of anna", home, nil) // decoys cost what anna costs
	one, two := h.decoyVerifier("bob"), h.decoyVerifier("bob")
	if !bytes.Equal(one.salt, two.salt) || one.iterations != minIterations {
		t.Errorf("decoys %v and %v; want a stable salt and anna's iterations", one, two)
	}
	again := New(h.st, Options{})
	if three := again.decoyVerifier("bob"); !bytes.Equal(one.salt, three.salt) {
		t.Error("a restart changes the salt of decoys")
	}
	if other := h.decoyVerifier("carol"); bytes.Equal(one.salt, other.salt) {
		t.Error("all decoys have one salt")
	}
	if ok, err := one.matches(""); ok || err != nil {
		t.Errorf("a decoy matches: %v, %v", ok, err)
	}
	best := func(login string) time.Duration {
		least := time.Hour
		for i := range 5 {
			c, err := h.claim(login, strings.Repeat("x", i+1), home)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := h.hash(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	known, unknown := best("anna"), best("nobody")
	if known > 3*unknown || unknown > 3*known {
		t.Errorf("known account %v, unknown %v", known, unknown)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Password(ctx, "anna", "secret of anna", home); !errors.Is(err, context.Canceled) {
		t.Errorf("Password: %v, want Canceled", err)
	}
	if err := h.st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Password(t.Context(), "anna", "secret of anna", home); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Password after Close: %v, want ErrClosed", err)
	}
}

func BenchmarkLoginFirst(b *testing.B) {
	h, info := newHouse(b)
	if err := h.SetPassword(info.ID, "secret"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.good = newMACCache()
		if _, err := h.Password(b.Context(), "anna", "secret", home); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(calibrated()), "iterations")
}

func BenchmarkLoginRepeated(b *testing.B) {
	h, _ := newHouse(b)
	for b.Loop() {
		if _, err := h.Password(b.Context(), "anna", "secret of anna", home); err != nil {
			b.Fatal(err)
		}
	}
}
