package auth

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
)

// TestTokenGuesses: tokens that nobody was given lead to a ban, the same one over
// and over, and those that others made, don't.
func TestTokenGuesses(t *testing.T) {
	t.Parallel()
	s, other := newSigning(t), newSigning(t)
	header := map[string]any{"alg": "ES256", "kid": "c"}
	// Who is told to wait gives up at once.
	hurry, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		what   string
		token  func(i int) string
		banned bool
	}{
		{"guesses", func(i int) string { return other.token(t, header, goodClaims(map[string]any{"jti": i})) }, true},
		{"nonsense", func(i int) string { return fmt.Sprint("x", i) }, true},
		{"the same", func(int) string { return "x" }, false},
		{"expired", func(i int) string {
			return s.token(t, header, goodClaims(map[string]any{"jti": i, "exp": tokenNow.Unix() - 3600}))
		}, false},
	} {
		a, _ := newHouse(t)
		o := s.checker(t, tokenOptions, tokenNow)
		conn := &Conn{Protocol: ScopeIMAP, Peer: netip.MustParseAddr("192.0.2.7")}
		for i := range 3 * defaultBanAfter {
			ctx := t.Context()
			if i > addressRule.free {
				ctx = hurry
			}
			if _, err := a.token(ctx, conn, o, "", c.token(i)); err == nil {
				t.Fatalf("%s: logged in", c.what)
			}
		}
		if got := a.bans.banned(peerPrefix(conn.Peer)) != nil; got != c.banned {
			t.Errorf("%s: banned %v, want %v", c.what, got, c.banned)
		}
	}
}
