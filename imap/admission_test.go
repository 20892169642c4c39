package imap

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"nestbox/auth"
)

// dialFrom connects from one of loopback's addresses.
func (b *testBox) dialFrom(from string) (*testClient, error) {
	b.t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", b.addr)
	if err != nil {
		return nil, err
	}
	b.t.Cleanup(func() { conn.Close() })
	return newTestClient(b.t, conn), nil
}

// ask sends a command with a tag, and wants its tagged answer, or a BYE, to begin so.
func (c *testClient) ask(command, want string) {
	c.t.Helper()
	c.send("a1 " + command + "\r\n")
	for {
		line := c.line()
		if strings.HasPrefix(line, "a1 ") || strings.HasPrefix(line, "* BYE") {
			if !strings.HasPrefix(line, want) {
				c.t.Errorf("%s: %q, want %s", command, line, want)
			}
			return
		}
	}
}

// TestStrangersMakeRoom: when all places are taken, who hasn't logged in makes
// room, first those with most connections; who has logged in stays.
func TestStrangersMakeRoom(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.MaxConns = 4 })
	owner := b.login()
	var many []*testClient
	for range 3 {
		c, err := b.dialFrom("127.0.9.1")
		if err != nil {
			t.Skip("this system has only one loopback address:", err)
		}
		c.expect("* OK ")
		many = append(many, c)
	}
	other, err := b.dialFrom("127.0.9.2")
	must(t, err)
	other.expect("* OK ")
	if line, err := many[0].r.ReadString('\n'); err == nil {
		t.Errorf("the oldest of three from an address is still there: %q", line)
	}
	other.ask(`LOGIN ann "`+testPassword+`"`, "a1 OK")
	for _, c := range append(many[1:], owner) {
		c.ask("NOOP", "a1 OK")
	}
	if !strings.Contains(b.log.String(), "msg=imap_connection_evicted peer=127.0.9.1 connections=3") {
		t.Errorf("not logged:\n%s", b.log)
	}
}

// TestOriginatingIP: only who may say so is believed, before login, and then the
// other address is who is refused, banned and logged.
func TestOriginatingIP(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) {
		o.IDFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		o.MaxConnsPerAddr = 2
		o.Auth = auth.New(o.Store, auth.Options{BanAfter: 2, Log: o.Log})
	})
	const id = `ID ("name" "webmail" "x-originating-ip" "2001:db8::%d" "x-originating-port" "50412")`
	for i := range 2 {
		c := b.dial()
		c.ask(fmt.Sprintf(id, i), "a1 OK")
		c.ask(fmt.Sprintf("LOGIN ann guess-%d", i), "a1 NO")
	}
	c := b.dial()
	c.ask(fmt.Sprintf(id, 3), "* BYE [UNAVAILABLE] too many failed logins")
	// The webmail itself isn't banned, nor is another address of it.
	c = b.dial()
	c.ask(`ID ("x-originating-ip" "::ffff:192.0.2.7")`, "a1 OK")
	c.ask(`LOGIN ann "`+testPassword+`"`, "a1 OK")
	if !strings.Contains(b.log.String(), "msg=imap_login peer=192.0.2.7:0 via=127.0.0.1") {
		t.Errorf("not logged:\n%s", b.log)
	}
	// After login it is only what clients say of themselves.
	c.ask(fmt.Sprintf(id, 3), "a1 OK")
	for _, wrong := range []string{"127.0.0.1", "::1", "0.0.0.0", "fe80::1%eth0", "here", "224.0.0.1"} {
		c := b.dial()
		c.ask(fmt.Sprintf(`ID ("x-originating-ip" "%s")`, wrong), "a1 BAD")
	}
	// The limit of an address is that of the client's.
	for i := range 3 {
		c := b.dial()
		want := "a1 OK"
		if i >= 2 {
			want = "* BYE [UNAVAILABLE] too many connections from your address"
		}
		c.ask(`ID ("x-originating-ip" "198.51.100.7")`, want)
	}
	// Somebody else isn't believed.
	other, err := b.dialFrom("127.0.9.1")
	if err != nil {
		t.Skip("this system has only one loopback address:", err)
	}
	other.expect("* OK ")
	other.ask(fmt.Sprintf(id, 3), "a1 OK")
	other.ask(`LOGIN ann "`+testPassword+`"`, "a1 OK")
}

// TestNetworkLimit: the limit of an address is that of its /64.
func TestNetworkLimit(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) {
		o.IDFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.MaxConnsPerAddr = 3
	})
	for i := range 5 {
		c := b.dial()
		want := "a1 OK"
		if i >= 3 {
			want = "* BYE [UNAVAILABLE]"
		}
		c.ask(fmt.Sprintf(`ID ("x-originating-ip" "2001:db8::%d")`, i), want)
	}
}
