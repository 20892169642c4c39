package imap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/auth"
	"nestbox/imap/wire"
)

// A conn is one client's connection, served by one goroutine. Others may only
// interrupt its waiting.
type conn struct {
	srv  *Server
	raw  net.Conn   // TCP; deadlines are set here, under TLS too
	peer netip.Addr // the client's; changed with srv.mu held (admission.go)
	via  netip.Addr // who connected: the client, or who speaks for it (ID)
	log  *slog.Logger
	d    *wire.Decoder
	w    *wire.Encoder

	born     time.Time
	heard    time.Time // when the client last sent something
	loggedIn bool
	private  bool // a proxy speaks TLS with the client

	stream  net.Conn // raw, or TLS over it. Only the connection's goroutine uses it.
	secure  bool
	binding *auth.Binding // of the handshake, with secure
	// in and out, if any, are a layer over stream that the session put there.
	in     io.Reader
	out    io.Writer
	writes int // pieces written; tells whether a command's answer has begun

	mu      sync.Mutex
	waiting news // what ends the present wait
	news    news // what came since the last wait
	passive bool // in wait: reads keep the deadline that wait set
}

// news is why a waiting connection is woken.
type news uint8

const (
	newsMailbox  news = 1 << iota // the selected mailbox changed
	newsShutdown                  // the server ends
	newsLogin                     // the login is no longer good
)

// Wake is called by the storage after a commit that touches the selected
// mailbox. It sets a bit, and ends the wait of a client in IDLE by its read
// deadline: nothing here blocks or allocates.
func (c *conn) Wake() { c.interrupt(newsMailbox) }

func (c *conn) interrupt(n news) {
	c.mu.Lock()
	c.news |= n
	if c.waiting&n != 0 {
		_ = c.raw.SetReadDeadline(longAgo) // fails only on a closed connection, whose read ends too
	}
	c.mu.Unlock()
}

var longAgo = time.Unix(1, 0)

// wait blocks until the client sends something, one of wake happens, or the time
// is over (os.ErrDeadlineExceeded). It holds no buffers meanwhile.
func (c *conn) wait(until time.Time, wake news) (news, error) {
	if err := c.w.Flush(); err != nil {
		return 0, err
	}
	if c.d.Buffered() > 0 {
		return 0, nil
	}
	c.d.Release()
	for {
		if got := c.startWaiting(until, wake); got != 0 {
			return got, nil
		}
		err := c.d.Wait()
		c.mu.Lock()
		c.waiting, c.passive = 0, false
		c.mu.Unlock()
		if err == nil {
			return 0, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(until) {
			return 0, err
		}
	}
}

// startWaiting returns what happened already, or lets interrupt end the next
// read.
func (c *conn) startWaiting(until time.Time, wake news) (got news) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if got = c.news & wake; got != 0 {
		c.news &^= got
		return got
	}
	c.waiting, c.passive = wake, true
	_ = c.raw.SetReadDeadline(until)
	return 0
}

// seen forgets news: the caller is about to read what they are about.
func (c *conn) seen(n news) {
	c.mu.Lock()
	c.news &^= n
	c.mu.Unlock()
}

// pending reports whether n happened since it was last seen.
func (c *conn) pending(n news) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.news&n != 0
}

// Read reads for the decoder. Each read has a deadline of its own, so that a
// slow client may take its time for a literal, and a dead one may not. Before
// login all reads together have one more.
func (c *conn) Read(p []byte) (int, error) {
	if !c.passive {
		until := time.Now().Add(c.srv.o.ReadTimeout)
		if !c.loggedIn {
			until = minTime(until, c.born.Add(c.srv.o.LoginTimeout))
		}
		_ = c.raw.SetReadDeadline(until)
	}
	from := io.Reader(c.stream)
	if c.in != nil {
		from = c.in
	}
	n, err := from.Read(p)
	return n, connFailed(err)
}

