package imap

import (
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extWithin: SEARCH by the age of INTERNALDATE, in seconds before the server's
// now (RFC 5032). Both keys include the bound.
var extWithin = extension{
	name: "WITHIN", rfc: "RFC 5032", caps: []capability{{name: "WITHIN"}},
	searchKeys: []searchKey{
		{"OLDER", ageKey(func(date, bound int64) bool { return date <= bound })},
		{"YOUNGER", ageKey(func(date, bound int64) bool { return date >= bound })},
	},
}

func ageKey(compare func(date, bound int64) bool) parseKey {
	return func(d *wire.Decoder, p *searchParser) criterion {
		d.SP()
		bound := p.r.s.now().Unix() - int64(d.NzNumber())
		return rowKey(func(row *storage.Row) bool { return compare(row.Date, bound) })
	}
}
