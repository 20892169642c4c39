package wire

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// Astring reads 1*ASTRING-CHAR or a string.
func (d *Decoder) Astring() string {
	switch d.Peek() {
	case '"', '{':
		return d.String()
	}
	return string(d.run(astringChar, "astring"))
}

// AstringBytes is Astring for what may be long or secret; of more than limit
// bytes it is a LimitError. The bytes die at the next literal or command.
func (d *Decoder) AstringBytes(limit int) []byte {
	var b []byte
	switch d.Peek() {
	case '"':
		b = d.quoted()
	case '{':
		return d.literalBytes(int64(limit))
	default:
		b = d.run(astringChar, "astring")
	}
	if len(b) > limit {
		d.FailErr(&LimitError{What: "string", Max: int64(limit)})
		return nil
	}
	return b
}

// String reads a string: quoted or literal.
func (d *Decoder) String() string {
	switch d.Peek() {
	case '"':
		return string(d.quoted())
	case '{':
		return string(d.literalBytes(ArgumentLiteral))
	}
	d.Fail("string")
	return ""
}

// NString reads a string or NIL; ok is false for NIL.
func (d *Decoder) NString() (s string, ok bool) {
	if d.TryWord("NIL") {
		return "", false
	}
	s = d.String()
	return s, d.err == nil
}

// NString8 reads nstring or literal8: ok is false for NIL. One of more than limit
// octets is tooLong, and is not read.
func (d *Decoder) NString8(limit int64, tooLong error) (b []byte, ok bool) {
	if d.TryWord("NIL") {
		return nil, false
	}
	switch d.Peek() {
	case '"':
		b = bytes.Clone(d.quoted())
	case '{', '~':
		l := d.literal(true, maxNumber64)
		if l == nil {
			return nil, false
		}
		if l.Size > limit {
			d.FailErr(tooLong)
			return nil, false
		}
		b = d.literalBody(l)
		if !l.Binary && bytes.IndexByte(b, 0) >= 0 {
			d.Fail("literal without NUL")
		}
	default:
		d.Fail("string, literal8 or NIL")
	}
	if int64(len(b)) > limit {
		d.FailErr(tooLong)
	}
	return b, d.err == nil
}

// quoted reads a quoted string. The result is a piece of the segment, in which
// escapes are removed in place.
//
// UTF-8 is taken in every state: RFC 6855 §3 allows it after ENABLE, and clients
// have always sent passwords so. It cannot be mistaken for anything else.
func (d *Decoder) quoted() []byte {
	start := d.pos + 1
	rest := d.seg[start:]
	i := 0
	for i < len(rest) && classes[rest[i]]&quotedChar != 0 {
		i++
	}
	if i < len(rest) && rest[i] == '"' {
		d.pos = start + i + 1
		return rest[:i]
	}
	return d.quotedSlow(start, i)
}

// quotedSlow reads a quoted string with escapes or UTF-8, in rest from i on.
func (d *Decoder) quotedSlow(start, i int) []byte {
	rest := d.seg[start:]
	// A piece of its own: the segment has to stay as it is, for Near.
	out := append(make([]byte, 0, len(rest)), rest[:i]...)
	for i < len(rest) {
		c := rest[i]
		switch {
		case c == '"':
			d.pos = start + i + 1
			return out
		case c == '\\':
			i++
			if i == len(rest) || rest[i] != '"' && rest[i] != '\\' {
				d.failAt(d.base+int64(start+i), `quoted-specials after "\\"`)
				return nil
			}
			out = append(out, rest[i])
			i++
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(rest[i:])
			if r == utf8.RuneError && n == 1 {
				d.failAt(d.base+int64(start+i), "UTF-8")
				return nil
			}
			out = append(out, rest[i:i+n]...)
			i += n
		case classes[c]&quotedChar == 0:
			d.failAt(d.base+int64(start+i), "QUOTED-CHAR")
			return nil
		default:
			out = append(out, c)
			i++
		}
	}
	d.failAt(d.base+int64(len(d.seg)), `closing "\""`)
	return nil
}

// literalBytes reads a literal as an argument, of at most limit octets.
func (d *Decoder) literalBytes(limit int64) []byte {
	at := d.offset()
	l := d.literal(false, min(limit, ArgumentLiteral))
	if l == nil {
		return nil
	}
	b := d.literalBody(l)
	if bytes.IndexByte(b, 0) >= 0 { // literal = ... *CHAR8
		d.failAt(at, "literal without NUL")
		return nil
	}
	return b
}

// literalBody reads a literal into memory, as far as a command may have such.
func (d *Decoder) literalBody(l *Literal) []byte {
	budget := int64(ArgumentsBeforeLogin)
	if d.loggedIn {
		budget = Arguments
	}
	if d.arguments += l.Size; d.arguments > budget {
		d.FailErr(&LimitError{What: "literals", Max: budget})
		return nil
	}
	b := make([]byte, l.Size)
	if _, err := io.ReadFull(l, b); err != nil {
		d.FailErr(err)
		return nil
	}
	if !d.ready() {
		return nil
	}
	return b
}

// Mailbox reads the name of a mailbox: an astring in modified UTF-7 (RFC 3501
// §5.1.3), or in UTF-8 (RFC 9051 §5.1). The result is UTF-8; INBOX is in
// capitals.
func (d *Decoder) Mailbox() string {
	at := d.offset()
	b := d.AstringBytes(ArgumentLiteral)
	if equalFold(b, "INBOX") {
		return "INBOX"
	}
	return d.name(b, at)
}

// ListMailbox reads list-mailbox, the pattern of LIST, in UTF-8 like Mailbox.
func (d *Decoder) ListMailbox() string {
	at := d.offset()
	switch d.Peek() {
	case '"', '{':
		return d.name(d.AstringBytes(ArgumentLiteral), at)
	}
	return d.name(d.run(listChar, "list-mailbox"), at)
}

// name makes UTF-8 of what was read at an offset as a name.
func (d *Decoder) name(b []byte, at int64) string {
	if d.err != nil {
		return ""
	}
	if d.utf8 {
		if !utf8.Valid(b) {
			d.failAt(at, "mailbox name in UTF-8")
			return ""
		}
		return string(b)
	}
	s := string(b)
	if plainName(s) {
		return s
	}
	s, err := mixedName(s)
	if err != nil {
		d.failAt(at, "mailbox name in modified UTF-7")
		return ""
	}
	return s
}

// mixedName decodes modified UTF-7, and leaves characters beyond ASCII as they
// are: clients that see IMAP4rev2 announced send names in UTF-8 before they
// ENABLE it (go-imap does). No name in modified UTF-7 holds such, so none
// changes its meaning.
func mixedName(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errUTF7
	}
	var out []byte
	for len(s) > 0 {
		n := strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
		if n < 0 {
			n = len(s)
		}
		ascii, err := DecodeUTF7(s[:n])
		if err != nil {
			return "", err
		}
		out = append(out, ascii...)
		_, k := utf8.DecodeRuneInString(s[n:])
		out = append(out, s[n:n+k]...)
		s = s[n+k:]
	}
	return string(out), nil
}

// plainName reports whether a name is the same in modified UTF-7.
func plainName(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '&' }) < 0
}
