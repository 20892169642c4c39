package auth

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nestbox/storage"
)

// proof is the client's half, written from RFC 5802 §3 for the tests.
func proof(t testing.TB, password, bare, serverFirst, withoutProof string) (proof, signature string) {
	t.Helper()
	var salt64 string
	var iterations int
	fields := strings.Split(serverFirst, ",")
	salt64 = strings.TrimPrefix(fields[1], "s=")
	if _, err := fmt.Sscanf(fields[2], "i=%d", &iterations); err != nil {
		t.Fatal(err)
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	text := bare + "," + serverFirst + "," + withoutProof
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	for i, b := range mac(stored[:], text) {
		clientKey[i] ^= b
	}
	b64 := base64.StdEncoding.EncodeToString
	return b64(clientKey), b64(mac(mac(salted, "Server Key"), text))
}

// startScram is the first half of an exchange without TLS.
func (h *house) startScram(first string) (*scramExchange, []byte, error) {
	x := &scramExchange{a: h.Authenticator, c: &Conn{Protocol: ScopeIMAP, Peer: home}}
	challenge, _, err := x.Next(context.Background(), []byte(first))
	return x, challenge, err
}

// scram logs in and tells whether the server proved itself.
func (h *house) scram(t testing.TB, login, password string) error {
	t.Helper()
	bare := "n=" + login + ",r=rOprNGfwEbeRWgbNEkqO"
	s, first, err := h.startScram("n,," + bare)
	if err != nil {
		return err
	}
	nonce, _, _ := strings.Cut(string(first), ",")
	without := "c=biws," + nonce
	p, signature := proof(t, password, bare, string(first), without)
	final, who, err := s.Next(context.Background(), []byte(without+",p="+p))
	if err != nil {
		return err
	}
	if who == nil || string(final) != "v="+signature || who.Name != "anna" || who.Login != login {
		t.Errorf("server says %q to %+v", final, who)
	}
	return nil
}

// TestScramExamples are those of RFC 7677 §3 and RFC 5802 §5, byte for byte.
func TestScramExamples(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		sha1                               bool
		client, server, salt, proof, final string
	}{
		{false, "rOprNGfwEbeRWgbNEkqO", `%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`, "W22ZaJ0SNY7soEsUEjb6gQ==",
			"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		{true, "fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92", "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	} {
		h, _ := newHouse(t)
		salt, _ := base64.StdEncoding.DecodeString(x.salt)
		params := verifier{iterations: 4096, salt: salt}
		s := secret{kind: storage.KindPassword}
		if err := s.derive(params, "pencil"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.st.CreateAccountWith("user", s.rows()); err != nil {
			t.Fatal(err)
		}
		e := &scramExchange{a: h.Authenticator, c: &Conn{Protocol: ScopeIMAP, Peer: home}, v: scramVariant{sha1: x.sha1}}
		if _, err := e.start([]byte("n,,n=user,r="+x.client), x.server); err != nil {
			t.Fatal(err)
		}
		if e.claim.reason != "no_verifier" {
			t.Errorf("4096 iterations: reason %q", e.claim.reason)
		}
		e.params, e.claim.reason = params, "" // as if so few were good enough
		if first := string(e.greet()); first != "r="+x.client+x.server+",s="+x.salt+",i=4096" {
			t.Fatalf("%q", first)
		}
		final, who, err := e.Next(context.Background(), []byte("c=biws,r="+x.client+x.server+",p="+x.proof))
		if err != nil || string(final) != "v="+x.final || who.Name != "user" {
			t.Fatalf("%q, %+v, %v", final, who, err)
		}
	}
}

func TestScramLogin(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	for _, login := range []string{"anna", "ANNA", "anna@example.org"} {
		if err := h.scram(t, login, "secret of anna"); err != nil {
			t.Errorf("%s: %v", login, err)
		}
	}
	if err := h.scram(t, "anna", "secret of Anna"); !errors.Is(err, ErrBadLogin) {
		t.Errorf("wrong password: %v", err)
	}
	if err := h.scram(t, "nobody", "secret of anna"); !errors.Is(err, ErrBadLogin) {
		t.Errorf("nobody: %v", err)
	}
	if err := h.st.SetDisabled(info.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := h.scram(t, "anna", "secret of anna"); !errors.Is(err, ErrBadLogin) {
		t.Errorf("disabled: %v", err)
	}
	for _, reason := range []string{"wrong_password", "unknown", "disabled"} {
		if !strings.Contains(h.log.String(), reason) {
			t.Errorf("%s is not logged", reason)
		}
	}
}

// TestScramKeepsSecrets: who has no account gets a salt that stays, and as many
// iterations as those who have one.
func TestScramKeepsSecrets(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	seen := map[string]string{}
	for range 3 {
		for _, login := range []string{"anna", "nobody", "other"} {
			_, first, err := h.startScram("n,,n=" + login + ",r=abc")
			if err != nil {
				t.Fatal(err)
			}
			_, constant, _ := strings.Cut(string(first), ",")
			if seen[login] != "" && seen[login] != constant {
				t.Errorf("%s got %q, then %q", login, seen[login], constant)
			}
			seen[login] = constant
			if !strings.HasSuffix(constant, fmt.Sprintf(",i=%d", minIterations)) || len(constant) != len(seen["anna"]) {
				t.Errorf("%s: %q", login, constant)
			}
		}
	}
	if seen["nobody"] == seen["other"] {
		t.Error("all who have no account get one salt")
	}
}

// TestScramPasswordChanged: an exchange that began with the old password ends with it.
func TestScramPasswordChanged(t *testing.T) {
	t.Parallel()
	h, info := newHouse(t)
	bare := "n=anna,r=abc"
	s, first, err := h.startScram("y,a=anna," + bare)
	if err != nil || s.first.authzid != "anna" {
		t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(string(first), ",")
	without := "c=" + base64.StdEncoding.EncodeToString([]byte("y,a=anna,")) + "," + nonce
	p, _ := proof(t, "secret of anna", bare, string(first), without)
	if err := h.SetPassword(info.ID, "another secret"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Next(context.Background(), []byte(without+",p="+p)); !errors.Is(err, ErrBadLogin) {
		t.Fatalf("old password: %v", err)
	}
	if !strings.Contains(h.log.String(), "password_changed") {
		t.Error("not logged")
	}
}

func TestScramMalformed(t *testing.T) {
	t.Parallel()
	h, _ := newHouse(t)
	for _, first := range []string{"", "n", "n,", "n,,", "x,,n=a,r=b", "n,b=c,n=a,r=b", "n,,r=b", "n,,n=a", "n,,n=,r=b", "n,,n=a,r=",
		"n,,n=a=2c,r=b", "n,,n=a,r=b c", "n,,m=x,n=a,r=b", "p=tls-exporter,,n=a,r=b", "n,a=,n=a,r=b", "n,,n=\xff,r=b", "n,,n=a\x00,r=b",
		"n,,n=" + strings.Repeat("a", maxScram) + ",r=b"} {
		if _, _, err := h.startScram(first); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", first, err)
		}
	}
	if f, err := parseScramFirst([]byte("n,,n=a=2Cb=3Dc,r=d,x=y")); err != nil || f.login != "a,b=c" {
		t.Errorf("%+v, %v", f, err)
	}
	zeros := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	for _, final := range []string{"", "c=biws,r=%s", "c=biws,p=" + zeros, "c=eSws,r=%s,p=" + zeros, "c=biws,r=%sx,p=" + zeros,
		"c=biws,r=abc,p=" + zeros, "c=!,r=%s,p=" + zeros, "c=biws,r=%s,p=AAAA", "r=%s,c=biws,p=" + zeros} {
		s, _, err := h.startScram("n,,n=anna,r=abc")
		if err != nil {
			t.Fatal(err)
		}
		message := strings.ReplaceAll(final, "%s", s.nonce)
		if _, _, err := s.Next(context.Background(), []byte(message)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", message, err)
		}
	}
}

func FuzzScram(f *testing.F) {
	h, _ := newHouse(f)
	f.Add("n,,n=anna,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("y,a=b=2Cc,n=a=3Db,r=abc,x=y", "c=eSw=,r=abc,e=f,p=")
	f.Fuzz(func(t *testing.T, first, final string) {
		if _, err := parseScramFinal([]byte(final), sha256.Size); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		s, answer, err := h.startScram(first)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if strings.ContainsAny(s.first.login, "\x00") || !strings.HasPrefix(string(answer), "r="+s.first.nonce) {
			t.Fatalf("%q: %q", first, answer)
		}
	})
}
