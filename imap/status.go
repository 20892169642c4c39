package imap

import (
	"nestbox/imap/wire"
	"nestbox/storage"
)

// STATUS, RFC 9051 §6.3.11.
var cmdStatus = command{name: "STATUS", state: loggedIn, parse: parseStatus}

type statusCmd struct {
	name  string
	items []statusItem
}

func parseStatus(d *wire.Decoder, r *request) runner {
	c := new(statusCmd)
	d.SP()
	c.name = d.Mailbox()
	d.SP()
	c.items = parseStatusItems(d, r)
	d.End()
	return c
}

// parseStatusItems reads "(" item *(SP item) ")", for LIST RETURN (STATUS ...)
// too.
func parseStatusItems(d *wire.Decoder, r *request) (items []statusItem) {
	d.List(func() {
		item, ok := look(r.s, r.s.srv.tables.statusItems, d.Word())
		if !ok {
			d.Fail("a STATUS item")
			return
		}
		for _, had := range items {
			if had.name == item.name {
				return // asked for twice, answered once
			}
		}
		items = append(items, item)
		if item.parse != nil {
			item.parse(r)
		}
	})
	if len(items) == 0 {
		d.Fail("at least one STATUS item")
	}
	return items
}

func (c *statusCmd) run(s *session, _ *request) (reply, error) {
	p, err := s.mailbox(c.name, storage.RightRead)
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.writeStatus(&p, c.items)
}

// writeStatus writes the STATUS line of a mailbox: all from its row.
func (s *session) writeStatus(box *place, items []statusItem) error {
	s.w.Raw("* STATUS ").Mailbox(box.Name).Raw(" (")
	for i, item := range items {
		if i > 0 {
			s.w.SP()
		}
		s.w.Raw(item.name).SP()
		if err := item.write(s, box, s.w); err != nil {
			return &fatalError{err} // in the middle of a line
		}
	}
	s.w.Raw(")").CRLF()
	return nil
}
