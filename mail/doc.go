// Package mail reads messages: RFC 5322 headers and MIME structure, in one
// streaming pass at delivery, and the text that searches look at.
//
// A Parser takes a message as it comes in and gives its Record: ENVELOPE and
// BODYSTRUCTURE ready to send, where each part stands, the keys that SORT and
// THREAD compare, PREVIEW. What is asked of a message later is answered from
// the record, or is a range of the message that the record names. NormalText
// gives the text that SEARCH looks at.
//
// Nothing is ever refused: whatever arrives gives a record, in bounded time
// and memory. What exceeds a limit stays part of the leaf that it is in.
package mail

// Limits of what is looked into.
const (
	maxDepth     = 100       // parts inside of parts
	maxParts     = 5000      // parts of a message
	maxLine      = 1000      // octets of a line that decide whether it is a delimiter or a field
	maxBoundary  = 900       // octets of a boundary; RFC 2046 §5.1.1 allows 70
	maxField     = 64 << 10  // octets of a header field
	maxHeader    = 256 << 10 // octets of the fields of one header
	maxKept      = 512 << 10 // octets of the wire form of all headers, beyond it parts tell their type alone
	maxAddresses = 4000      // in the envelopes of a message
	maxParams    = 100       // of a content type or disposition
	maxLanguages = 50
	maxComments  = 50 // inside of each other
	maxIDs       = 100
	maxKey       = 500 // octets of a sort key
)
