package imap

import (
	"nestbox/imap/wire"
)

// extListMetadata: entries of the mailboxes with LIST (RFC 9590).
var extListMetadata = extension{
	name: "LIST-METADATA", rfc: "RFC 9590", needs: []*extension{&extMetadata},
	caps: []capability{{name: "LIST-METADATA"}},
	listOptions: []listOption{{name: "METADATA", where: listReturn, parse: func(d *wire.Decoder, _ *request, c *listCmd) {
		q := new(metadataQuery)
		d.SP()
		d.List(func() { q.entries = append(q.entries, parseEntry(d, false)) })
		if len(q.entries) == 0 {
			d.Fail("an entry")
		}
		c.follows = append(c.follows, q.follow)
	}}},
}

// follow writes the entries of a mailbox. Those of one whose entries can't be
// read are left out (RFC 9590 §3).
func (q *metadataQuery) follow(s *session, _ *listCmd, box *place) error {
	if box.needsAnnotation() != nil {
		return nil
	}
	found, err := s.annotations(box, func(entry string, _ int) bool { return q.has(entry) })
	if err != nil {
		s.log.Warn("imap_metadata_unreadable", "mailbox", box.Name, "error", err)
		return nil
	}
	s.writeMetadata(box.Name, q.answer(found, nil))
	return nil
}
