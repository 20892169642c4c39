package imap

// extMultiAppend: APPEND of several messages, all or none (RFC 3502).
var extMultiAppend = extension{
	name: "MULTIAPPEND", rfc: "RFC 3502", caps: []capability{{name: "MULTIAPPEND"}},
	appendsMany: true,
}
