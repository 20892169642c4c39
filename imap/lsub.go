package imap

import "nestbox/imap/wire"

// LSUB, RFC 3501 §6.3.9.
var cmdLsub = command{name: "LSUB", state: loggedIn, parse: parseLsub}

type lsubCmd struct{ reference, pattern string }

func parseLsub(d *wire.Decoder, _ *request) runner {
	c := new(lsubCmd)
	d.SP()
	c.reference = d.Mailbox()
	d.SP()
	c.pattern = d.ListMailbox()
	d.End()
	return c
}

func (c *lsubCmd) run(s *session, _ *request) (reply, error) {
	p, ok := newPattern(c.reference + c.pattern)
	if !ok || c.pattern == "" {
		return reply{}, nil
	}
	tree, err := s.readTree([]pattern{p})
	if err != nil {
		return reply{}, err
	}
	for _, n := range tree.names {
		if !p.match(n.name) {
			continue
		}
		switch {
		case n.subscribed && n.box != nil:
			writeLsub(s, "", n.name)
		case n.subscribed, n.overSub && p.endsIn('%'):
			// With "%", a level stands for the subscribed names below it.
			writeLsub(s, `\Noselect`, n.name)
		}
	}
	return reply{}, nil
}

func writeLsub(s *session, attr, name string) {
	s.w.Raw("* LSUB (").Raw(attr).Raw(`) "` + separator + `" `).Mailbox(name).CRLF()
}
