package imap

import (
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extObjectID: names of mailboxes, messages and threads that stay (RFC 8474).
var extObjectID = extension{
	name: "OBJECTID", rfc: "RFC 8474", caps: []capability{{name: "OBJECTID"}},
	onSelect: func(s *session) {
		s.w.Raw("* OK [").Raw(mailboxID(&s.sel.box)).Raw("] mailbox id").CRLF()
	},
	onCreate: mailboxID,
	statusItems: []statusItem{{name: "MAILBOXID", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Raw("(").Raw(box.ID.String()).Raw(")")
		return nil
	}}},
	fetchItems: []fetchItem{
		plainItem(dataItem{label: "EMAILID ", needs: needRow, write: func(f *fetcher) {
			f.w.Raw("(").Raw(f.m.row.Email.String()).Raw(")")
		}}),
		plainItem(dataItem{label: "THREADID ", needs: needRow, write: func(f *fetcher) {
			f.w.Raw("(").Raw(f.m.row.Thread.String()).Raw(")")
		}}),
	},
	searchKeys: []searchKey{
		{"EMAILID", objectIDKey(func(row *storage.Row) string { return row.Email.String() })},
		{"THREADID", objectIDKey(func(row *storage.Row) string { return row.Thread.String() })},
	},
}

// mailboxID is the response code of SELECT and CREATE (RFC 8474 §4.1, §4.2).
func mailboxID(box *storage.Mailbox) string { return "MAILBOXID (" + box.ID.String() + ")" }

// maxObjectID is the length of the longest objectid (RFC 8474 §7).
const maxObjectID = 255

// objectIDKey compares with an objectid, in which case matters.
func objectIDKey(of func(row *storage.Row) string) parseKey {
	return func(d *wire.Decoder, _ *searchParser) criterion {
		d.SP()
		id := d.Atom()
		if d.Err() == nil && !isObjectID(id) {
			d.Fail("an objectid")
		}
		return rowKey(func(row *storage.Row) bool { return of(row) == id })
	}
}

func isObjectID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxObjectID
}
