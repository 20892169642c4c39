package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"nestbox/config"
)

// firstPassed is the first of the sockets that systemd passes (sd_listen_fds(3)).
const firstPassed = 3

// maxPassed bounds how many there are: more are a mistake.
const maxPassed = 256

// takePassed takes over the sockets that the service manager has opened. A
// protocol that has some, and no addresses in the configuration, is served on
// those only; else they are those of the configured addresses that they have.
func (s *serving) takePassed() error {
	if s.getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil // for another process, or none
	}
	n, err := strconv.Atoi(s.getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > maxPassed {
		return failWith(exitUnfit, "LISTEN_FDS=%q: want a number up to %d", s.getenv("LISTEN_FDS"), maxPassed)
	}
	names := strings.Split(s.getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		// Children must not have it.
		syscall.CloseOnExec(firstPassed + i)
		name := ""
		if i < len(names) {
			name = names[i]
		}
		if err := s.takeSocket(firstPassed+i, name); err != nil {
			return failWith(exitUnfit, "socket %d from systemd, named %q: %w", i+1, name, err)
		}
	}
	s.adoptPassed(s.cfg)
	return nil
}

func (s *serving) takeSocket(fd int, name string) error {
	// Accept=yes passes a connection, not a listener (systemd.socket(5)).
	if listening, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil {
		return os.NewSyscallError("getsockopt", err)
	} else if listening == 0 {
		return errors.New("it doesn't listen: the unit wants ListenStream= and Accept=no")
	}
	f := os.NewFile(uintptr(fd), name)
	l, err := net.FileListener(f)
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return errors.Join(fmt.Errorf("%s is not a TCP address", l.Addr()), l.Close())
	}
	p, ok := protocolOf(name, addr.Port)
	if !ok {
		return errors.Join(fmt.Errorf("what is to be served on %s? Set FileDescriptorName= to %s", addr, protocolNames()), l.Close())
	}
	s.listeners = append(s.listeners, &listener{protocol: p, Listener: l, addr: addr.String(), passed: true})
	return nil
}

// protocolOf finds what a passed socket is for: by its name, or that of its
// unit (nestbox-imaps.socket), else by its port.
func protocolOf(name string, port int) (protocol, bool) {
	if unit, ok := strings.CutSuffix(name, ".socket"); ok {
		name = unit[strings.LastIndex(unit, "-")+1:]
	}
	for _, p := range protocols {
		if p.name == name {
			return p, true
		}
	}
	for _, p := range protocols {
		if p.port == strconv.Itoa(port) {
			return p, true
		}
	}
	return protocol{}, false
}

func protocolNames() string {
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// adoptPassed has a configuration name the addresses of the passed sockets:
// where it says nothing itself, and of those that it says in other words.
func (s *serving) adoptPassed(cfg *config.Config) {
	for _, p := range protocols {
		var passed []string
		for _, l := range s.bound() {
			if l.passed && l.name == p.name {
				passed = append(passed, l.addr)
			}
		}
		if len(passed) == 0 {
			continue
		}
		// One that isn't configured is served all the same: who made the
		// socket wants that.
		addrs := slices.Clone(passed)
		if cfg.Source(p.name) != config.FromDefault {
			for _, addr := range p.addresses(cfg) {
				if !slices.ContainsFunc(passed, func(have string) bool { return sameAddress(addr, have) }) {
					addrs = append(addrs, addr)
				}
			}
		}
		p.setAddresses(cfg, addrs, nil)
	}
}

// sameAddress reports whether a configured address is that of a socket.
func sameAddress(configured, socket string) bool {
	host, port, err := net.SplitHostPort(configured)
	have, herr := netip.ParseAddrPort(socket)
	if err != nil || herr != nil || port != strconv.Itoa(int(have.Port())) {
		return false
	}
	if host == "" {
		return have.Addr().IsUnspecified()
	}
	want, err := netip.ParseAddr(host)
	return err == nil && want.Unmap() == have.Addr().Unmap()
}

// isPassed reports whether the service manager has opened an address of the
// configuration.
func (s *serving) isPassed(p protocol, addr string) bool {
	return slices.ContainsFunc(s.bound(), func(l *listener) bool { return l.passed && l.name == p.name && l.addr == addr })
}
