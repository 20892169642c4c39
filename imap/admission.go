package imap

import (
	"net"
	"net/netip"
	"time"

	"nestbox/auth"
)

// accept starts the goroutine of a connection, unless there are too many.
func (s *Server) accept(nc net.Conn, implicitTLS bool) {
	peer := addrOf(nc.RemoteAddr())
	c := &conn{
		srv: s, raw: nc, stream: nc, peer: peer, via: peer, born: time.Now(),
		log: s.o.Log.With("peer", nc.RemoteAddr().String()),
	}
	if proxied, ok := nc.(interface{ Private() bool }); ok {
		c.private = proxied.Private()
	}
	if tcp, ok := nc.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
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
	if s.closed {
		return "the server is shutting down"
	}
	if why = s.roomFor(c.peer); why != "" {
		return why
	}
	if len(s.conns) >= s.o.MaxConns && !s.evict(auth.PeerNetwork(c.peer)) {
		return "too many connections"
	}
	s.conns[c] = struct{}{}
	s.strangers[c] = struct{}{}
	s.perAddr[auth.PeerNetwork(c.peer)]++
	s.running.Add(1)
	return ""
}

// roomFor says why an address can have no further connection. The lock is held.
func (s *Server) roomFor(peer netip.Addr) (why string) {
	if s.perAddr[auth.PeerNetwork(peer)] >= s.o.MaxConnsPerAddr && !peer.IsLoopback() {
		return "too many connections from your address"
	}
	return ""
}

// evict ends a connection before login, when all places are taken: one of those
// from the address that has most, and as many as the newcomer's would have then;
// of these the oldest. Who only connects can't fill the house. The lock is held.
func (s *Server) evict(newcomer netip.Addr) bool {
	var victim *conn
	most := s.perAddr[newcomer] + 1
	for c := range s.strangers {
		n := s.perAddr[auth.PeerNetwork(c.peer)]
		if n > most || n == most && (victim == nil || c.born.Before(victim.born)) {
			victim, most = c, n
		}
	}
	if victim == nil {
		return false
	}
	s.o.Log.Warn("imap_connection_evicted", "peer", victim.peer, "connections", most)
	s.uncount(victim)
	_ = victim.raw.Close()
	return true
}

// uncount takes a connection out of what is counted. The lock is held.
func (s *Server) uncount(c *conn) {
	if _, ok := s.conns[c]; !ok {
		return
	}
	delete(s.conns, c)
	delete(s.strangers, c)
	network := auth.PeerNetwork(c.peer)
	if s.perAddr[network]--; s.perAddr[network] == 0 {
		delete(s.perAddr, network)
	}
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uncount(c)
	s.running.Done()
}

// loggedIn: the connection is no stranger's any more.
func (s *Server) loggedIn(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.strangers, c)
}

// move counts a connection for another address, which its client has in truth, or
// says why that can't be.
func (s *Server) move(c *conn, peer netip.Addr) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return "the server is shutting down"
	}
	if auth.PeerNetwork(peer) != auth.PeerNetwork(c.peer) {
		if why = s.roomFor(peer); why != "" {
			return why
		}
	}
	s.uncount(c)
	c.peer = peer
	s.conns[c] = struct{}{}
	s.strangers[c] = struct{}{}
	s.perAddr[auth.PeerNetwork(peer)]++
	return ""
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
