package imap

// extUIDOnly: no sequence numbers at all, for clients that keep none (RFC 9586).
var extUIDOnly = extension{
	name: "UIDONLY", rfc: "RFC 9586", caps: []capability{{name: "UIDONLY"}},
	enable: "UIDONLY", onEnable: func(s *session) { s.uidOnly, s.vanished = true, true },
}
