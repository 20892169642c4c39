package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"nestbox/test/raw"
	"nestbox/test/rig"
)

var slow = flag.Bool("slow", false, "also wait for the time limits of the real server")

// TestHostile: clients that do what none should. After each of them the server
// must serve others as before.
func TestHostile(t *testing.T) {
	t.Parallel()
	n, l := oneAccount(t)
	s := start(t, n)
	l = l.at(s)
	t.Cleanup(func() { // after all of them
		if err := l.connect(t).Append("INBOX", "", []byte("Subject: still here\r\n\r\n")); err != nil {
			t.Error(err)
		}
		if kb := residentKB(t, s.PID()); kb > 150_000 {
			t.Errorf("the server has %d KB", kb)
		}
	})
	for _, c := range []struct {
		name string
		run  func(*testing.T, *rig.Server, login)
	}{
		{"bad commands", badCommands},
		{"silent", silent},
		{"endless line", endlessLine},
		{"literals before login", literalsBeforeLogin},
		{"rejected literal", rejectedLiteral},
		{"too big", tooBig},
		{"binary", binaryNoise},
		{"deep list", deepList},
		{"slow reader", slowReader},
		{"cut off", cutOff},
		{"wrong passwords", wrongPasswords},
	} {
		t.Run(c.name, func(t *testing.T) { t.Parallel(); c.run(t, s, l) })
	}
}

