package imap

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The faults of PEERS.md §4 that a server's connection, commands and session can
// have; those of FETCH and SEARCH are with them.

func TestLongLines(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	// G6, G7: what is too long is one BAD, and nothing of it runs.
	c := b.dial()
	c.fails("LOGIN "+strings.Repeat("x", 9000)+" y", "BAD")
	c.ok("NOOP")
	c.fails("LOGIN {100000+}\r\n"+strings.Repeat("x", 100000)+" y", "BAD")
	c.ok("NOOP")
	// G9: a literal that is too big is answered, not waited for.
	c.fails("LOGIN {100000}", "BAD")
	c.ok("NOOP")
	// G7: SASL responses are as long as OAuth needs them.
	tag := c.start("AUTHENTICATE PLAIN")
	c.expect("+ ")
	c.send(strings.Repeat("QUFB", 15000) + "\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "BAD") {
		t.Error(status)
	}
	c.ok(`LOGIN {3+}` + "\r\nann {11+}\r\n" + testPassword) // before login, as the new Outlook
	c.append("INBOX", "", smallMessage)
	c.ok("SELECT INBOX")
	var set strings.Builder
	for i := range 7000 {
		fmt.Fprintf(&set, "%d,", 2*i+1)
	}
	wantLines(t, c.ok("UID FETCH "+set.String()+"1 FLAGS"), "* 1 FETCH")
	c.fails("UID FETCH "+strings.Repeat("1,", 40000)+"1 FLAGS", "BAD")
	c.fails("CREATE {70000+}\r\n"+strings.Repeat("x", 70000), "BAD")
	c.fails("SEARCH "+strings.Repeat("(", 5000)+"ALL"+strings.Repeat(")", 5000), "BAD")
	c.ok("NOOP")
}

func TestWrongInput(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.dial()
	c.ok("ID (\"name\" \"phone\" \"version\" NIL)") // G16: before login too
	c.fails("ID (\"name\")", "BAD")
	c.fails("SELECT INBOX", "BAD")
	c.ok(`LOGIN ann "` + testPassword + `"`)
	c.append("INBOX", "", smallMessage)
	c.ok("SELECT INBOX")
	// G18: BAD for what is no command of this protocol, with what was wanted.
	for _, command := range []string{
		"FETCH abc FLAGS", "FETCH 0 FLAGS", "FETCH 1 NONSENSE", "SEARCH NONSENSE", "STORE 1 NONSENSE ()", "UID NOOP", "UID", "NONSENSE",
		"SELECT", "SELECT INBOX ", "SELECT  INBOX", "COPY 1", "STATUS INBOX", "STATUS INBOX (NONSENSE)", "ENABLE X", "LOGIN a b", "UID EXPUNGE",
		"APPEND INBOX", "APPEND INBOX x", "APPEND INBOX \"1-Feb-2020\" {1+}\r\nx", "CREATE \"a", "LIST", "RENAME a", "NOOP x", "IDLE x",
	} {
		if _, status := c.do(command); !strings.HasPrefix(status, "BAD ") {
			t.Errorf("%q: %s", command, status)
		}
	}
	if _, status := c.do("COPY 1(bad"); !strings.Contains(status, `want SP at offset`) || !strings.Contains(status, `near "(bad"`) {
		t.Error(status)
	}
	c.send("\r\n")
	c.expect("* BAD")
	c.send("{5}\r\n")
	c.expect("* BAD")
	// G19: a second message of APPEND that is none; the connection lives on.
	c.fails("APPEND INBOX {1+}\r\nx {1+} \r\ny", "BAD")
	c.ok("NOOP")
}

// TestExistsGrowsByMore: fault G21.
func TestExistsGrowsByMore(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c, other := b.login(), b.login()
	for range 2 {
		other.append("INBOX", "", smallMessage)
	}
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	for range 3 {
		other.append("INBOX", "", smallMessage)
	}
	other.ok(`STORE 4 +FLAGS (\Flagged)`) // of messages that c doesn't know yet
	other.ok(`STORE 1 +FLAGS (\Deleted)`)
	other.ok("EXPUNGE")
	lines := c.ok("NOOP")
	if want := []string{"* 1 EXPUNGE", "* 4 EXISTS"}; !slices.Equal(lines[:2], want) {
		t.Errorf("%q", lines)
	}
	if contains(lines, "Flagged") {
		t.Errorf("flags of a new message: %q", lines)
	}
}

