package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func serveTestWeb(t *testing.T) (w *Web, addr string) {
	t.Helper()
	w = NewWeb(slog.New(slog.DiscardHandler), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Serve(l, false) }()
	t.Cleanup(func() {
		if err := w.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w, l.Addr().String()
}

func TestWebRoutes(t *testing.T) {
	t.Parallel()
	w := NewWeb(slog.New(slog.DiscardHandler), nil)
	for _, prefix := range []string{"/a/", "/a/b/", "/One.xml"} {
		w.Handle(prefix, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, prefix) }))
	}
	for path, want := range map[string]string{
		"/a/": "/a/", "/a/x": "/a/", "/a/b/c": "/a/b/", "/A/B/C": "/a/b/", "/one.XML": "/One.xml",
		"/a": "", "/one.xml/": "", "/one.xmlx": "", "/": "", "/ab/": "",
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if want == "" && rec.Code != http.StatusNotFound || want != "" && (rec.Code != http.StatusOK || rec.Body.String() != want) {
			t.Errorf("%s: %d %q, want %q", path, rec.Code, rec.Body, want)
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "Cache-Control"} {
			if rec.Header().Get(h) == "" {
				t.Errorf("%s: no %s", path, h)
			}
		}
	}
}

func TestWebBounds(t *testing.T) {
	t.Parallel()
	w, addr := serveTestWeb(t)
	w.Handle("/read", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}))
	for name, c := range map[string]struct {
		request string
		want    string
	}{
		"good":   {"GET /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "},
		"header": {"GET /read HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"url":    {"GET /read?" + strings.Repeat("x", webMaxURL) + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 414 "},
		"body":   {"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000), "HTTP/1.1 413 "},
		"http2":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 "},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(conn, c.request) // it may answer before it has read all
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
		_ = conn.Close()
	}
}

func TestConnLimit(t *testing.T) {
	t.Parallel()
	c := newConnLimit(5, 2)
	a, b, self := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("127.0.0.1")
	for i, step := range []struct {
		from netip.Addr
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {self, true}, {self, true}, {b, false}, {self, false}} {
		if got := c.take(step.from); got != step.want {
			t.Errorf("%d: %v from %v", i, got, step.from)
		}
	}
	c.give(a)
	if !c.take(a) || c.take(b) {
		t.Error("a place that was given back")
	}
	for _, addr := range []netip.Addr{a, a, b, self, self} {
		c.give(addr)
	}
	if c.all != 0 || len(c.from) != 0 {
		t.Errorf("left: %d, %v", c.all, c.from)
	}
}

// TestConnLimitListener: a connection beyond the limit is closed, and one that
// ended makes room.
func TestConnLimitListener(t *testing.T) {
	t.Parallel()
	w, addr := serveTestWeb(t)
	w.conns.mu.Lock()
	w.conns.most = 1
	w.conns.mu.Unlock()
	ask := func(c net.Conn) (string, error) {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		got := make([]byte, 12)
		_, err := io.ReadFull(c, got)
		return string(got), err
	}
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(first); err != nil || got != "HTTP/1.1 404" {
		t.Fatal(got, err)
	}
	second, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(second); err == nil {
		t.Errorf("served beyond the limit: %q", got)
	}
	_ = second.Close()
	_ = first.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ask(c)
		_ = c.Close()
		if err == nil && got == "HTTP/1.1 404" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no room after the first ended", got, err)
		}
	}
}

func TestRemoteNetwork(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::", "[::1]:80": "::1", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[fe80::1%eth0]:1": "fe80::",
	} {
		if got := remoteNetwork(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(in))); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
