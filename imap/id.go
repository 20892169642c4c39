package imap

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
)

// extID: who is who, for logs.
var extID = extension{
	name: "ID", rfc: "RFC 2971", caps: []capability{{name: "ID"}},
	commands: []*command{&cmdID},
}

// ID, RFC 2971. Legal before login too: some clients send it first.
var cmdID = command{name: "ID", state: anyState, parse: parseID}

// Limits of RFC 2971 §3.3.
const (
	maxIDFields = 30
	maxIDField  = 30
	maxIDValue  = 1024
)

type idCmd struct{ fields []string } // name, value, name, value

func parseID(d *wire.Decoder, _ *request) runner {
	c := new(idCmd)
	d.SP()
	if !d.TryWord("NIL") {
		name := true
		d.List(func() {
			if name {
				field := d.String()
				c.fields = append(c.fields, field)
			} else {
				value, _ := d.NString()
				c.fields = append(c.fields, value)
			}
			if n := len(c.fields); n > 2*maxIDFields || len(c.fields[n-1]) > maxIDValue || name && len(c.fields[n-1]) > maxIDField {
				d.Fail("at most 30 fields of 30 and 1024 octets")
			}
			name = !name
		})
		if !name {
			d.Fail("a value for each field")
		}
	}
	d.End()
	return c
}

// originate takes over for whom webmail or a proxy speaks, if it may say so: the
// fields x-originating-ip and x-originating-port, before login. Whether a password
// may come without TLS stays a question of who connected.
func (c *idCmd) originate(s *session) error {
	if s.account != nil || !within(s.srv.o.IDFrom, s.c.via) {
		return nil
	}
	var ip, port string
	for i := 0; i+1 < len(c.fields); i += 2 {
		switch strings.ToLower(c.fields[i]) {
		case "x-originating-ip":
			ip = c.fields[i+1]
		case "x-originating-port":
			port = c.fields[i+1]
		}
	}
	if ip == "" {
		return nil
	}
	peer, err := netip.ParseAddr(strings.Trim(ip, "[]"))
	if err != nil || peer.Zone() != "" || peer.IsUnspecified() || peer.IsMulticast() || peer.IsLoopback() {
		return bad("x-originating-ip wants the client's IP address")
	}
	peer = peer.Unmap()
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil && port != "" {
		return bad("x-originating-port wants a port")
	}
	if err := s.srv.o.Auth.Banned(peer); err != nil {
		return &byeError{imap.ResponseCodeUnavailable, err.Error()}
	}
	if why := s.srv.move(s.c, peer); why != "" {
		return &byeError{imap.ResponseCodeUnavailable, why}
	}
	s.c.log = s.srv.o.Log.With("peer", netip.AddrPortFrom(peer, uint16(number)).String(), "via", s.c.via.String())
	s.log = s.c.log
	return nil
}

// text is what the client says of itself, in a line: "name version, os".
func (c *idCmd) text() string {
	said := map[string]string{}
	for i := 0; i+1 < len(c.fields); i += 2 {
		said[strings.ToLower(c.fields[i])] = c.fields[i+1]
	}
	text := strings.TrimSpace(said["name"] + " " + said["version"])
	if system := said["os"]; system != "" {
		text = strings.TrimPrefix(text+", "+system, ", ")
	}
	return text
}

func (c *idCmd) run(s *session, _ *request) (reply, error) {
	if err := c.originate(s); err != nil {
		return reply{}, err
	}
	var client []any
	for i := 0; i+1 < len(c.fields); i += 2 {
		switch name := strings.ToLower(c.fields[i]); name {
		case "name", "version", "os", "vendor":
			client = append(client, name, c.fields[i+1])
		}
	}
	if len(client) > 0 {
		s.log.Debug("imap_client", client...)
		s.client = c.text()
		if s.account != nil {
			s.audit = s.srv.o.Store.AuditClient(s.audit, s.client)
		}
	}
	s.w.Raw(`* ID ("name" "nestbox"`)
	// Strangers need not know which faults to try.
	if s.account != nil && s.srv.o.Version != "" {
		s.w.Raw(` "version" `).String(s.srv.o.Version)
	}
	s.w.Raw(")").CRLF()
	return reply{}, nil
}
