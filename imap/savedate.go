package imap

import (
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extSaveDate: when a message came into the mailbox that it is in (RFC 8514).
// There is no zone to it, so it is told in UTC and compared in UTC.
var extSaveDate = extension{
	name: "SAVEDATE", rfc: "RFC 8514", caps: []capability{{name: "SAVEDATE"}},
	fetchItems: []fetchItem{plainItem(dataItem{label: "SAVEDATE ", needs: needRow, write: func(f *fetcher) {
		f.w.Append(func(b []byte) []byte { return appendInternalDate(b, f.m.row.SaveDate, 0) })
	}})},
	searchKeys: []searchKey{
		{"SAVEDBEFORE", savedKey(before)},
		{"SAVEDON", savedKey(on)},
		{"SAVEDSINCE", savedKey(since)},
		{"SAVEDATESUPPORTED", constant(criterion{op: opAnd})}, // by every mailbox
	},
}

func savedKey(compare func(day, key int64) bool) parseKey {
	return func(d *wire.Decoder, _ *searchParser) criterion {
		key := parseDay(d)
		return rowKey(func(row *storage.Row) bool { return compare(floorDiv(row.SaveDate, secondsPerDay), key) })
	}
}
