package imap

import (
	"strings"

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
