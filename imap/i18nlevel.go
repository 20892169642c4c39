package imap

// extI18NLevel: SEARCH, SORT and THREAD compare by i;unicode-casemap (RFC 5255
// §4.3, RFC 5051). They do so in mail.Normal, always; there is no other
// comparator to choose.
var extI18NLevel = extension{
	name: "I18NLEVEL=1", rfc: "RFC 5255", caps: []capability{{name: "I18NLEVEL=1"}},
}