// Write writes for the encoder, each piece with a deadline of its own.
func (c *conn) Write(p []byte) (int, error) {
	_ = c.raw.SetWriteDeadline(time.Now().Add(c.srv.o.WriteTimeout))
	c.writes++
	to := io.Writer(c.stream)
	if c.out != nil {
		to = c.out
	}
	n, err := to.Write(p)
	return n, connFailed(err)
}

// handshake makes the connection a TLS one.
func (c *conn) handshake() error {
	_ = c.raw.SetDeadline(time.Now().Add(c.srv.o.HandshakeTimeout))
	t := tls.Server(c.raw, c.srv.tls)
	ctx, binding := auth.NewBinding(c.srv.stopping)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != "" && p != "imap" {
		return fmt.Errorf("a client of %s", p) // a CA that looks for the name (RFC 8737 §3): it has seen it
	}
	c.stream, c.secure, c.binding = t, true, binding
	return nil
}

// serve is the life of a connection.
func (c *conn) serve(implicitTLS bool) {
	defer c.close()
	if implicitTLS {
		if err := c.handshake(); err != nil {
			c.log.Debug("imap_handshake_failed", "error", err)
			return
		}
	}
	c.heard = time.Now()
	c.d, c.w = wire.NewDecoder(c), wire.NewEncoder(c)
	c.d.SetContinue(c.goOn)
	c.d.SetLiteralMinus(c.srv.o.LiteralMinus)
	s := &session{srv: c.srv, c: c, d: c.d, w: c.w, log: c.log, off: extSet(c.srv.tables.off.Load())}
	defer s.end()
	s.status("", imap.StatusResponseTypeOK, codeCapability+" "+s.capabilities(), "nestbox ready")
	if err := c.w.Flush(); err != nil {
		return
	}
	s.farewell(c.loop(s))
}

// goOn asks for the rest of a command (RFC 9051 §7.6).
func (c *conn) goOn() error {
	c.w.Raw("+ go on").CRLF()
	return c.w.Flush()
}

// loop serves commands until the connection ends, and says why. All waiting for
// the client between its lines is here, in IDLE too, with as little on the stack
// as can be.
func (c *conn) loop(s *session) error {
	var got news
	for {
		if s.idle != nil || s.wishes.listens && (got != 0 || c.pending(newsMailbox)) {
			if err := s.push(); err != nil {
				return err
			}
		}
		var err error
		got, err = c.wait(c.patience(s), s.wakes())
		switch {
		case got&newsShutdown != 0 || c.pending(newsShutdown):
			return &byeError{"", "the server is shutting down"}
		case got&newsLogin != 0 || c.pending(newsLogin):
			return s.loggedOut()
		case got != 0:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &byeError{"", "idle for too long"}
		case err != nil:
			return err
		}
		c.heard = time.Now()
		if err := s.input(); err != nil {
			return err
		}
	}
}

// patience is until when the client may be silent.
func (c *conn) patience(s *session) time.Time {
	if c.loggedIn {
		return c.heard.Add(c.srv.o.IdleTimeout)
	}
	return minTime(c.heard.Add(c.srv.o.LoginIdleTimeout), c.born.Add(c.srv.o.LoginTimeout))
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// close ends the connection. A TLS client is told so.
func (c *conn) close() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	if c.stream != c.raw {
		_ = c.stream.Close() // close_notify; the peer may be gone
	}
	_ = c.raw.Close()
}

// A connError is a failure of the connection itself. It is marked where it
// arises: an error of the storage can hold a system error too.
type connError struct{ error }

func (e connError) Unwrap() error { return e.error }

func connFailed(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return connError{err}
}

func isConnError(err error) bool {
	var e connError
	return errors.As(err, &e)
}

// loopback reports whether the connection doesn't leave the machine.
func (c *conn) loopback() bool { return c.via.IsLoopback() }

// within tells whether an address is in one of some networks.
func within(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addrOf is the address of a TCP peer; of another kind of connection, the
// zero Addr.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
