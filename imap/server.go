package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"nestbox/auth"
	"nestbox/storage"
)

// Options of a Server. A zero duration or limit takes the default named.
type Options struct {
	Store *storage.Store
	Auth  *auth.Authenticator
	TLS   *tls.Config  // nil: no STARTTLS
	Log   *slog.Logger // nil: none

	InsecureAuth bool     // passwords without TLS from beyond loopback
	LiteralMinus bool     // LITERAL- instead of LITERAL+ (RFC 7888 §5)
	Off          []string // extensions that are switched off, by name
	Version      string   // told in ID

	MessageLimit int // of messages that a command deals with (RFC 9738); 0: none

	MaxConns        int // connections, default 1000
	MaxConnsPerAddr int // of one address, default 100; loopback has no limit

	HandshakeTimeout time.Duration // TLS handshake, default 30 s
	LoginIdleTimeout time.Duration // silence before login, default 60 s
	LoginTimeout     time.Duration // until logged in, default 3 min
	IdleTimeout      time.Duration // autologout, default 31 min; RFC 9051 §5.4 wants 30
	ReadTimeout      time.Duration // each read within a command, default 2 min
	WriteTimeout     time.Duration // each write, default 2 min
}

// setDefaults fills what was left zero.
func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, v := range []struct {
		value *int
		def   int
	}{{&o.MaxConns, 1000}, {&o.MaxConnsPerAddr, 100}} {
		if *v.value == 0 {
			*v.value = v.def
		}
	}
	for _, v := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.HandshakeTimeout, 30 * time.Second}, {&o.LoginIdleTimeout, time.Minute},
		{&o.LoginTimeout, 3 * time.Minute}, {&o.IdleTimeout, 31 * time.Minute},
		{&o.ReadTimeout, 2 * time.Minute}, {&o.WriteTimeout, 2 * time.Minute},
	} {
		if *v.value == 0 {
			*v.value = v.def
		}
	}
}

// A Server serves IMAP to all accounts of a store.
type Server struct {
	tls    *tls.Config // of the options, with a record for channel binding
	o      Options
	tables *tables
	ctx    context.Context // ends when connections are cut off
	cut    context.CancelFunc
	// stopping ends when Shutdown begins: handshakes and logins give up.
	stopping context.Context
	stop     context.CancelFunc

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	perAddr   map[netip.Addr]int
	running   sync.WaitGroup
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("imap: server closed")

// NewServer makes a server. Names in o.Off that are no extensions are logged.
func NewServer(o Options) *Server {
	o.setDefaults()
	s := &Server{
		o: o, tls: auth.RecordBinding(o.TLS), listeners: make(map[net.Listener]struct{}),
		conns: make(map[*conn]struct{}), perAddr: make(map[netip.Addr]int),
	}
	s.ctx, s.cut = context.WithCancel(context.Background())
	s.stopping, s.stop = context.WithCancel(s.ctx)
	var unknown []string
	s.tables, unknown = newTables(o.Off)
	if len(unknown) > 0 {
		o.Log.Warn("imap_unknown_extensions", "names", unknown)
	}
	return s
}

// Serve accepts connections until Shutdown or an error of the listener, which
// it closes.
func (s *Server) Serve(l net.Listener, implicitTLS bool) error {
	defer l.Close()
	if !s.listen(l) {
		return ErrServerClosed
	}
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrServerClosed
			}
			if !isTemporary(err) {
				return err
			}
			// Out of file descriptors, or the peer left: try again.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.o.Log.Warn("imap_accept_failed", "error", err)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
			continue
		}
		pause = 0
		s.accept(nc, implicitTLS)
	}
}

// isTemporary reports whether Accept may be tried again. net.Error.Temporary is
// deprecated, but for Accept nothing took its place (net/http does the same).
func isTemporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// accept starts the goroutine of a connection, unless there are too many.
func (s *Server) accept(nc net.Conn, implicitTLS bool) {
	peer := addrOf(nc.RemoteAddr())
	c := &conn{
		srv: s, raw: nc, stream: nc, peer: peer, born: time.Now(),
		log: s.o.Log.With("peer", nc.RemoteAddr().String()),
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		// Often enough for a NAT to remember, seldom enough for a phone's battery.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 4 * time.Minute, Interval: 30 * time.Second, Count: 4})
	}
	why := ""
	if err := s.o.Auth.Banned(peer); err != nil {
		why = err.Error()
	} else {
		why = s.add(c)
	}
	if why != "" {
		s.o.Log.Warn("imap_connection_refused", "peer", peer, "why", why)
		s.refuse(nc, implicitTLS, why)
		return
	}
	go func() {
		defer s.remove(c)
		c.serve(implicitTLS)
	}()
}

// add counts the connection, or says why there is no room for it.
func (s *Server) add(c *conn) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return "the server is shutting down"
	case len(s.conns) >= s.o.MaxConns:
		return "too many connections"
	case s.perAddr[c.peer] >= s.o.MaxConnsPerAddr && !c.peer.IsLoopback():
		return "too many connections from your address"
	}
	s.conns[c] = struct{}{}
	s.perAddr[c.peer]++
	s.running.Add(1)
	return ""
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perAddr[c.peer]--; s.perAddr[c.peer] == 0 {
		delete(s.perAddr, c.peer)
	}
	s.running.Done()
}

// refuse closes a connection that there is no room for. It must not block: a
// few bytes fit into the socket's buffer, a TLS handshake doesn't.
func (s *Server) refuse(nc net.Conn, implicitTLS bool, why string) {
	if !implicitTLS {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte("* BYE [UNAVAILABLE] " + why + "\r\n"))
	}
	_ = nc.Close()
}

// Shutdown closes the listeners and lets every connection finish its command
// and say BYE. Those that have not when ctx ends are cut off; its error is
// returned then.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.stop()
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.interrupt(newsShutdown)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cut()
		return nil
	case <-ctx.Done():
	}
	s.cut()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.raw.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}
