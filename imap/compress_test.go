package imap

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"nestbox/imap/wire"
)

// A flateConn is a client's side of COMPRESS.
type flateConn struct {
	net.Conn
	under *bufio.Reader // what came, not expanded
	r     io.Reader
	w     *flate.Writer
}

func (c *flateConn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *flateConn) Write(p []byte) (int, error) {
	if _, err := c.w.Write(p); err != nil {
		return 0, err
	}
	return len(p), c.w.Flush()
}

// compress turns compression on.
func (c *testClient) compress() {
	c.t.Helper()
	c.ok("COMPRESS DEFLATE")
	w, err := flate.NewWriter(c.conn, 6)
	must(c.t, err)
	under := bufio.NewReader(c.conn)
	c.conn = &flateConn{Conn: c.conn, under: under, r: flate.NewReader(under), w: w}
	c.r = bufio.NewReader(c.conn)
}

func TestCompress(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	early := b.dial()
	early.fails("COMPRESS DEFLATE", "BAD")
	c := b.login()
	wantLines(t, c.ok("CAPABILITY"), "COMPRESS=DEFLATE")
	c.fails("COMPRESS", "BAD")
	c.fails("COMPRESS GZIP", "BAD")
	c.compress()
	if lines := c.ok("CAPABILITY"); contains(lines, "COMPRESS") {
		t.Errorf("%q", lines)
	}
	c.fails("COMPRESS DEFLATE", "BAD [COMPRESSIONACTIVE]")
	big := "Subject: big\r\n\r\n" + strings.Repeat("all work and no play makes Jack a dull boy\r\n", 10000)
	c.append("INBOX", "", big)
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(i * i * 7919 >> 5)
		if noise[i] == 0 {
			noise[i] = 1
		}
	}
	c.append("INBOX", "", "Subject: noise\r\n\r\n"+string(noise))
	c.ok("SELECT INBOX")
	for range 3 {
		if lines := c.ok("FETCH 1 BODY.PEEK[]"); !contains(lines, big) {
			t.Fatal("another message came back")
		}
		if lines := c.ok("FETCH 2 BODY.PEEK[TEXT]"); !contains(lines, string(noise)) {
			t.Fatal("other noise came back")
		}
	}
	// Pipelined, in one piece.
	c.send("p1 NOOP\r\np2 NOOP\r\n")
	c.expect("p1 OK")
	c.expect("p2 OK")
	// News in IDLE come through, and the wait for them is not stuck.
	tag := c.start("IDLE")
	c.expect("+ ")
	b.login().append("INBOX", "", smallMessage)
	c.expect("* 3 EXISTS")
	c.expect("* 3 RECENT")
	c.send("DONE\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "OK") {
		t.Error(status)
	}
	// What is no DEFLATE ends the connection.
	raw := c.conn.(*flateConn).Conn
	_, err := raw.Write(bytes.Repeat([]byte{0xff}, 100))
	must(t, err)
	c.gone()
	hasty := b.login()
	hasty.send("h1 COMPRESS DEFLATE\r\nh2 NOOP\r\n")
	hasty.expect("h1 BAD")
	hasty.expect("h2 OK")
}

// TestCompressPartialFlush: zlib's Z_PARTIAL_FLUSH ends a command within an
// octet; the command is answered all the same. These are "z1 NOOP" and "z2 NOOP"
// as zlib sends them.
func TestCompressPartialFlush(t *testing.T) {
	t.Parallel()
	c := newTestBox(t, nil).login()
	c.ok("COMPRESS DEFLATE")
	c.r = bufio.NewReader(flate.NewReader(c.conn))
	for i, data := range zlibPartial {
		piece, err := hex.DecodeString(data)
		must(t, err)
		_, err = c.conn.Write(piece)
		must(t, err)
		c.expect(fmt.Sprintf("z%d OK", i+1))
	}
}

// TestCompressUnauthenticate: compression ends with UNAUTHENTICATE in both
// directions (RFC 8437 §4.1), whatever the client ends its stream with.
func TestCompressUnauthenticate(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	for _, end := range []func(w *flate.Writer) error{(*flate.Writer).Flush, (*flate.Writer).Close} {
		c := b.login()
		raw := c.conn
		c.compress()
		under := c.conn.(*flateConn).under
		var piece bytes.Buffer
		w := c.conn.(*flateConn).w
		c.ok("NOOP")
		w.Reset(&piece)
		_, err := io.WriteString(w, "u UNAUTHENTICATE\r\n")
		must(t, err)
		must(t, end(w))
		piece.WriteString("v NOOP\r\nw LOGIN ann \"" + testPassword + "\"\r\n")
		_, err = raw.Write(piece.Bytes())
		must(t, err)
		c.expect("u OK")
		c.conn, c.r = raw, under
		c.expect("v OK")
		c.expect("w OK")
		c.compress()
		c.ok("NOOP")
	}
}

// TestCompressBomb: data that expand a thousandfold cost no memory.
func TestCompressBomb(t *testing.T) {
	t.Parallel()
	c := newTestBox(t, nil).login()
	c.compress()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send("b1 NOOP ")
	block := strings.Repeat("x", 1<<20)
	for range 64 {
		c.send(block)
	}
	c.send("\r\nb2 NOOP\r\n")
	c.expect("b1 BAD")
	c.expect("b2 OK")
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("the heap grew by %d octets", grown)
	}
	if n := unsafe.Sizeof(wire.Inflater{}) + deflateHistory; n > 56<<10 {
		t.Errorf("%d octets a connection", n)
	}
}

var zlibPartial = []string{
	"aa3254f0f3f70fe0e50208",
	"a02a23280320",
	"80aa8ca10c8000",
}
