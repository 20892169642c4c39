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

	InsecureAuth bool // passwords without TLS from beyond loopback
	// PlaintextFrom are networks from which passwords may come without TLS; IDFrom
	// those whose ID is believed when it tells of another address.
	PlaintextFrom, IDFrom []netip.Prefix
	LiteralMinus          bool     // LITERAL- instead of LITERAL+ (RFC 7888 §5)
	Off                   []string // extensions that are switched off, by name
	Version               string   // told in ID

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
	strangers map[*conn]struct{} // those before login
	perAddr   map[netip.Addr]int // by auth.PeerNetwork
	running   sync.WaitGroup
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("imap: server closed")

// NewServer makes a server. Names in o.Off that are no extensions are logged.
func NewServer(o Options) *Server {
	o.setDefaults()
	s := &Server{
		o: o, tls: auth.RecordBinding(o.TLS), listeners: make(map[net.Listener]struct{}),
		conns: make(map[*conn]struct{}), strangers: make(map[*conn]struct{}), perAddr: make(map[netip.Addr]int),
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
