package auth

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testBans(after int, exempt ...netip.Prefix) (*bans, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return newBans(slog.New(slog.NewTextHandler(out, nil)), after, exempt), out
}

func TestBansGrowAndEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, out := testBans(3)
		peer := netip.MustParseAddr("2001:db8::7")
		key := peerPrefix(peer)
		for _, lasts := range []time.Duration{firstBan, 2 * firstBan, 4 * firstBan} {
			for i := range 3 {
				if err := b.banned(key); err != nil {
					t.Fatalf("banned after %d failures: %v", i, err)
				}
				b.fail(key, peer)
			}
			throttled := new(ThrottledError)
			if err := b.banned(key); !errors.As(err, &throttled) || throttled.Wait != lasts {
				t.Fatalf("%v, want a ban of %v", err, lasts)
			}
			if all := b.list(); len(all) != 1 || all[0].Address != "2001:db8::/64" || all[0].Failures != 3 || all[0].Until.Sub(all[0].Since) != lasts {
				t.Errorf("listed: %+v", all)
			}
			time.Sleep(lasts - time.Second)
			if b.banned(key) == nil {
				t.Error("it ended too early")
			}
			time.Sleep(time.Second)
		}
		if err := b.banned(key); err != nil || len(b.list()) != 0 {
			t.Errorf("it doesn't end: %v", err)
		}
		time.Sleep(longestBan)
		for range 3 {
			b.fail(key, peer)
		}
		if all := b.list(); len(all) != 1 || all[0].Until.Sub(all[0].Since) != firstBan {
			t.Errorf("after peace: %+v", all)
		}
		if !b.lift(key) || b.banned(key) != nil || b.lift(key) {
			t.Error("lift")
		}
		if n := strings.Count(out.String(), "msg=ban_begun"); n != 4 {
			t.Errorf("%d ban_begun\n%s", n, out)
		}
		if n := strings.Count(out.String(), "msg=ban_over"); n != 3 {
			t.Errorf("%d ban_over\n%s", n, out)
		}
	})
}

func TestBansSpare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := testBans(3, netip.MustParsePrefix("192.168.0.0/16"))
		fails := func(s string, n int) error {
			peer := netip.MustParseAddr(s)
			for range n {
				b.fail(peerPrefix(peer), peer)
			}
			return b.banned(peerPrefix(peer))
		}
		if err := fails("::ffff:192.168.3.4", 10); err != nil {
			t.Errorf("exempt: %v", err)
		}
		b.good("192.0.2.1")
		if err := fails("192.0.2.1", 10); err != nil {
			t.Errorf("known: %v", err)
		}
		time.Sleep(knownFor)
		if err := fails("192.0.2.1", 10); err == nil {
			t.Error("known for ever")
		}
		if err := fails("192.0.2.2", 2); err != nil {
			t.Error(err)
		}
		time.Sleep(banWindow) // failures of long ago don't count
		if err := fails("192.0.2.2", 2); err != nil {
			t.Error(err)
		}
		if off, _ := testBans(-1); func() error {
			for range 100 {
				off.fail("192.0.2.3", netip.MustParseAddr("192.0.2.3"))
			}
			return off.banned("192.0.2.3")
		}() != nil {
			t.Error("bans are off")
		}
	})
}

// Whoever has many addresses fills no memory, and frees nobody who is banned.
func TestBansAreBounded(t *testing.T) {
	t.Parallel()
	b, _ := testBans(3)
	banned := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		b.fail(peerPrefix(banned), banned)
	}
	for i := range 3 * maxSuspects {
		peer := netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff))
		b.fail(peerPrefix(peer), peer)
		b.good(fmt.Sprint("known ", i))
	}
	if len(b.suspects) > maxSuspects || len(b.known.times) > maxLately {
		t.Errorf("%d suspects, %d known", len(b.suspects), len(b.known.times))
	}
	if b.banned(peerPrefix(banned)) == nil {
		t.Error("the ban was forgotten")
	}
}

// The filter of the documentation finds what the server logs.
func TestFail2banFilter(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/bans.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^failregex = (.+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatal("no failregex")
	}
	// fail2ban puts its own expression for addresses in the place of <HOST>.
	filter := regexp.MustCompile(strings.ReplaceAll(string(m[1]), "<HOST>", `([0-9a-fA-F.:]+)`))
	for line, want := range map[string]string{
		`event=login_failed time=2026-11-23T19:08:41Z peer=192.0.2.7 reason=unknown`:                                                        "192.0.2.7",
		`box nestbox[42]: event=login_failed time=2026-11-23T19:08:41Z peer=2001:db8::7 reason=wrong_password login=ann`:                    "2001:db8::7",
		`event=server_started time=2026-11-23T19:08:41Z text=" event=login_failed time=1 peer=192.0.2.8 reason=x"`:                          "",
		`event=imap_login time=2026-11-23T19:08:41Z peer=192.0.2.9:45599 account=x login="event=login_failed time=1 peer=1.1.1.1 reason=x"`: "",
		`event=ban_begun time=2026-11-23T19:08:41Z level=warn peer=192.0.2.7 failures=20 seconds=900`:                                       "",
	} {
		got := ""
		if m := filter.FindStringSubmatch(line); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: found %q, want %q", line, got, want)
		}
	}
}
