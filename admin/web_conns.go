package admin

import (
	"net"
	"net/netip"
	"sync"
)

// connLimit bounds connections, all together and from one address. Those
// beyond are closed: HTTP has no word to say before TLS.
type connLimit struct {
	most, each int
	mu         sync.Mutex
	all        int
	from       map[netip.Addr]int
}

func newConnLimit(most, each int) *connLimit {
	return &connLimit{most: most, each: each, from: map[netip.Addr]int{}}
}

// limit makes a listener of l that hands out only so many connections.
func (c *connLimit) limit(l net.Listener) net.Listener { return &limitedListener{l, c} }

type limitedListener struct {
	net.Listener
	limit *connLimit
}

// Accept closes connections that are too many.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := remoteNetwork(c.RemoteAddr())
		if l.limit.take(from) {
			return &limitedConn{Conn: c, limit: l.limit, from: from}, nil
		}
		_ = c.Close()
	}
}

// take counts a connection, unless there are enough.
func (c *connLimit) take(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The machine itself has no limit of its own: a proxy on it brings many people.
	if c.all >= c.most || c.from[from] >= c.each && !from.IsLoopback() {
		return false
	}
	c.all++
	c.from[from]++
	return true
}

func (c *connLimit) give(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[from]--; c.from[from] <= 0 {
		delete(c.from, from)
	}
}

type limitedConn struct {
	net.Conn
	limit *connLimit
	from  netip.Addr
	once  sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { c.limit.give(c.from) })
	return c.Conn.Close()
}

// remoteNetwork is an address, or for IPv6 its /64: one household's.
func remoteNetwork(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil && !ip.IsLoopback() {
			return p.Addr()
		}
	}
	return ip
}
