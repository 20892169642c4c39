package imap

import "nestbox/imap/wire"

var extEnable = extension{
	name: "ENABLE", rfc: "RFC 5161", fixed: true, caps: []capability{{name: "ENABLE"}},
	commands: []*command{&cmdEnable},
}

// ENABLE, RFC 9051 §6.3.1.
var cmdEnable = command{name: "ENABLE", state: authenticated, parse: parseEnable}

type enableCmd struct{ names []string }

func parseEnable(d *wire.Decoder, _ *request) runner {
	c := new(enableCmd)
	d.SP()
	c.names = append(c.names, d.Word())
	for d.TrySP() {
		c.names = append(c.names, d.Word())
	}
	d.End()
	return c
}

func (c *enableCmd) run(s *session, _ *request) (reply, error) {
	// Names that are unknown or enabled already are ignored, and not listed.
	s.w.Raw("* ENABLED")
	for _, name := range c.names {
		x, ok := s.srv.tables.enable[name]
		if !ok || !s.has(x) || s.enabled&x.bit != 0 {
			continue
		}
		s.enabled |= x.bit
		if x.onEnable != nil {
			x.onEnable(s)
		}
		s.w.SP().Raw(x.enable)
	}
	s.w.CRLF()
	return reply{}, nil
}
