package tls

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
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
		_, err := (&DNSOptions{Provider: "rfc2136", File: file}).solver(zap.NewNop())
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
	r := dnsRecord{zone: "example.org", name: "_acme-challenge.mail.example.org", value: "-value"}
	if err := p.present(t.Context(), r); !errors.Is(err, fails) {
		t.Error(err)
	}
	if err := p.cleanup(t.Context(), r); !errors.Is(err, fails) {
		t.Error(err)
	}
	if want := "present _acme-challenge.mail.example.org -value|cleanup _acme-challenge.mail.example.org -value"; strings.Join(got, "|") != want {
		t.Error(got)
	}
	if _, err := (&DNSOptions{Provider: "exec"}).solver(zap.NewNop()); err == nil {
		t.Error("there is no program to run")
	}
}
