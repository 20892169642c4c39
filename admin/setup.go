package admin

import (
	"crypto/x509"
	"net"
	"strings"
)

// A Setup is how mail programs reach the box: what they are told.
type Setup struct {
	Box     string   // its name for people
	Host    string   // a name or address that its certificates hold for
	Domains []string // whose addresses are logins
	Mail    []Service
	Send    *Service // another server, for mail to send
	// Web is where browsers find the box; HTTP and HTTPS are the ports, 0: it
	// isn't served there.
	Web         string
	HTTP, HTTPS int
	// Root is the CA that devices are to install, nil: they need none.
	Root *x509.Certificate
}

// A Service is a listener of a mail protocol.
type Service struct {
	Protocol string // "imap"
	Host     string
	Port     int
	TLS      bool // from the first byte; else STARTTLS
}

// security is the word of Thunderbird's file for how a service is secured.
func (s Service) security() string {
	if s.TLS {
		return "SSL"
	}
	return "STARTTLS"
}

// imap is the service that a program with one choice gets: TLS from the first
// byte if there is one (RFC 8314 §3).
func (s *Setup) imap() (best Service, ok bool) {
	for _, m := range s.Mail {
		if m.Protocol == "imap" && (!ok || m.TLS && !best.TLS) {
			best, ok = m, true
		}
	}
	return best, ok
}

// URL is where the web server is, without a slash at the end; "": nowhere.
// HTTP goes first: a device that has yet to install the CA gets no warning.
func (s *Setup) URL() string {
	switch {
	case s.HTTP != 0:
		return "http://" + hostPort(s.Web, s.HTTP, 80)
	case s.HTTPS != 0:
		return s.secureURL()
	}
	return ""
}

func (s *Setup) secureURL() string { return "https://" + hostPort(s.Web, s.HTTPS, 443) }

// hostPort is the authority of a URL, without the port if it is the usual one.
func hostPort(host string, port, usual int) string {
	if port == usual {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, itoa(port))
}

// knows reports whether an address of the domain can be a login. It is public
// which domains a box has, other than which accounts.
func (s *Setup) knows(domain string) bool {
	for _, d := range s.Domains {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}
