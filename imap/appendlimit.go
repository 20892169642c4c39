package imap

import (
	"strconv"

	"nestbox/imap/wire"
)

// extAppendLimit: how big a message may be, the same for all mailboxes (RFC 7889).
// Before login it is the server's, which no account is above.
var extAppendLimit = extension{
	name: "APPENDLIMIT", rfc: "RFC 7889",
	caps: []capability{{name: "APPENDLIMIT", text: func(s *session) string {
		return "APPENDLIMIT=" + strconv.FormatInt(s.appendLimit(), 10)
	}}},
	statusItems: []statusItem{{name: "APPENDLIMIT", write: func(s *session, _ *place, w *wire.Encoder) error {
		w.Number64(s.appendLimit())
		return nil
	}}},
}

func (s *session) appendLimit() int64 {
	if s.account != nil {
		return s.account.MaxMessage()
	}
	return s.srv.o.Store.MaxMessage()
}
