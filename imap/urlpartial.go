package imap

// extURLPartial: URLs in commands may name a range of octets of a message or
// part, ";PARTIAL=0.1024" (RFC 5550 §5.7.1; the syntax is RFC 5092's).
var extURLPartial = extension{
	name: "URL-PARTIAL", rfc: "RFC 5550 §5.7.1", caps: []capability{{name: "URL-PARTIAL"}},
}
