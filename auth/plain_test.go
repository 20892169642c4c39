package auth

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParsePlain(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 255)
	for in, want := range map[string][3]string{
		"\x00tim\x00tanstaaftanstaaf":        {"", "tim", "tanstaaftanstaaf"},
		"Ursel\x00Kurt\x00xipj3plmq":         {"Ursel", "Kurt", "xipj3plmq"},
		"\x00jürgen@müller.de\x00grüße":      {"", "jürgen@müller.de", "grüße"},
		long + "\x00" + long + "\x00" + long: {long, long, long},
		"\x00a\x00 ":                         {"", "a", " "},
	} {
		authzid, login, password, err := ParsePlain([]byte(in))
		if err != nil || [3]string{authzid, login, password} != want {
			t.Errorf("ParsePlain(%.40q) = %.40q, %.40q, %.40q, %v", in, authzid, login, password, err)
		}
	}
	for _, in := range []string{
		"", "a", "\x00", "\x00\x00", "\x00a\x00", "\x00\x00b", "a\x00b", "\x00a\x00b\x00", "\x00a\x00b\x00c", "\x00\x00a\x00b", "\x00\xff\x00b", "\x00a\x00\xc0\x80",
		"\x00" + strings.Repeat("x", maxLogin+1) + "\x00b", "\x00a\x00" + strings.Repeat("x", maxPassword+1), strings.Repeat("x", maxLogin+1) + "\x00a\x00b",
	} {
		_, login, password, err := ParsePlain([]byte(in))
		if !errors.Is(err, ErrMalformed) || login != "" || password != "" {
			t.Errorf("ParsePlain(%.40q) = %.40q, %.40q, %v; want ErrMalformed", in, login, password, err)
		}
	}
}

func FuzzParsePlain(f *testing.F) {
	for _, s := range []string{"\x00tim\x00tanstaaftanstaaf", "Ursel\x00Kurt\x00xipj3plmq", "", "\x00\x00", "\x00a\x00b\x00c", "\x00\xff\x00b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		authzid, login, password, err := ParsePlain(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || authzid+login+password != "" {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		if login == "" || password == "" || strings.ContainsRune(authzid+login+password, 0) {
			t.Errorf("%q gives %q, %q, %q", b, authzid, login, password)
		}
		if again := []byte(authzid + "\x00" + login + "\x00" + password); !bytes.Equal(again, b) {
			t.Errorf("%q was taken apart as %q", b, again)
		}
	})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	var l Login
	for i, step := range []struct{ response, challenge string }{{"", "Username:"}, {"anna", "Password:"}, {"secret", ""}} {
		response := []byte(step.response)
		if i == 0 {
			response = nil
		}
		challenge, done, err := l.Next(response)
		if string(challenge) != step.challenge || done != (i == 2) || err != nil {
			t.Errorf("step %d: %q, %v, %v", i, challenge, done, err)
		}
	}
	if l.Login != "anna" || l.Password != "secret" {
		t.Errorf("got %q, %q", l.Login, l.Password)
	}
	if _, _, err := l.Next([]byte("more")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a third response: %v", err)
	}
	for _, bad := range []string{"", "a\x00b", "\xff", strings.Repeat("x", maxPassword+1)} {
		if _, _, err := new(Login).Next([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("Next(%.20q): %v", bad, err)
		}
	}
}

// FuzzLogin: whatever comes in two responses, there is a name and a password, or an
// error that holds nothing of them.
func FuzzLogin(f *testing.F) {
	f.Add([]byte("anna"), []byte("secret"))
	f.Add([]byte{}, []byte{0})
	f.Add([]byte("\xff"), []byte("x"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var l Login
		if _, done, err := l.Next(nil); done || err != nil {
			t.Fatal(done, err)
		}
		for _, response := range [][]byte{first, second} {
			if _, done, err := l.Next(response); err != nil {
				if !errors.Is(err, ErrMalformed) || done {
					t.Errorf("%q: %v", response, err)
				}
				return
			}
		}
		if l.Login != string(first) || l.Password != string(second) || l.Login == "" || l.Password == "" {
			t.Errorf("%q, %q", l.Login, l.Password)
		}
	})
}

// FuzzExternal: without a certificate that says so nobody is anybody.
func FuzzExternal(f *testing.F) {
	h, _ := newHouse(f)
	for _, s := range []string{"", "anna", "anna@example.org", "\x00", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, response []byte) {
		x := &externalExchange{h.Authenticator, &Conn{Protocol: ScopeIMAP, Peer: home}, ExternalOptions{Accounts: map[string]string{"": "anna"}}}
		if _, who, err := x.Next(t.Context(), response); who != nil || err == nil && response != nil {
			t.Errorf("%q: %v, %v", response, who, err)
		}
	})
}
