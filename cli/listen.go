package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"nestbox/config"
	"nestbox/imap"
	"nestbox/proxy"
)

// listenRetry is how often an address is tried that the machine doesn't have
// yet: its network comes up later, or its lease.
const listenRetry = 2 * time.Second

// A protocol is a way in.
type protocol struct {
	name     string // the configuration's key
	port     string // its own
	fallback string // where its own isn't allowed
	tls      bool   // from the first byte
	web      bool   // for browsers, and programs that look for settings
	in       func(*config.Config) *[]string
}

var protocols = []protocol{
	{name: "imap", port: "143", fallback: "1143", in: func(c *config.Config) *[]string { return &c.IMAP }},
	{name: "imaps", port: "993", fallback: "1993", tls: true, in: func(c *config.Config) *[]string { return &c.IMAPS }},
	{name: "http", port: "80", fallback: "8080", web: true, in: func(c *config.Config) *[]string { return &c.HTTP }},
	{name: "https", port: "443", fallback: "8443", tls: true, web: true, in: func(c *config.Config) *[]string { return &c.HTTPS }},
	{name: acmeTLS, port: "443", tls: true, in: func(c *config.Config) *[]string { return &c.ACMETLS }},
}

// addresses are those that a configuration names.
func (p protocol) addresses(cfg *config.Config) []string { return *p.in(cfg) }

// setAddresses changes them in cfg to those that are served now. All of them
// served are taken as the new configuration has them, in its order.
func (p protocol) setAddresses(cfg *config.Config, served []string, wanted *config.Config) {
	if wanted != nil && len(p.addresses(wanted)) == len(served) {
		served = p.addresses(wanted)
	}
	*p.in(cfg) = served
}

// A listener is an address that is served.
type listener struct {
	protocol
	net.Listener
	addr   string // as it is configured
	passed bool   // opened by the service manager
}

// listen binds the configured addresses that the service manager hasn't.
func (s *serving) listen(ctx context.Context) error {
	if err := s.takePassed(); err != nil {
		return err
	}
	for _, p := range protocols {
		for _, addr := range p.addresses(s.cfg) {
			if s.isPassed(p, addr) {
				continue
			}
			if err := s.bind(ctx, p, addr); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *serving) bind(ctx context.Context, p protocol, addr string) error {
	configured := addr
	l, err := listenTCP(ctx, addr)
	if errors.Is(err, syscall.EACCES) && s.leftRoot {
		return failWith(exitNotAllowed, "%s wants root, whose rights are given up: restart nestbox to serve it", addr)
	}
	if errors.Is(err, syscall.EACCES) && s.cfg.Source(p.name) == config.FromDefault {
		s.say("\n*** Port %s is not allowed for this user: %s is served on port %s instead. ***\n", p.port, p.name, p.fallback)
		s.log.Warn("port_not_allowed", "protocol", p.name, "port", p.port, "instead", p.fallback)
		addr = ":" + p.fallback
		l, err = listenTCP(ctx, addr)
	}
	switch {
	case err == nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners = append(s.listeners, &listener{protocol: p, Listener: l, addr: configured})
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return failWith(exitTryAgain, "%s: another program has the port (%w)", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return s.bindLater(ctx, p, addr)
	}
	return fmt.Errorf("%s %s: %w", p.name, addr, err)
}

func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr)
}

// bindLater waits for an address that the machine doesn't have yet: in the
// background, but before root's rights are given up if that is to come.
func (s *serving) bindLater(ctx context.Context, p protocol, addr string) error {
	s.log.Warn("address_missing", "protocol", p.name, "addr", addr, "retry", listenRetry)
	if s.cfg.User != "" && os.Geteuid() == 0 {
		l, err := s.retry(ctx, addr)
		if err == nil {
			s.listeners = append(s.listeners, &listener{protocol: p, Listener: l, addr: addr})
		}
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = map[address]context.CancelFunc{}
	}
	s.waiting[address{p.name, addr}] = cancel
	s.mu.Unlock()
	s.running.Go(func() {
		defer cancel()
		defer s.waitsNoMore(p, addr)
		l, err := s.retry(ctx, addr)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("listen_failed", "protocol", p.name, "addr", addr, "error", err)
			}
			return
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			_ = l.Close()
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		own := &listener{protocol: p, Listener: l, addr: addr}
		s.listeners = append(s.listeners, own)
		s.accept(own)
	})
	return nil
}

// An address is one that the configuration names for a protocol.
type address struct{ protocol, addr string }

func (s *serving) waitsNoMore(p protocol, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, address{p.name, addr})
}

func (s *serving) retry(ctx context.Context, addr string) (net.Listener, error) {
	tick := time.NewTicker(listenRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		if l, err := listenTCP(ctx, addr); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return l, err
		}
	}
}

// accept serves a listener until it is closed. s.mu is held.
func (s *serving) accept(l *listener) {
	s.log.Info("listening", "protocol", l.name, "addr", l.Addr().String())
	s.running.Go(func() {
		serve := s.imap.Serve
		switch {
		case l.web:
			serve = s.web.Serve
		case l.name == acmeTLS:
			serve = s.serveChallenges
		}
		if err := serve(proxy.Wrap(l.Listener, s.cfg.ProxyFrom, s.log), l.tls); err != nil && !errors.Is(err, imap.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.failed <- fmt.Errorf("%s %s: %w", l.name, l.Addr(), err)
		}
	})
}

func (s *serving) closeListeners() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *serving) addrs() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]string{}
	for _, l := range s.listeners {
		all[l.name] = append(all[l.name], l.Addr().String())
	}
	return all
}

// port is where a client finds a protocol: its port and, if it is bound to
// one address, that. ok is false when nothing serves it.
func (s *serving) port(name string) (host string, port uint16, ok bool) {
	addrs := s.addrs()[name]
	if len(addrs) == 0 {
		return "", 0, false
	}
	ap, err := netip.ParseAddrPort(addrs[0])
	if err != nil {
		return "", 0, false
	}
	if !ap.Addr().IsUnspecified() {
		host = ap.Addr().Unmap().String()
	}
	return host, ap.Port(), true
}
