package tls

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDNSFile: what is wrong is named by its line, and never with a value.
func TestDNSFile(t *testing.T) {
	for text, want := range map[string]string{
		"server = ns.example.org\nkey=k\nsecret = \"c2VjcmV0\"\n\n# note\n": "",
		"secret": "line 1", "server = a\nsecrets = c2VjcmV0": "line 2", "secret = c2VjcmV0\nsecret = c2VjcmV0": "twice",
		"server = a\nkey = k": "secret", "server = a\nkey = k\nsecret = c2VjcmV0\nalgorithm = hmac-md5": "algorithm",
		"server = a\nkey = k\nsecret = c2VjcmV0\nwait = soon": "wait", "server = a\nkey = k\nsecret = c2VjcmV0\nwait = 9h": "wait",
		"server = a\nkey = k\nsecret = c2VjcmV0\nwait = 0": "",
	} {
		file := filepath.Join(t.TempDir(), "dns")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := (&DNSOptions{Provider: "rfc2136", File: file}).solver()
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2VjcmV0")) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzDNSFile(f *testing.F) {
	f.Add("server = ns.example.org\n# x\nkey=\"k\"\nwait = 1m")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := readDNSFile(text)
		if err != nil {
			return
		}
		for key := range values {
			if !strings.Contains(text, key) {
				t.Errorf("%q is not in %q", key, text)
			}
		}
		if d, err := values.wait(); err == nil && d > longestPropagation {
			t.Errorf("waits %v", d)
		}
	})
}

// TestDNSExec: the program gets the whole name and the value, and its failure
// is the provider's.
func TestDNSExec(t *testing.T) {
	var got []string
	fails := errors.New("code 1")
	p, err := newExecDNS(func(_ context.Context, args ...string) error {
		got = append(got, strings.Join(args, " "))
		return fails
	})
	if err != nil {
		t.Fatal(err)
	}
	r := dnsRecord{name: "_acme-challenge.mail.example.org", value: "-value"}
	if err := p.present(t.Context(), r); !errors.Is(err, fails) {
		t.Error(err)
	}
	if err := p.cleanup(t.Context(), r); !errors.Is(err, fails) {
		t.Error(err)
	}
	if want := "present _acme-challenge.mail.example.org -value|cleanup _acme-challenge.mail.example.org -value"; strings.Join(got, "|") != want {
		t.Error(got)
	}
	if _, err := (&DNSOptions{Provider: "exec"}).solver(); err == nil {
		t.Error("there is no program to run")
	}
}

// testKey is a key of these tests, and the server's answer to what it signed.
var testKey = tsigKey{name: "nestbox", algorithm: "hmac-sha256", secret: []byte("secret of a test, 32 bytes long!")}

// answerTo is a server's answer to an update, signed by a key if there is one.
func answerTo(query []byte, code byte, key *tsigKey, mac []byte, now time.Time) []byte {
	b := append([]byte{}, query[:2]...)
	b = append(b, 0x80|opcodeUpdate<<3, code, 0, 0, 0, 0, 0, 0, 0, 0)
	if key != nil {
		b, _ = key.sign(b, mac, now)
	}
	return b
}

// TestTSIG: only a signed answer to this question says that all is well.
func TestTSIG(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	query, err := updateMessage(7, "example.org", dnsRecord{"_acme-challenge.example.org", "value"}, classIN, 60)
	if err != nil {
		t.Fatal(err)
	}
	query, mac := testKey.sign(query, nil, now)
	other := tsigKey{name: "nestbox", algorithm: "hmac-sha256", secret: []byte("another")}
	for name, c := range map[string]struct {
		answer []byte
		code   uint16
		good   bool
	}{
		"signed":            {answerTo(query, 0, &testKey, mac, now), 0, true},
		"signed refusal":    {answerTo(query, codeNotAuth, &testKey, mac, now), codeNotAuth, true},
		"unsigned refusal":  {answerTo(query, codeRefused, nil, nil, now), codeRefused, true},
		"unsigned":          {answerTo(query, 0, nil, nil, now), 0, false},
		"another question":  {answerTo(query, 0, &testKey, mac[1:], now), 0, false},
		"another key":       {answerTo(query, 0, &other, mac, now), 0, false},
		"another id":        {answerTo([]byte{1, 2}, 0, &testKey, mac, now), 0, false},
		"hours later":       {answerTo(query, 0, &testKey, mac, now.Add(-time.Hour)), 0, false},
		"cut":               {answerTo(query, 0, &testKey, mac, now)[:60], 0, false},
		"changed":           {append([]byte{0, 7, 0x80 | opcodeUpdate<<3, 0}, answerTo(query, 5, &testKey, mac, now)[4:]...), 0, false},
		"nothing":           {nil, 0, false},
		"names in a circle": {append(append([]byte{0, 7, 0x80 | opcodeUpdate<<3, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 0xC0, 12), make([]byte, 20)...), 0, false},
	} {
		code, err := testKey.readAnswer(c.answer, 7, mac, now)
		if (err == nil) != c.good || code != c.code {
			t.Errorf("%s: %d, %v", name, code, err)
		}
	}
}

func FuzzDNSAnswer(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	query, _ := updateMessage(7, "example.org", dnsRecord{"_acme-challenge.example.org", "value"}, classIN, 60)
	query, mac := testKey.sign(query, nil, now)
	good := answerTo(query, 0, &testKey, mac, now)
	f.Add(good)
	f.Add(query)
	f.Add(answerTo(query, codeNotAuth, nil, nil, now))
	f.Fuzz(func(t *testing.T, answer []byte) {
		code, err := testKey.readAnswer(answer, 7, mac, now)
		// What isn't signed never says that all is well.
		if err == nil && code == codeNoError && !bytes.Equal(answer[dnsHeader:], good[dnsHeader:]) {
			t.Errorf("%x was taken", answer)
		}
	})
}
