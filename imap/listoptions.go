package imap

import (
	"nestbox/imap/wire"
)

// extListExtended: the options of LIST that IMAP4rev2 has too (RFC 5258 §3).
var extListExtended = extension{
	name: "LIST-EXTENDED", rfc: "RFC 5258", caps: []capability{{name: "LIST-EXTENDED"}},
	listOptions: []listOption{
		{name: "SUBSCRIBED", where: listSelection, parse: func(_ *wire.Decoder, _ *request, c *listCmd) { c.subscribed = true }},
		{name: "REMOTE", where: listSelection, parse: func(_ *wire.Decoder, _ *request, c *listCmd) { c.remote = true }},
		{name: "RECURSIVEMATCH", where: listSelection, parse: func(_ *wire.Decoder, _ *request, c *listCmd) { c.recursive = true }},
		{name: "SUBSCRIBED", where: listReturn, parse: func(_ *wire.Decoder, _ *request, c *listCmd) { c.withSubscribed = true }},
	},
}

// extChildren: \HasChildren and \HasNoChildren are in every LIST; a client that
// asks for them gets no more.
var extChildren = extension{
	name: "CHILDREN", rfc: "RFC 3348", caps: []capability{{name: "CHILDREN"}},
	listOptions: []listOption{{name: "CHILDREN", where: listReturn}},
}

// extListStatus: LIST RETURN (STATUS (...)).
var extListStatus = extension{
	name: "LIST-STATUS", rfc: "RFC 5819", caps: []capability{{name: "LIST-STATUS"}},
	listOptions: []listOption{{name: "STATUS", where: listReturn, parse: func(d *wire.Decoder, r *request, c *listCmd) {
		d.SP()
		c.status = parseStatusItems(d, r)
	}}},
}

// extSpecialUse: what a mailbox is for. LIST always tells; the options are for
// clients that want nothing else.
var extSpecialUse = extension{
	name: "SPECIAL-USE", rfc: "RFC 6154", caps: []capability{{name: "SPECIAL-USE"}},
	listOptions: []listOption{
		{name: "SPECIAL-USE", where: listSelection, parse: func(_ *wire.Decoder, _ *request, c *listCmd) { c.specialUse = true }},
		{name: "SPECIAL-USE", where: listReturn},
	},
}
