package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

// The exchange of RFC 7677 §3.
func TestSCRAMExample(t *testing.T) {
	t.Parallel()
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	v := verifier{iterations: 4096, salt: salt}
	stored, server, err := v.keys("pencil")
	if err != nil {
		t.Fatal(err)
	}
	message := "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got := base64.StdEncoding.EncodeToString(sum(server, message)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server signature %s", got)
	}
	proof, err := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if err != nil {
		t.Fatal(err)
	}
	key := sum(stored, message)
	for i := range key {
		key[i] ^= proof[i]
	}
	if h := sha256.Sum256(key); !hmac.Equal(h[:], stored) {
		t.Error("the client's proof doesn't fit StoredKey")
	}
}

func TestVerifierText(t *testing.T) {
	t.Parallel()
	text, err := newCredential("secret", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "SCRAM-SHA-256$15000:") || bytes.Contains(text, []byte("secret")) {
		t.Errorf("text %q", text)
	}
	v, err := parseVerifier(text)
	if err != nil || !bytes.Equal(v.text(), text) {
		t.Errorf("round trip: %q, %v", v.text(), err)
	}
	if ok, err := v.matches("secret"); !ok || err != nil {
		t.Errorf("matches: %v, %v", ok, err)
	}
	other, err := newCredential("secret", minIterations)
	if err != nil || bytes.Equal(other, text) {
		t.Errorf("two accounts with one password look the same: %q, %v", other, err)
	}
	for _, bad := range []string{
		"", "x", "SCRAM-SHA-1$4096:QQ==$QQ==:QQ==", "SCRAM-SHA-256$x:QQ==$QQ==:QQ==", strings.Replace(string(text), "15000", "0", 1),
		strings.Replace(string(text), "15000", "99999999999", 1), strings.Replace(string(text), "15000", "11000000", 1), string(text[:len(text)-4]),
		string(text) + "$", strings.ReplaceAll(string(text), ":", ""),
	} {
		if v, err := parseVerifier([]byte(bad)); !errors.Is(err, errVerifier) {
			t.Errorf("parseVerifier(%q) = %v, %v", bad, v, err)
		}
	}
}

func TestIterations(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]int{
		time.Microsecond: maxIterations, 2 * time.Millisecond: maxIterations, 4 * time.Millisecond: 50_000, 10 * time.Millisecond: 20_000,
		time.Second: minIterations, 0: maxIterations,
	} {
		if got := iterationsFor(2000, took); got != want {
			t.Errorf("2000 in %v: %d iterations, want %d", took, got, want)
		}
	}
	if n := calibrated(); n < minIterations || n > maxIterations {
		t.Errorf("calibrated: %d", n)
	}
}

// The table of RFC 4013 §3, but for the check of direction, and our limits.
func TestPrepare(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "a\u3000b": "a b", "u\u0308": "\u00fc", "p\ufe0fq": "pq",
	} {
		if got, err := prepare(in); err != nil || got != want {
			t.Errorf("prepare(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "\u00ad", "\a", "a\x00b", "\x7f", "a\u0085", "\xff", "\ue000", "\ufffd", "\u202e", "\U000e0041", "\ufdd0", "\uffff", strings.Repeat("x", maxPassword+1)} {
		var bad *PasswordError
		if got, err := prepare(in); !errors.As(err, &bad) {
			t.Errorf("prepare(%q) = %q, %v; want a PasswordError", in, got, err)
		}
	}
}

func TestGeneratePassword(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		p := GeneratePassword()
		if len(p) != 24 || strings.Count(p, "-") != 4 || strings.Trim(p, passwordLetters+"-") != "" || seen[p] {
			t.Fatalf("GeneratePassword = %q", p)
		}
		if got, err := prepare(p); err != nil || got != p {
			t.Fatalf("prepare(%q) = %q, %v", p, got, err)
		}
		seen[p] = true
	}
}
