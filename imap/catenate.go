package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// extCatenate: a new message is put together on the server, of text that comes
// with the command and of parts of messages that are there (RFC 4469).
var extCatenate = extension{
	name: "CATENATE", rfc: "RFC 4469", caps: []capability{{name: "CATENATE"}},
	appendData: []appendDatum{{name: "CATENATE", parse: parseCatenate}},
}

// codeBadURL is followed by the URL.
const codeBadURL = "BADURL "

// catenate is a list of parts. They are read when they are copied: some are
// literals.
type catenate struct{ d *wire.Decoder }

func parseCatenate(d *wire.Decoder) appendData {
	d.SP()
	d.Byte('(')
	return catenate{d}
}

func (c catenate) announced() int64 { return -1 }

// copyTo copies one part after the other.
func (c catenate) copyTo(s *session, u *storage.Upload, room func(octets int64) error) error {
	d := c.d
	for more := true; more && d.Err() == nil; more = d.TrySP() {
		var err error
		switch word := d.Word(); word {
		case "TEXT":
			err = copyPart(s, u, parseText(d), room)
		case "URL":
			d.SP()
			if url := d.Astring(); d.Err() == nil {
				err = copyURL(s, u, url, room)
			}
		default:
			part, ok := look(s, s.srv.tables.appendData, word)
			if !ok || !part.inList {
				d.Fail("TEXT or URL")
				break
			}
			err = copyPart(s, u, part.parse(d), room)
		}
		if err != nil {
			return err
		}
	}
	d.Byte(')')
	return d.Err()
}

// parseText reads what follows "TEXT": a literal that is not binary.
func parseText(d *wire.Decoder) appendData {
	d.SP()
	if d.Peek() != '{' {
		d.Fail("literal")
		return nil
	}
	return messageLiteral{d.Literal()}
}

// copyPart copies what comes with the command, if there is room for it.
func copyPart(s *session, u *storage.Upload, part appendData, room func(octets int64) error) error {
	if err := s.d.Err(); err != nil {
		return err
	}
	if err := mayGrow(s, u, part.announced(), room); err != nil {
		return err
	}
	return part.copyTo(s, u, room)
}

// mayGrow looks whether n octets more are too many, before they are sent or read.
func mayGrow(s *session, u *storage.Upload, n int64, room func(octets int64) error) error {
	if n > s.account.MaxMessage()-u.Size() {
		return storage.ErrTooBig
	}
	return room(u.Size() + n)
}

// copyURL copies what a URL names. \Seen is not set.
func copyURL(s *session, u *storage.Upload, url string, room func(octets int64) error) error {
	content, err := s.openURL(url)
	if err == nil {
		defer content.close()
		if err = mayGrow(s, u, content.size, room); err == nil {
			err = content.copyTo(u)
		}
	}
	var bad *urlError
	if errors.As(err, &bad) {
		return no(imap.ResponseCode(codeBadURL+escapeURL(url)), "%s", bad.text)
	}
	return err
}

// openURL opens what a URL names for this session: one of this server, without
// its name (RFC 4469 §3).
func (s *session) openURL(url string) (*urlContent, error) {
	u, err := parseMessageURL(url)
	switch {
	case err != nil:
		return nil, noURL("%s", err.Error())
	case u.server != "" || u.rest != "":
		return nil, noURL("it must be relative to this session, /mailbox/;UID=number")
	case u.hasPartial && !s.has(&extURLPartial):
		return nil, noURL("URL-PARTIAL is switched off")
	}
	p, err := s.urlMailbox(&u)
	if err != nil {
		return nil, err
	}
	return u.open(&p)
}
