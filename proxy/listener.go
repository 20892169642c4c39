package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// headerTime is how long a proxy may take for its header.
	headerTime = 10 * time.Second
	// maxWaiting is how many connections may be without their header at a time.
	maxWaiting = 512
)

// A Listener gives out connections with the addresses of the clients that
// proxies connect for.
type Listener struct {
	net.Listener
	from    []netip.Prefix
	log     *slog.Logger
	ready   chan accepted
	waiting chan struct{}
	closed  chan struct{}
	close   sync.Once
}

type accepted struct {
	conn net.Conn
	err  error
}

// Wrap makes a listener whose connections from some networks begin with a
// header. Without networks it is l itself.
func Wrap(l net.Listener, from []netip.Prefix, log *slog.Logger) net.Listener {
	if len(from) == 0 {
		return l
	}
	p := &Listener{
		Listener: l, from: from, log: log,
		ready: make(chan accepted), waiting: make(chan struct{}, maxWaiting), closed: make(chan struct{}),
	}
	go p.run()
	return p
}

// run accepts until the listener is closed. Nobody waits for a header but the
// connection's own goroutine.
func (l *Listener) run() {
	for {
		nc, err := l.Listener.Accept()
		tcp, ok := nc.(*net.TCPConn)
		if err != nil || !ok || !l.trusts(nc.RemoteAddr()) {
			if !l.give(accepted{nc, err}) {
				return
			}
			continue
		}
		select {
		case l.waiting <- struct{}{}:
			go l.greet(tcp)
		default:
			l.refuse(tcp, "too many connections without their header")
		}
	}
}

func (l *Listener) trusts(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	return slices.ContainsFunc(l.from, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// give hands a connection, or an error, to Accept. It is false once the listener
// is closed.
func (l *Listener) give(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// greet reads the header of a connection.
func (l *Listener) greet(tcp *net.TCPConn) {
	defer func() { <-l.waiting }()
	_ = tcp.SetDeadline(time.Now().Add(headerTime))
	h, err := ReadHeader(tcp)
	if err != nil {
		l.refuse(tcp, err.Error())
		return
	}
	_ = tcp.SetDeadline(time.Time{})
	c := &Conn{TCPConn: tcp, remote: tcp.RemoteAddr(), private: h.TLS}
	if h.Source.IsValid() {
		c.remote = net.TCPAddrFromAddrPort(h.Source)
	}
	l.give(accepted{c, nil})
}

func (l *Listener) refuse(tcp *net.TCPConn, why string) {
	l.log.Warn("proxy_header_refused", slog.String("peer", tcp.RemoteAddr().String()), slog.String("why", why))
	_ = tcp.Close()
}

// Accept is net.Listener's.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// A Conn is a connection that a proxy made.
type Conn struct {
	*net.TCPConn
	remote  net.Addr
	private bool
}

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Private tells whether the client speaks TLS with the proxy: nobody can listen
// in there.
func (c *Conn) Private() bool { return c.private }