func stranger(t *testing.T, s *rig.Server) *raw.Conn {
	t.Helper()
	c, err := raw.Dial(s.Addr, raw.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send sends bytes; that the server closes meanwhile is no error.
func send(t *testing.T, c *raw.Conn, format string, args ...any) {
	t.Helper()
	c.SendRaw(fmt.Appendf(nil, format, args...))
	_ = c.Flush()
}

// line reads one response line.
func line(t *testing.T, c *raw.Conn) string {
	t.Helper()
	b, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// alive fails unless the connection still answers.
func alive(t *testing.T, c *raw.Conn) {
	t.Helper()
	if err := c.Do("NOOP", nil); err != nil {
		t.Error(err)
	}
}

// badCommands: the tenth before login ends the connection.
func badCommands(t *testing.T, s *rig.Server, _ login) {
	c := stranger(t, s)
	for i := 1; i < 10; i++ {
		send(t, c, "x%d NONSENSE\r\n", i)
		if got := line(t, c); !strings.HasPrefix(got, fmt.Sprintf("x%d BAD ", i)) {
			t.Fatalf("command %d: %q", i, got)
		}
	}
	send(t, c, "x10 NONSENSE\r\n")
	if err := hearBye(c); err != nil {
		t.Error(err)
	}
}

// silent: who says nothing is disconnected after a minute.
func silent(t *testing.T, s *rig.Server, _ login) {
	if !*slow {
		t.Skip("takes a minute; go test -slow")
	}
	c, err := raw.Dial(s.Addr, raw.Options{Timeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := hearBye(c); err != nil {
		t.Error(err)
	}
}

// endlessLine: a line without end is not kept.
func endlessLine(t *testing.T, s *rig.Server, l login) {
	for _, c := range []*raw.Conn{stranger(t, s), l.connect(t)} {
		chunk := bytes.Repeat([]byte("x"), 1<<16)
		for range 64 {
			c.SendRaw(chunk)
			if c.Flush() != nil {
				break
			}
		}
		send(t, c, "\r\n")
		got, err := c.Read()
		if err == nil && !regexp.MustCompile(`^(\S+ BAD|\* BAD|\* BYE) `).Match(got) {
			t.Errorf("got %.200q", got)
		}
	}
}

// literalsBeforeLogin: small ones are for passwords, big ones are refused.
func literalsBeforeLogin(t *testing.T, s *rig.Server, l login) {
	c := stranger(t, s)
	send(t, c, "a LOGIN {%d+}\r\n%s {%d+}\r\nwrong\r\n", len(l.user), l.user, len("wrong"))
	if got := line(t, c); !strings.HasPrefix(got, "a NO ") {
		t.Errorf("LOGIN with literals: %q", got)
	}
	send(t, c, "b LOGIN {1000000000}\r\n")
	if got := line(t, c); strings.HasPrefix(got, "+") {
		t.Errorf("a literal of a gigabyte was asked for: %q", got)
	}
	d := stranger(t, s)
	send(t, d, "c LOGIN {99999999999999999999}\r\n")
	if got := line(t, d); !strings.HasPrefix(got, "c BAD ") && !strings.HasPrefix(got, "* BYE ") {
		t.Errorf("an impossible literal: %q", got)
	}
}

// rejectedLiteral: the bytes of a literal never run as commands, and the
// command after it does.
func rejectedLiteral(t *testing.T, _ *rig.Server, l login) {
	c := l.connect(t)
	body := "x CREATE injected\r\ny CREATE injected\r\n"
	for _, command := range []string{"APPEND nowhere", "NONSENSE", "APPEND INBOX (bad flag)) ", "FETCH", "SEARCH TEXT a TEXT b"} {
		send(t, c, "r %s {%d+}\r\n%s\r\ns NOOP\r\n", command, len(body), body)
		if got := line(t, c); !strings.HasPrefix(got, "r BAD ") && !strings.HasPrefix(got, "r NO ") {
			t.Fatalf("%s: %q", command, got)
		}
		if got := line(t, c); !strings.HasPrefix(got, "s OK ") {
			t.Fatalf("after %s: %q", command, got)
		}
	}
	if err := c.Do("DELETE injected", nil); err == nil {
		t.Error("a literal was run as commands")
	}
	send(t, c, "t APPEND nowhere {10}\r\n")
	if got := line(t, c); !strings.HasPrefix(got, "t NO [TRYCREATE]") {
		t.Errorf("APPEND to no mailbox: %q", got)
	}
	alive(t, c)
}

// tooBig: a message over the limit is refused before it is sent, or swallowed.
func tooBig(t *testing.T, _ *rig.Server, l login) {
	c := l.connect(t)
	send(t, c, "a APPEND INBOX {100000000}\r\n")
	if got := line(t, c); !strings.HasPrefix(got, "a NO [TOOBIG]") {
		t.Errorf("got %q", got)
	}
	const size = 60 << 20
	send(t, c, "b APPEND INBOX {%d+}\r\n", size)
	chunk := bytes.Repeat([]byte("b CREATE injected\r\n"), 1<<12)
	for sent := 0; sent < size; {
		n := min(len(chunk), size-sent)
		c.SendRaw(chunk[:n])
		if c.Flush() != nil {
			return // the server may close rather than swallow all of it
		}
		sent += n
	}
	send(t, c, "\r\n")
	got, err := c.Read()
	if err == nil && !bytes.HasPrefix(got, []byte("b NO [TOOBIG]")) && !bytes.HasPrefix(got, []byte("* BYE ")) {
		t.Errorf("got %q", got)
	}
}

// binaryNoise: a TLS client at the plain port, NULs, eight-bit bytes.
func binaryNoise(t *testing.T, s *rig.Server, l login) {
	for _, noise := range []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\r\n", "a \x00\x00LOGIN\r\n", "\xff\xfe\xfd\r\n", "\r\n", "a\r\n", " \r\n", "a LOGIN \"\x00\" x\r\n"} {
		for _, c := range []*raw.Conn{stranger(t, s), l.connect(t)} {
			send(t, c, "%s", noise)
			if got, err := c.Read(); err == nil && !regexp.MustCompile(`^(\S+ BAD|\* BAD|\* BYE) `).Match(got) {
				t.Errorf("%q: got %.200q", noise, got)
			}
		}
	}
}

// deepList: nothing recurses as deep as a client likes.
func deepList(t *testing.T, _ *rig.Server, l login) {
	c := l.connect(t)
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"SEARCH " + strings.Repeat("(", 20_000) + "ALL" + strings.Repeat(")", 20_000),
		"SEARCH " + strings.Repeat("NOT ", 10_000) + "ALL",
		"SEARCH " + strings.Repeat("OR ", 10_000) + strings.Repeat("ALL ", 10_000) + "ALL",
		"FETCH 1 " + strings.Repeat("(", 20_000),
	} {
		var status *raw.StatusError
		if err := c.Do(command, nil); !errors.As(err, &status) || !strings.HasPrefix(status.Text, "BAD ") {
			t.Errorf("%.20s...: %v", command, err)
		}
	}
	alive(t, c)
}

// slowReader: one who does not read holds up nobody else.
func slowReader(t *testing.T, _ *rig.Server, l login) {
	stuckReader(t, l.connect(t))
	c := l.connect(t)
	if _, err := c.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, command := range []string{"FETCH 1:* (FLAGS ENVELOPE)", `STORE 1:* +FLAGS (\Flagged)`, "NOOP"} {
		if err := c.Do(command, func([]byte) {}); err != nil {
			t.Error(err)
		}
	}
	if err := c.Append("INBOX", "", []byte("Subject: next\r\n\r\n")); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// cutOff: connections that end in the middle of something leave nothing.
func cutOff(t *testing.T, _ *rig.Server, l login) {
	c := l.connect(t)
	if err := c.Do("CREATE half", nil); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a APPEND half {1000+}\r\nSubject: x", "a APPEND half {10", "a LOGIN", "a IDLE\r\n", "a APPEND half {500000+}\r\n" + strings.Repeat("x", 400_000)} {
		d := l.connect(t)
		send(t, d, "%s", text)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := c.Select("half"); err != nil || n != 0 {
		t.Errorf("%d messages, %v", n, err)
	}
}

// wrongPasswords: guessing gets slower, and tells nothing about names.
func wrongPasswords(t *testing.T, s *rig.Server, l login) {
	answer := func(user string) string {
		c := stranger(t, s)
		send(t, c, "a LOGIN %s wrong\r\n", user)
		return line(t, c)
	}
	if known, unknown := answer(l.user), answer("nobody"); known != unknown || !strings.HasPrefix(known, "a NO [AUTHENTICATIONFAILED]") {
		t.Errorf("a known name: %q; an unknown one: %q", known, unknown)
	}
}

func residentKB(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+)`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmRSS in %s", b)
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb
}
