package imap

// What can change while the server runs.

// SetLimits changes the limits of connections; those that are there stay.
func (s *Server) SetLimits(conns, perAddr int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.MaxConns, s.o.MaxConnsPerAddr = conns, perAddr
}

// SetOff switches extensions off for everybody who logs in from now on, and
// the others on again. It returns the names that are no extensions.
func (s *Server) SetOff(names []string) (unknown []string) {
	off, unknown := s.tables.switchedOff(names)
	s.tables.off.Store(uint64(off))
	return unknown
}

// Connections is how many there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
