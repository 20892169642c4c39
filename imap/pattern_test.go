package imap

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "INBOX", true},
		{"*", "a/b/c", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"a/%", "a/b", true},
		{"a/%", "a", false},
		{"%/%", "a/b", true},
		{"%/%", "a/b/c", false},
		{"*c", "a/b/c", true},
		{"*%", "a/b/c", true},
		{"%*", "a/b/c", true},
		{"a%c", "abc", true},
		{"a%c", "a/c", false},
		{"a*c", "a/c", true},
		{"inbox", "INBOX", true},
		{"InB%", "INBOX", true},
		{"inbox/x", "INBOX/x", true}, // storage.MailboxName takes the first level in any case
		{"inbox/X", "INBOX/x", false},
		{"sent", "Sent", false},
		{"", "", true},
		{"Entwürfe%", "Entwürfe/alt", false},
		{"Entw%fe", "Entwürfe", true},
		{"abc", "abcd", false},
		{"abcd", "abc", false},
	} {
		p, ok := newPattern(tt.pattern)
		if !ok {
			t.Errorf("%q is too long", tt.pattern)
		}
		if got := p.match(tt.name); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.name, got)
		}
	}
}

// slowMatch says what a pattern means, as the RFC does.
func slowMatch(p, name string) bool {
	if p == "" {
		return name == ""
	}
	switch p[0] {
	case '*', '%':
		for i := 0; i <= len(name); i++ {
			if slowMatch(p[1:], name[i:]) {
				return true
			}
			if i < len(name) && p[0] == '%' && name[i] == '/' {
				return false
			}
		}
		return false
	}
	return name != "" && p[0] == name[0] && slowMatch(p[1:], name[1:])
}

func TestPatternMeaning(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(alphabet string, n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteByte(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	for range 20000 {
		text, name := random("ab/*%", 9), random("ab/", 12)
		p, _ := newPattern(text)
		if got, want := p.match(name), slowMatch(text, name); got != want {
			t.Fatalf("%q matches %q: %v, want %v", text, name, got, want)
		}
	}
	// Beyond one word of states.
	long := strings.Repeat("ab/", 100)
	for _, tt := range []struct {
		p    string
		want bool
	}{{long, true}, {"%" + long[1:], true}, {strings.Repeat("ab/", 99) + "%/", true}, {strings.Repeat("%/", 100), true}, {strings.Repeat("%/", 101), false}, {long[:299] + "x", false}} {
		p, _ := newPattern(tt.p)
		if p.match(long) != tt.want {
			t.Errorf("%.40q... matches: %v", tt.p, !tt.want)
		}
	}
}

// TestPatternLinear: fault G11 of PEERS.md, a matcher that took 45 s for seven
// wildcards and a name of 60 bytes.
func TestPatternLinear(t *testing.T) {
	name := strings.Repeat("a", 1000)
	start := time.Now()
	for _, text := range []string{
		strings.Repeat("a*", 900) + "b",
		strings.Repeat("%a", 900) + "b",
		strings.Repeat("*a%a", 400) + "b",
	} {
		p, _ := newPattern(text)
		if p.match(name) {
			t.Error("matches")
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if _, ok := newPattern(strings.Repeat("a*", 5000)); ok {
		t.Error("a pattern longer than any name is tried")
	}
	if p, ok := newPattern(strings.Repeat("*%", 50000)); !ok || !p.match("a/b") {
		t.Error("neighbouring wildcards are not folded")
	}
}
