package imap

import "nestbox/imap/wire"

// extPreview: how the text of a message begins (RFC 8970). It was made at
// delivery, so LAZY gets the same.
var extPreview = extension{
	name: "PREVIEW", rfc: "RFC 8970", caps: []capability{{name: "PREVIEW"}},
	fetchItems: []fetchItem{{name: "PREVIEW", parse: parsePreview}},
}

// parsePreview reads the modifiers of PREVIEW. Behind "FETCH 1 PREVIEW" a list
// may also be that of FETCH's own modifiers.
func parsePreview(d *wire.Decoder, _ *request, c *fetchCmd) {
	if d.TryText(" (LAZY") {
		for d.TryText(" LAZY") {
		}
		d.Byte(')')
	}
	c.add(dataItem{label: "PREVIEW ", needs: needRow | needRecord, write: func(f *fetcher) {
		f.w.String(string(f.m.rec.Preview()))
	}})
}
