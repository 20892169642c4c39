package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottleGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(rule{free: 2, max: 8 * time.Second})
		want := []time.Duration{0, 0, 0, 1, 2, 4, 8, 8}
		for i, w := range want {
			wait, ok := th.reserve("k")
			if wait != w*time.Second || !ok {
				t.Errorf("after %d failures: wait %v, %v; want %ds", i, wait, ok, w)
			}
			time.Sleep(wait)
			th.fail("k")
		}
		if wait, _ := th.reserve("other"); wait != 0 {
			t.Errorf("another key waits %v", wait)
		}
		th.forget("k")
		if wait, _ := th.reserve("k"); wait != 0 {
			t.Errorf("after forget: %v", wait)
		}
	})
}

// Parallel tries stand in a row, and the row has an end.
func TestThrottleRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(rule{free: 0, max: 4 * time.Second})
		for range 5 {
			th.fail("k")
		}
		for _, want := range []time.Duration{4, 8} {
			if wait, ok := th.reserve("k"); wait != want*time.Second || !ok {
				t.Errorf("wait %v, %v; want %ds", wait, ok, want)
			}
		}
		for range 100 {
			if wait, ok := th.reserve("k"); wait != 12*time.Second || ok {
				t.Errorf("wait %v, %v; want a refusal for 12s", wait, ok)
			}
		}
	})
}

func TestThrottleForgives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(rule{free: 2, max: 8 * time.Second})
		for range 8 {
			th.fail("k")
		}
		time.Sleep(2 * failureHalfLife) // 8, 4, 2 failures: free
		if wait, ok := th.reserve("k"); wait != 0 || !ok {
			t.Errorf("after two half-lives: %v, %v", wait, ok)
		}
	})
}

func TestThrottleBounded(t *testing.T) {
	t.Parallel()
	th := newThrottle(addressRule)
	for range 10 {
		th.fail("guesser")
	}
	for i := range 3 * maxMeters {
		th.fail(fmt.Sprint(i))
	}
	if len(th.meters) > maxMeters {
		t.Errorf("%d meters, want at most %d", len(th.meters), maxMeters)
	}
	if th.meters["guesser"] == nil {
		t.Error("many single failures wiped out a guesser")
	}
}

func TestCacheBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newMACCache()
		for i := range 2 * cacheSize {
			c.add(c.mac(fmt.Sprint(i)), "")
		}
		if len(c.entries) != cacheSize {
			t.Errorf("%d entries, want %d", len(c.entries), cacheSize)
		}
		m := c.mac("a", "bc")
		c.add(m, "app/x")
		kind, ok := c.get(m)
		if _, other := c.get(c.mac("ab", "c")); !ok || other || kind != "app/x" {
			t.Error("the cache confuses logins")
		}
		time.Sleep(cacheTime)
		if _, ok := c.get(m); ok {
			t.Error("remembered for too long")
		}
		c.add(c.mac("new"), "")
		if len(c.entries) != 1 {
			t.Errorf("%d entries after all have expired", len(c.entries))
		}
	})
}

func TestPeerPrefix(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := peerPrefix(netip.MustParseAddr(in)); got != want {
			t.Errorf("peerPrefix(%s) = %s, want %s", in, got, want)
		}
	}
	if got := peerPrefix(netip.Addr{}); got == "" {
		t.Error("no prefix for a peer without address")
	}
}