// countingConn counts the writes.
type countingConn struct {
	net.Conn
	writes atomic.Int32
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestOneFlush: fault G25, a write for each line. Also pipelining.
func TestOneFlush(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.InsecureAuth = true })
	setup := b.login()
	for range 100 {
		setup.append("INBOX", "", smallMessage)
	}
	server, client := net.Pipe()
	counting := &countingConn{Conn: server}
	b.srv.accept(counting, false)
	c := newTestClient(t, client)
	defer client.Close()
	c.expect("* OK")
	c.ok(`LOGIN ann "` + testPassword + `"`)
	c.ok("SELECT INBOX")
	before := counting.writes.Load()
	if lines := c.ok("FETCH 1:* (FLAGS UID)"); len(lines) != 100 {
		t.Errorf("%d lines", len(lines))
	}
	if n := counting.writes.Load() - before; n != 1 {
		t.Errorf("%d writes for one FETCH", n)
	}
	go c.send("p1 NOOP\r\np2 FETCH 1 UID\r\np3 NOOP\r\n")
	for _, want := range []string{"p1 OK", "* 1 FETCH", "p2 OK", "p3 OK"} {
		c.expect(want)
	}
}

// TestSlowLiteral: fault G5. Deadlines are for each read: a slow client may go
// on as long as it likes, one that stops is dropped.
func TestSlowLiteral(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	b := newTestBox(t, func(o *Options) { o.ReadTimeout = timeout })
	c := b.login()
	tag := c.start(fmt.Sprintf("APPEND INBOX {%d+}", len(smallMessage)))
	for chunk := range slices.Chunk([]byte(smallMessage), 8) {
		time.Sleep(timeout / 4)
		c.send(string(chunk))
	}
	c.send("\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "OK") {
		t.Error(status)
	}
	c.start("APPEND INBOX {1000+}\r\nhalf of it")
	c.gone()
	other := b.login()
	wantLines(t, other.ok("STATUS INBOX (MESSAGES)"), "(MESSAGES 1)")
}

// TestTrickle: before login a client can't hold a connection by sending a byte
// now and then.
func TestTrickle(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.LoginTimeout = 500 * time.Millisecond })
	c := b.dial()
	start := time.Now()
	go func() {
		for {
			if _, err := c.conn.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	c.gone()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestLiteralMinus(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.LiteralMinus = true })
	c := b.login()
	if caps := c.ok("CAPABILITY"); !contains(caps, " LITERAL- ") || contains(caps, "LITERAL+") {
		t.Errorf("%q", caps)
	}
	c.append("INBOX", "", smallMessage)
	c.fails("APPEND INBOX {4097+}\r\n"+strings.Repeat("x", 4097), "BAD [TOOBIG]") // RFC 7888 §5
	c.ok("NOOP")
}

// TestIdleOverTLS: the wait is ended by a read deadline, which must not break
// the TLS connection, however often it happens.
func TestIdleOverTLS(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.TLS = testTLS(t) })
	other := b.login()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := b.dial()
		c.ok("STARTTLS")
		c = newTestClient(t, tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: version}))
		c.ok(`LOGIN ann "` + testPassword + `"`)
		c.ok("CREATE box")
		c.ok("SELECT box")
		for range 3 {
			tag := c.start("IDLE")
			c.expect("+ ")
			for range 20 {
				other.append("box", "", smallMessage)
				for !strings.HasSuffix(c.line(), " EXISTS") {
				}
			}
			c.send("DONE\r\n")
			c.finish(tag)
		}
		c.ok("UNSELECT")
		c.ok("DELETE box")
	}
}

// TestPanicEndsOneConnection: another client notices nothing.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	cmd := command{name: "PANIC", state: anyState, parse: noArguments(func(*session, *request) (reply, error) { panic("as asked") })}
	b.srv.tables.commands["PANIC"] = entry[*command]{value: &cmd}
	c, other := b.login(), b.login()
	c.start("PANIC")
	if lines := c.gone(); len(lines) != 1 || !strings.HasPrefix(lines[0], "* BYE [SERVERBUG]") {
		t.Errorf("%q", lines)
	}
	cmd.parse = noArguments(func(s *session, _ *request) (reply, error) {
		s.w.Raw("* 1 FETCH (BODY[] {1000}\r\nhalf")
		must(t, s.w.Flush())
		panic("in a literal")
	})
	c = b.login()
	c.start("PANIC")
	if lines := c.gone(); contains(lines, "BYE") {
		t.Errorf("%q", lines)
	}
	other.ok("NOOP")
	if text := b.log.String(); !strings.Contains(text, "imap_panic") || !strings.Contains(text, "as asked") {
		t.Errorf("logged:\n%s", text)
	}
	b.log.buf.Reset()
}

func TestPerAddressLimit(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, func(o *Options) { o.MaxConnsPerAddr = 2 })
	add := func(addr string) string {
		c := &conn{peer: addrOf(&net.TCPAddr{IP: net.ParseIP(addr), Port: 1})}
		why := b.srv.add(c)
		if why == "" {
			t.Cleanup(func() { b.srv.remove(c) })
		}
		return why
	}
	for _, tt := range []struct {
		addr string
		ok   bool
	}{{"10.0.0.1", true}, {"10.0.0.1", true}, {"10.0.0.1", false}, {"10.0.0.2", true}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", true}, {"::ffff:10.0.0.1", false}} {
		if why := add(tt.addr); (why == "") != tt.ok {
			t.Errorf("%s: %q", tt.addr, why)
		}
	}
}
