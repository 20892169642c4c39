package tls

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	challengeTime  = 10 * time.Second // for a handshake
	challengeConns = 16               // at a time: a CA comes from some places at once
)

// ServeHTTP answers the requests of a CA that looks whether a name is ours.
func (s *Set) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, source := range s.sources {
		if h, ok := source.(http.Handler); ok {
			h.ServeHTTP(w, r)
			return
		}
	}
	http.NotFound(w, r)
}

// ServeChallenges answers the handshakes of ACMEProtocol, and no others, on a
// listener until it is closed.
func (s *Set) ServeChallenges(l net.Listener, log *slog.Logger) error {
	config := s.Config("1.2", ACMEProtocol)
	slots := make(chan struct{}, challengeConns)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			log.Warn("acme_accept_failed", "error", err)
			time.Sleep(time.Second) // out of file descriptors: that takes a while
			continue
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(challengeTime))
			_ = tls.Server(c, config).Handshake() // strangers' errors are theirs
		}()
	}
}
