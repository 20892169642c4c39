package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extUTF8Accept: a client says that it takes UTF-8 in quoted strings, mailbox
// names and header fields (RFC 6855). One that doesn't say so may not store
// header fields in UTF-8, but reads those that are there as they are:
// docs/decisions/0040-utf8-accept.md.
var extUTF8Accept = extension{
	name: "UTF8=ACCEPT", rfc: "RFC 6855", caps: []capability{{name: "UTF8=ACCEPT"}},
	enable: "UTF8=ACCEPT", onEnable: enableUTF8Accept,
	appendData: []appendDatum{{name: "UTF8", inList: true, parse: parseUTF8Literal}},
	onUpload:   refuseUTF8Header,
}

func enableUTF8Accept(s *session) {
	s.enableUTF8()
	s.utf8Header = true // RFC 6855 §3
}

// A utf8Literal is a message, or a piece of one, in parentheses (RFC 6855 §4).
type utf8Literal struct {
	messageLiteral
	d *wire.Decoder
}

func parseUTF8Literal(d *wire.Decoder) appendData {
	d.SP()
	d.Byte('(')
	if d.Err() == nil && d.Peek() != '~' {
		d.Fail("literal8")
	}
	return utf8Literal{messageLiteral{d.Literal()}, d}
}

func (l utf8Literal) copyTo(s *session, u *storage.Upload, room func(octets int64) error) error {
	if err := l.messageLiteral.copyTo(s, u, room); err != nil {
		return err
	}
	l.d.Byte(')')
	return l.d.Err()
}

// refuseUTF8Header refuses a new message with octets beyond ASCII in its header
// from a client that has not said that it knows what to do with them (RFC 6855
// §4).
func refuseUTF8Header(s *session, u *storage.Upload) error {
	if s.utf8Header || !u.Record().EightBitHeader() {
		return nil
	}
	return no(imap.ResponseCodeCannot, "the message has UTF-8 or other 8-bit characters in its header: ENABLE UTF8=ACCEPT first, or have UTF8=ACCEPT switched off for the account")
}
