package mail

import (
	"bytes"
	"strings"
)

// A header is what the structure needs of a part's header.
type header struct {
	typ, subtype string // upper case
	params       []param
	id, desc     string
	encoding     string // upper case
	md5          string
	disposition  string
	dispParams   []param
	language     []string
	location     string
	hasDisp      bool
	hasLoc       bool
	hasID        bool
	hasDesc      bool
	hasMD5       bool
	message      *messageHeader // of a message's own header
}

type param struct{ name, value string }

func (h *header) param(name string) string {
	for _, p := range h.params {
		if p.name == name {
			return p.value
		}
	}
	for _, p := range h.params {
		if len(p.name) == len(name)+1 && p.name[len(name)] == '*' && p.name[:len(name)] == name {
			return extendedValue(p.value)
		}
	}
	return ""
}

// A messageHeader holds the fields of ENVELOPE and of threads, as they came,
// unfolded. A field that comes again counts once; address fields add up.
type messageHeader struct {
	date, subject, messageID, inReplyTo, references string
	has                                             [12]bool
	from, sender, replyTo, to, cc, bcc              []string
}

const (
	hasDate = iota
	hasSubject
	hasMessageID
	hasInReplyTo
	hasReferences
)

// field calls f for each field of a header, with the value as it stands
// there, folded. It stops at the empty line, or when f returns false.
func eachField(head []byte, f func(name, value []byte) bool) {
	for len(head) > 0 {
		end := fieldEnd(head)
		line := head[:end]
		head = head[end:]
		if line[0] == '\n' || line[0] == '\r' && len(line) > 1 && line[1] == '\n' {
			return
		}
		i := bytes.IndexByte(line, ':')
		if i <= 0 {
			continue // mbox's From line, or junk
		}
		if !f(bytes.TrimRight(line[:i], " \t"), line[i+1:]) {
			return
		}
	}
}

// fieldEnd is where the first field ends, with its continuation lines.
func fieldEnd(head []byte) int {
	end := 0
	for {
		i := bytes.IndexByte(head[end:], '\n')
		if i < 0 {
			return len(head)
		}
		end += i + 1
		if end == len(head) || head[end] != ' ' && head[end] != '\t' {
			return end
		}
		if end <= 2 && (head[0] == '\n' || head[0] == '\r') {
			return end // the empty line has no continuation
		}
	}
}

// unfold takes the line ends out of a value, and the white space around it.
func unfold(value []byte) string {
	value = bytes.Trim(value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	out := make([]byte, 0, len(value))
	for i, c := range value {
		if c == '\n' || c == '\r' && i+1 < len(value) && value[i+1] == '\n' {
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

func hasEightBit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// parseHeader reads a part's header. message also reads what ENVELOPE needs.
func parseHeader(head []byte, inDigest, message bool) header {
	var h header
	if message {
		h.message = new(messageHeader)
	}
	seenType := false
	eachField(head, func(name, value []byte) bool {
		if len(name) > 7 && bytes.EqualFold(name[:8], []byte("content-")) {
			h.content(strings.ToUpper(string(name[8:])), value, &seenType)
		} else if message {
			h.message.field(name, value)
		}
		return true
	})
	if h.typ == "" {
		h.typ, h.subtype = "TEXT", "PLAIN"
		if inDigest {
			h.typ, h.subtype = "MESSAGE", "RFC822"
		}
	}
	if h.typ == "TEXT" && h.param("CHARSET") == "" { // RFC 2045 §5.2, RFC 2046 §4.1.2
		h.params = append(h.params, param{"CHARSET", "US-ASCII"})
	}
	return h
}

func (h *header) content(name string, value []byte, seenType *bool) {
	switch name {
	case "TYPE":
		if *seenType {
			return
		}
		*seenType = true
		typ, params := parseValue(unfold(value), true)
		if i := strings.IndexByte(typ, '/'); i > 0 && i < len(typ)-1 {
			h.typ, h.subtype = strings.ToUpper(typ[:i]), strings.ToUpper(typ[i+1:])
			h.params = params
		}
	case "TRANSFER-ENCODING":
		if h.encoding == "" {
			enc, _ := parseValue(unfold(value), false)
			h.encoding = strings.ToUpper(enc)
		}
	case "ID":
		h.id, h.hasID = unfold(value), true
	case "DESCRIPTION":
		h.desc, h.hasDesc = unfold(value), true
	case "MD5":
		h.md5, h.hasMD5 = unfold(value), true
	case "LOCATION":
		h.location, h.hasLoc = strings.ReplaceAll(unfold(value), " ", ""), true
	case "LANGUAGE":
		for _, tag := range strings.Split(unfold(value), ",") {
			tag, _ = parseValue(tag, false)
			if tag != "" && len(h.language) < 50 {
				h.language = append(h.language, tag)
			}
		}
	case "DISPOSITION":
		d, params := parseValue(unfold(value), false)
		if d != "" && !h.hasDisp {
			h.disposition, h.dispParams, h.hasDisp = strings.ToUpper(d), params, true
		}
	}
}

func (m *messageHeader) once(i int, to *string, value []byte) {
	if !m.has[i] {
		m.has[i] = true
		*to = unfold(value)
	}
}

func (m *messageHeader) field(name, value []byte) {
	if len(name) > 12 {
		return
	}
	switch strings.ToLower(string(name)) {
	case "date":
		m.once(hasDate, &m.date, value)
	case "subject":
		m.once(hasSubject, &m.subject, value)
	case "message-id":
		m.once(hasMessageID, &m.messageID, value)
	case "in-reply-to":
		m.once(hasInReplyTo, &m.inReplyTo, value)
	case "references":
		m.once(hasReferences, &m.references, value)
	case "from":
		m.from = append(m.from, unfold(value))
	case "sender":
		m.sender = append(m.sender, unfold(value))
	case "reply-to":
		m.replyTo = append(m.replyTo, unfold(value))
	case "to":
		m.to = append(m.to, unfold(value))
	case "cc":
		m.cc = append(m.cc, unfold(value))
	case "bcc":
		m.bcc = append(m.bcc, unfold(value))
	}
}

// HeaderField calls f with the value, as it stands there, of each field of
// that name.
func HeaderField(head []byte, name string, f func(value []byte) bool) {
	eachField(head, func(n, value []byte) bool {
		if len(n) == len(name) && strings.EqualFold(string(n), name) {
			return f(value)
		}
		return true
	})
}

// AppendHeaderFields appends the fields of head that are among names, or with
// not the others, and an empty line (RFC 9051 §6.4.5.1).
func AppendHeaderFields(dst, head []byte, names []string, not bool) []byte {
	for len(head) > 0 {
		end := fieldEnd(head)
		line := head[:end]
		head = head[end:]
		if line[0] == '\n' || line[0] == '\r' && len(line) > 1 && line[1] == '\n' {
			break
		}
		i := bytes.IndexByte(line, ':')
		if i <= 0 {
			continue
		}
		if nameIn(bytes.TrimRight(line[:i], " \t"), names) != not {
			dst = append(dst, line...)
			if line[len(line)-1] != '\n' {
				dst = append(dst, "\r\n"...)
			}
		}
	}
	return append(dst, "\r\n"...)
}

func nameIn(name []byte, names []string) bool {
	for _, n := range names {
		if len(n) == len(name) && (n[0]|0x20) == (name[0]|0x20) && strings.EqualFold(n, string(name)) {
			return true
		}
	}
	return false
}
