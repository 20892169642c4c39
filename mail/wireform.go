package mail

import "strconv"

// The neutral wire form (DESIGN §6), legal in every state of a connection:
// printable ASCII is quoted, all else a plain literal with "?" for NUL.

func appendString(b []byte, s string) []byte {
	if len(s) > 1000 {
		return appendLiteral(b, s)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return appendLiteral(b, s)
		}
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendLiteral(b []byte, s string) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "}\r\n"...)
	for i := range len(s) {
		if s[i] == 0 {
			b = append(b, '?')
		} else {
			b = append(b, s[i])
		}
	}
	return b
}

func appendNString(b []byte, s string, ok bool) []byte {
	if !ok {
		return append(b, "NIL"...)
	}
	return appendString(b, s)
}

// appendEnvelope writes an ENVELOPE (RFC 9051 §7.5.2).
func appendEnvelope(b []byte, m *messageHeader) []byte {
	if m == nil {
		m = new(messageHeader)
	}
	from := parseAddresses(m.from)
	sender, replyTo := parseAddresses(m.sender), parseAddresses(m.replyTo)
	if len(sender) == 0 {
		sender = from
	}
	if len(replyTo) == 0 {
		replyTo = from
	}
	b = append(b, '(')
	b = append(appendNString(b, m.date, m.has[hasDate]), ' ')
	b = append(appendNString(b, m.subject, m.has[hasSubject]), ' ')
	b = append(appendAddresses(b, from), ' ')
	b = append(appendAddresses(b, sender), ' ')
	b = append(appendAddresses(b, replyTo), ' ')
	b = append(appendAddresses(b, parseAddresses(m.to)), ' ')
	b = append(appendAddresses(b, parseAddresses(m.cc)), ' ')
	b = append(appendAddresses(b, parseAddresses(m.bcc)), ' ')
	b = append(appendNString(b, m.inReplyTo, m.has[hasInReplyTo]), ' ')
	b = appendNString(b, m.messageID, m.has[hasMessageID])
	return append(b, ')')
}

func appendAddresses(b []byte, list []address) []byte {
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for i := range list {
		a := &list[i]
		b = append(b, '(')
		b = appendNString(b, a.name, a.hasName)
		b = append(b, ' ')
		b = append(appendNString(b, a.route, a.route != ""), ' ')
		b = append(appendNString(b, a.mailbox, a.hasMailbox), ' ')
		b = appendNString(b, a.host, a.hasHost)
		b = append(b, ')')
	}
	return append(b, ')')
}

// Kinds of marks: ranges of a BODYSTRUCTURE that some readers don't get.
const (
	markExtension = 'x' // extension data, not in BODY
	markGlobal    = 'g' // what message/global has beyond a basic part: not in IMAP4rev1
)

type mark struct {
	kind       byte
	start, end int
}

// A structureWriter writes a BODYSTRUCTURE (RFC 9051 §7.5.2).
type structureWriter struct {
	b     []byte
	marks []mark
}

func (w *structureWriter) part(t *part) {
	w.b = append(w.b, '(')
	if t.kind == kindMultipart {
		w.multipart(t)
	} else {
		w.single(t)
	}
	w.b = append(w.b, ')')
}

func (w *structureWriter) multipart(t *part) {
	for _, c := range t.children {
		w.part(c)
	}
	if len(t.children) == 0 {
		w.b = append(w.b, `("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0`...)
		w.extension(func() { w.b = append(w.b, " NIL NIL NIL NIL"...) })
		w.b = append(w.b, ')')
	}
	w.b = append(w.b, ' ')
	w.b = appendString(w.b, t.header.subtype)
	w.extension(func() {
		w.b = append(w.b, ' ')
		w.params(t.header.params)
		w.common(&t.header)
	})
}

func (w *structureWriter) single(t *part) {
	h := &t.header
	w.b = append(appendString(w.b, h.typ), ' ')
	w.b = append(appendString(w.b, h.subtype), ' ')
	w.params(h.params)
	w.b = append(w.b, ' ')
	w.b = append(appendNString(w.b, h.id, h.hasID), ' ')
	w.b = append(appendNString(w.b, h.desc, h.hasDesc), ' ')
	encoding := h.encoding
	if encoding == "" {
		encoding = "7BIT"
	}
	w.b = append(appendString(w.b, encoding), ' ')
	w.b = strconv.AppendInt(w.b, t.end-t.body, 10)
	switch {
	case t.kind == kindMessage:
		w.message(t)
	case h.typ == "TEXT":
		w.b = strconv.AppendInt(append(w.b, ' '), t.lines, 10)
	}
	w.extension(func() {
		w.b = append(w.b, ' ')
		w.b = appendNString(w.b, h.md5, h.hasMD5)
		w.common(h)
	})
}

// message writes what a message/rfc822 has beyond other parts.
func (w *structureWriter) message(t *part) {
	start := len(w.b)
	w.b = append(w.b, ' ')
	child := t.children[0]
	w.b = append(appendEnvelope(w.b, child.header.message), ' ')
	w.part(child)
	w.b = strconv.AppendInt(append(w.b, ' '), t.lines, 10)
	if t.global {
		w.marks = append(w.marks, mark{markGlobal, start, len(w.b)})
	}
}

func (w *structureWriter) extension(f func()) {
	start := len(w.b)
	f()
	w.marks = append(w.marks, mark{markExtension, start, len(w.b)})
}

// common writes disposition, language and location.
func (w *structureWriter) common(h *header) {
	w.b = append(w.b, ' ')
	if h.hasDisp {
		w.b = append(w.b, '(')
		w.b = append(appendString(w.b, h.disposition), ' ')
		w.params(h.dispParams)
		w.b = append(w.b, ')')
	} else {
		w.b = append(w.b, "NIL"...)
	}
	w.b = append(w.b, ' ')
	switch len(h.language) {
	case 0:
		w.b = append(w.b, "NIL"...)
	case 1:
		w.b = appendString(w.b, h.language[0])
	default:
		for i, tag := range h.language {
			w.b = append(w.b, " ("[b2i(i == 0)])
			w.b = appendString(w.b, tag)
		}
		w.b = append(w.b, ')')
	}
	w.b = append(w.b, ' ')
	w.b = appendNString(w.b, h.location, h.hasLoc)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (w *structureWriter) params(params []param) {
	if len(params) == 0 {
		w.b = append(w.b, "NIL"...)
		return
	}
	for i, p := range params {
		w.b = append(w.b, " ("[b2i(i == 0)])
		w.b = append(appendString(w.b, p.name), ' ')
		w.b = appendString(w.b, p.value)
	}
	w.b = append(w.b, ')')
}
