package imap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nestbox/auth"
	"nestbox/storage"
)

const testPassword = "open sesame"

var testCredential = sync.OnceValues(func() ([]byte, error) { return auth.NewCredential(testPassword) })

// A testBox is a server on loopback with an account "ann".
type testBox struct {
	t       testing.TB
	st      *storage.Store
	account *storage.Account
	srv     *Server
	addr    string
	log     *logBuffer
}

// logBuffer is what the server logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newTestBox starts a server. change may change its options.
func newTestBox(t testing.TB, change func(*Options)) *testBox {
	t.Helper()
	return newSizedBox(t, 1<<20, change)
}

// newSizedBox is newTestBox with another limit of a message's size.
func newSizedBox(t testing.TB, maxMessage int64, change func(*Options)) *testBox {
	t.Helper()
	dir := t.TempDir()
	must(t, storage.Init(dir))
	b := &testBox{t: t, log: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	st, err := storage.Open(dir, storage.Options{NoSync: true, Version: "test", MaxMessage: maxMessage, Log: log})
	must(t, err)
	b.st = st
	credential, err := testCredential()
	must(t, err)
	info, err := st.CreateAccount("ann", credential)
	must(t, err)
	b.account, err = st.Account(info.ID)
	must(t, err)
	o := Options{Store: st, Auth: auth.New(st, auth.Options{}), Log: log, Version: "1.0"}
	if change != nil {
		change(&o)
	}
	b.srv = NewServer(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- b.srv.Serve(l, false) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		if findings, err := b.account.Check(); err != nil || len(findings) > 0 {
			t.Errorf("check: %v %v", findings, err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if text := b.log.String(); strings.Contains(text, "imap_panic") || strings.Contains(text, "imap_command_failed") {
			t.Errorf("the server logged:\n%s", text)
		}
	})
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A testClient is a connection that sees only lines.
type testClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tags int
}

// dial connects and reads the greeting.
func (b *testBox) dial() *testClient {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.addr)
	must(b.t, err)
	b.t.Cleanup(func() { conn.Close() })
	c := newTestClient(b.t, conn)
	c.expect("* OK ")
	return c
}

func newTestClient(t testing.TB, conn net.Conn) *testClient {
	return &testClient{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// login connects and logs in.
func (b *testBox) login() *testClient {
	b.t.Helper()
	c := b.dial()
	c.ok(`LOGIN ann "` + testPassword + `"`)
	return c
}

func (c *testClient) send(text string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, text)
	must(c.t, err)
}

// line reads one line; literals in it are read too and become part of it.
func (c *testClient) line() string {
	c.t.Helper()
	text, err := c.tryLine()
	must(c.t, err)
	return text
}

func (c *testClient) tryLine() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var all strings.Builder
	for {
		text, err := c.r.ReadString('\n')
		if err != nil {
			return all.String() + text, err
		}
		text, ok := strings.CutSuffix(text, "\r\n")
		if !ok {
			return text, fmt.Errorf("line without CRLF: %q", text)
		}
		all.WriteString(text)
		n, isLiteral := literalSize(text)
		if !isLiteral {
			return all.String(), nil
		}
		all.WriteString("\r\n")
		if _, err := io.CopyN(&all, c.r, n); err != nil {
			return all.String(), err
		}
	}
}

func literalSize(text string) (int64, bool) {
	open := strings.LastIndexByte(text, '{')
	if open < 0 || !strings.HasSuffix(text, "}") {
		return 0, false
	}
	n, err := strconv.ParseInt(text[open+1:len(text)-1], 10, 64)
	return n, err == nil
}

func (c *testClient) expect(prefix string) string {
	c.t.Helper()
	line := c.line()
	if !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %q, want %q...", line, prefix)
	}
	return line
}

// start sends a command and returns its tag.
func (c *testClient) start(command string) string {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("a%d", c.tags)
	c.send(tag + " " + command + "\r\n")
	return tag
}

// finish reads up to the tagged line.
func (c *testClient) finish(tag string) (untagged []string, status string) {
	c.t.Helper()
	for {
		line := c.line()
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, line)
	}
}

func (c *testClient) do(command string) (untagged []string, status string) {
	c.t.Helper()
	return c.finish(c.start(command))
}

// ok does a command that must succeed.
func (c *testClient) ok(command string) []string {
	c.t.Helper()
	untagged, status := c.do(command)
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%.100s: %s", command, status)
	}
	return untagged
}

// fails does a command that must be answered with want, "NO [CANNOT]".
func (c *testClient) fails(command, want string) {
	c.t.Helper()
	if _, status := c.do(command); !strings.HasPrefix(status, want) {
		c.t.Errorf("%.100s: %s, want %s", command, status, want)
	}
}

// gone waits for the end of the connection and returns the lines up to it.
func (c *testClient) gone() (lines []string) {
	c.t.Helper()
	for {
		line, err := c.tryLine()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				c.t.Fatalf("the connection stays open after %q", lines)
			}
			return lines
		}
		lines = append(lines, line)
	}
}

// append appends a small message.
func (c *testClient) append(mailbox, args, text string) string {
	c.t.Helper()
	_, status := c.do(fmt.Sprintf("APPEND %s %s{%d+}\r\n%s", mailbox, args, len(text), text))
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("APPEND: %s", status)
	}
	return status
}

const smallMessage = "From: ann@example.org\r\nSubject: hello\r\n\r\nworld\r\n"

func contains(lines []string, want string) bool {
	for _, line := range lines {
		if strings.Contains(line, want) {
			return true
		}
	}
	return false
}

func wantLines(t testing.TB, lines []string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !contains(lines, w) {
			t.Errorf("no %q in %q", w, lines)
		}
	}
}
