package imap

import (
	"nestbox/imap/wire"
)

// extBase is IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051). Both are served at
// once; ENABLE IMAP4rev2 takes away what rev2 dropped (RFC 9051 appendix A).
var extBase = extension{
	name: "IMAP4rev1", rfc: "RFC 3501, RFC 9051", fixed: true,
	caps:   []capability{{name: "IMAP4rev1"}, {name: "IMAP4rev2"}},
	enable: "IMAP4rev2", onEnable: enableRev2,
	commands: []*command{
		&cmdCapability, &cmdNoop, &cmdLogout,
		&cmdLogin, &cmdAuthenticate,
		&cmdSelect, &cmdExamine, &cmdCreate, &cmdDelete, &cmdRename,
		&cmdSubscribe, &cmdUnsubscribe, &cmdList, &cmdLsub, &cmdStatus, &cmdAppend,
		&cmdCheck, &cmdClose, &cmdExpunge, &cmdSearch, &cmdFetch, &cmdStore, &cmdCopy,
	},
	fetchItems:  baseFetchItems,
	searchKeys:  baseSearchKeys,
	statusItems: baseStatusItems,
}

// enableRev2: names and quoted strings are UTF-8 from here on (RFC 9051 §5.1).
func enableRev2(s *session) {
	s.isRev2 = true
	s.enableUTF8()
}

var baseStatusItems = []statusItem{
	{name: "MESSAGES", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Number(box.Messages)
		return nil
	}},
	{name: "RECENT", write: func(s *session, box *place, w *wire.Encoder) error {
		n, err := s.recentIn(box)
		w.Number(n)
		return err
	}},
	{name: "UIDNEXT", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Number(uint32(box.UIDNext))
		return nil
	}},
	{name: "UIDVALIDITY", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Number(box.UIDValidity)
		return nil
	}},
	{name: "UNSEEN", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Number(box.Unseen)
		return nil
	}},
	{name: "DELETED", write: func(_ *session, box *place, w *wire.Encoder) error { // RFC 9051 §6.3.11
		w.Number(box.Deleted)
		return nil
	}},
}

// extStatusSize: STATUS (SIZE), also part of IMAP4rev2.
var extStatusSize = extension{
	name: "STATUS=SIZE", rfc: "RFC 8438", caps: []capability{{name: "STATUS=SIZE"}},
	statusItems: []statusItem{{name: "SIZE", write: func(_ *session, box *place, w *wire.Encoder) error {
		w.Number64(box.Octets)
		return nil
	}}},
}
