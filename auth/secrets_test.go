package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nestbox/storage"
)

// ready tells what the authenticator announces on a connection without TLS.
func (h *house) announces(name string) bool {
	return slices.Contains(h.Mechanisms(&Conn{Protocol: ScopeIMAP, Peer: home}), name)
}

func (h *house) rows(t testing.TB, id storage.AccountID) secrets {
	t.Helper()
	rows, err := h.st.Credentials(id)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSecrets(rows)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAppPasswords(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	phone, err := AddAppPassword(h.st, info.ID, " phone ", ScopeIMAP|ScopeReadOnly)
	if err != nil || len(phone) != 35 {
		t.Fatalf("%q, %v", phone, err)
	}
	if _, err := AddAppPassword(h.st, info.ID, "phone", ScopeAll); err == nil {
		t.Error("a second one of the same name")
	}
	for range 2 { // the second time from the cache
		who, err := h.Plain(t.Context(), &Conn{Protocol: ScopeIMAP, Peer: home}, "anna", phone)
		if err != nil || who.AppPassword() != "phone" || !who.ReadOnly() || who.Scope&ScopeIMAP == 0 {
			t.Fatalf("%+v, %v", who, err)
		}
		if _, err := h.Plain(t.Context(), &Conn{Protocol: ScopePOP3, Peer: home}, "anna", phone); !errors.Is(err, ErrNotAllowed) {
			t.Fatalf("POP3 with a password for IMAP: %v", err)
		}
	}
	who, err := h.Plain(t.Context(), &Conn{Protocol: ScopePOP3, Peer: home}, "anna", "secret of anna")
	if err != nil || who.AppPassword() != "" || who.ReadOnly() || who.Secret != storage.KindPassword {
		t.Fatalf("main password: %+v, %v", who, err)
	}
	if err := h.scram(t, "anna", phone); err != nil {
		t.Errorf("SCRAM with the app password: %v", err)
	}
	if err := h.scram(t, "anna", "secret of anna"); err != nil {
		t.Errorf("SCRAM with the main password: %v", err)
	}
	all, err := AppPasswords(h.st, info.ID)
	if err != nil || len(all) != 1 || all[0].Name != "phone" || all[0].Scope != ScopeIMAP|ScopeReadOnly || all[0].LastUsed.IsZero() {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := h.SetPassword(info.ID, "another secret"); err != nil {
		t.Fatal(err)
	}
	if s := h.rows(t, info.ID); !s.complete(false) || !s.complete(true) {
		t.Error("a changed password has another salt")
	}
	if _, err := h.Password(t.Context(), "anna", phone, home); err != nil {
		t.Errorf("after a change of the main password: %v", err)
	}
	if err := RevokeAppPassword(h.st, info.ID, "phone"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Password(t.Context(), "anna", phone, home); !errors.Is(err, ErrBadLogin) {
		t.Errorf("revoked: %v", err)
	}
	if err := RevokeAppPassword(h.st, info.ID, "phone"); err == nil {
		t.Error("revoked twice")
	}
	if _, err := h.Password(t.Context(), "anna", "another secret", home); err != nil {
		t.Error(err)
	}
}

func TestAppPasswordLimits(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "  ", "a\nb", strings.Repeat("x", 65), "a\x00"} {
		if _, err := appPasswordName(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for in, want := range map[string]Scope{"": ScopeAll, "read-only": ScopeIMAP | ScopePOP3 | ScopeReadOnly, "imap,pop3": ScopeIMAP | ScopePOP3,
		"submission": ScopeSubmission} {
		if got, err := ParseScope(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
		if again, err := ParseScope(want.String()); err != nil || again != want {
			t.Errorf("%q: %v, %v", want, again, err)
		}
	}
	for _, in := range []string{"smtp", "imap everything", "read-only submission"} {
		if _, err := ParseScope(in); err == nil {
			t.Errorf("%q is a scope", in)
		}
	}
}

// TestRenewed: what an older nestbox stored, and what has too many iterations for
// clients, is made anew at the next PLAIN login; SCRAM is announced then.
func TestRenewed(t *testing.T) {
	t.Parallel()
	for _, iterations := range []int{minIterations, maxIterations + 1, 4096} {
		h, info := newHouse(t)
		old, err := newCredential("secret of anna", iterations)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.st.SetCredential(info.ID, old); err != nil {
			t.Fatal(err)
		}
		good := iterations == minIterations
		if h.announces("SCRAM-SHA-256") != good || h.announces("SCRAM-SHA-1") {
			t.Errorf("%d iterations: %v", iterations, h.Mechanisms(&Conn{}))
		}
		if err := h.scram(t, "anna", "secret of anna"); (err == nil) != good {
			t.Errorf("%d iterations, SCRAM: %v", iterations, err)
		}
		if _, err := h.Password(t.Context(), "anna", "secret of Anna", home); !errors.Is(err, ErrBadLogin) {
			t.Fatal(err)
		}
		if s := h.rows(t, info.ID); s.complete(true) {
			t.Error("a wrong password renewed the verifier")
		}
		if _, err := h.Password(t.Context(), "anna", "secret of anna", home); err != nil {
			t.Fatal(err)
		}
		if !h.announces("SCRAM-SHA-256") || !h.announces("SCRAM-SHA-1") {
			t.Errorf("%d iterations, after a login: %v", iterations, h.Mechanisms(&Conn{}))
		}
		if err := h.scram(t, "anna", "secret of anna"); err != nil {
			t.Errorf("%d iterations, SCRAM after a login: %v", iterations, err)
		}
		before := h.st.SettingsVersion()
		for range 3 {
			if _, err := h.Password(t.Context(), "anna", "secret of anna", home); err != nil {
				t.Fatal(err)
			}
		}
		if h.st.SettingsVersion() != before {
			t.Error("a login writes")
		}
	}
}

// TestOlderNestboxChangedPassword: one that knows only the row "password" leaves
// the others as they are. The old password must be void in all of them.
func TestOlderNestboxChangedPassword(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	if err := h.SetPassword(info.ID, "first"); err != nil {
		t.Fatal(err)
	}
	app, err := AddAppPassword(h.st, info.ID, "tablet", ScopeAll)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := newCredential("second", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.st.SetCredential(info.ID, credential); err != nil {
		t.Fatal(err)
	}
	s := h.rows(t, info.ID)
	if s.list[0].verifier(true) != nil || s.complete(false) || h.announces("SCRAM-SHA-256") {
		t.Error("the verifiers of the old password are still there")
	}
	for password, good := range map[string]bool{"first": false, "second": true, app: true} {
		if _, err := h.Password(t.Context(), "anna", password, home); (err == nil) != good {
			t.Errorf("%s: %v", password, err)
		}
	}
	if s := h.rows(t, info.ID); !s.complete(false) || !s.complete(true) {
		t.Error("a login doesn't put it right")
	}
}

// TestUnreadableSecrets: a row that can't be read logs nobody in, and keeps nobody out.
func TestUnreadableSecrets(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	err := h.st.ChangeCredentials(info.ID, func([]storage.Credential) (c storage.CredentialChange, _ error) {
		c.Set = []storage.Credential{{Kind: kindApp + "later", Value: []byte("SCRAM-SHA-512$...\n")}, {Kind: kindParams, Value: []byte("1:x")},
			{Kind: kindSHA1, Value: []byte("SCRAM-SHA-1$$$")}}
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Password(t.Context(), "anna", "secret of anna", home); err != nil {
		t.Error(err)
	}
	all, err := AppPasswords(h.st, info.ID)
	if err != nil || len(all) != 1 || !all[0].Unreadable || !all[0].Created.Equal(time.Time{}) {
		t.Errorf("%+v, %v", all, err)
	}
	if err := RevokeAppPassword(h.st, info.ID, "later"); err != nil {
		t.Error(err)
	}
}

func FuzzSecrets(f *testing.F) {
	f.Add("SCRAM-SHA-256$15000:QQ==$"+strings.Repeat("A", 43)+"=:"+strings.Repeat("A", 43)+"=", "SCRAM-SHA-1$1:QQ==$QQ==:QQ==$00", "15000:QQ==", "scope imap\ncreated 1\n")
	f.Fuzz(func(t *testing.T, main, sha1, params, app string) {
		s, err := parseSecrets([]storage.Credential{{Kind: kindApp + "x", Value: []byte(app)}, {Kind: kindParams, Value: []byte(params)},
			{Kind: storage.KindPassword, Value: []byte(main)}, {Kind: kindSHA1, Value: []byte(sha1)}})
		if err != nil && !errors.Is(err, errVerifier) {
			t.Fatal(err)
		}
		for _, x := range s.list {
			again, err := parseSecrets(x.rows())
			if err != nil || len(again.list) != 1 || again.list[0].scope != x.scope || len(again.list[0].verifiers) != len(x.verifiers) {
				t.Fatalf("%+v becomes %+v, %v", x, again.list, err)
			}
		}
	})
}
