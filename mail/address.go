package mail

import "strings"

// An address of an ENVELOPE. A group begins with one that has only a mailbox,
// its name, and ends with one that has nothing (RFC 9051 §7.5.2).
type address struct {
	name, route, mailbox, host   string
	hasName, hasMailbox, hasHost bool
}

const maxAddresses = 2000

// parseAddresses reads the addresses of a field's values. What is not in the
// form of RFC 5322 §3.4 gives the best that can be made of it.
func parseAddresses(values []string) []address {
	var list []address
	for _, v := range values {
		l := lexer{s: v}
		list = l.addresses(list, false)
	}
	return list
}

func (l *lexer) addresses(list []address, group bool) []address {
	for l.i < len(l.s) && len(list) < maxAddresses {
		l.skip()
		if l.i >= len(l.s) {
			break
		}
		switch l.s[l.i] {
		case ',':
			l.i++
			continue
		case ';':
			l.i++
			if group {
				return list
			}
			continue
		}
		list = l.address(list, group)
	}
	return list
}

// address reads one mailbox or group.
func (l *lexer) address(list []address, group bool) []address {
	words, comment := l.phrase()
	if l.i < len(l.s) {
		switch l.s[l.i] {
		case ':':
			l.i++
			if group { // groups don't nest: take it for junk
				return list
			}
			list = append(list, address{mailbox: joinWords(words), hasMailbox: true})
			list = l.addresses(list, true)
			return append(list, address{})
		case '<':
			a := l.angle()
			a.name = joinWords(words)
			a.hasName = strings.TrimSpace(a.name) != ""
			if !a.hasName && comment != "" {
				a.name, a.hasName = comment, true
			}
			l.toComma()
			return append(list, a)
		}
	}
	local := joinWords(words)
	a := address{mailbox: local, hasMailbox: true}
	if l.i < len(l.s) && l.s[l.i] == '@' {
		a.mailbox = concatWords(words)
		l.i++
		a.host, a.hasHost = l.domain(&comment), true
		l.skipInto(&comment)
		if l.i < len(l.s) && l.s[l.i] == '<' { // user@host <user@host>
			b := l.angle()
			b.name, b.hasName = a.mailbox+"@"+a.host, true
			l.toComma()
			return append(list, b)
		}
	}
	if comment != "" {
		a.name, a.hasName = comment, true
	}
	at := l.i
	l.toComma()
	if len(words) == 0 && !a.hasHost && l.i == at {
		l.i++ // never stay at the same place
	}
	if a.mailbox == "" && !a.hasHost {
		return list
	}
	a.hasHost = true // without a host it would mean a group
	return append(list, a)
}

// phrase reads words up to one of : < @ , ; and the last comment among them.
func (l *lexer) phrase() (words []string, comment string) {
	for {
		l.skipInto(&comment)
		if l.i >= len(l.s) {
			return words, comment
		}
		switch c := l.s[l.i]; c {
		case ':', '<', '@', ',', ';':
			return words, comment
		case '"':
			words = append(words, l.quoted())
		case '>', ')':
			l.i++
		default:
			start := l.i
			for l.i < len(l.s) && strings.IndexByte(" \t\r\n()<>@,;:\"", l.s[l.i]) < 0 {
				l.i++
			}
			words = append(words, l.s[start:l.i])
		}
	}
}

// skipInto is skip that keeps the last comment.
func (l *lexer) skipInto(comment *string) {
	for {
		before := l.i
		for l.i < len(l.s) && strings.IndexByte(" \t\r\n", l.s[l.i]) >= 0 {
			l.i++
		}
		if l.i < len(l.s) && l.s[l.i] == '(' {
			*comment = strings.TrimSpace(l.comment())
		}
		if l.i == before {
			return
		}
	}
}

// angle reads "<" [route ":"] local "@" domain ">" (RFC 5322 §4.4, obs-route).
func (l *lexer) angle() address {
	l.i++
	l.skip()
	route := ""
	if l.i < len(l.s) && l.s[l.i] == '@' {
		if end := strings.IndexAny(l.s[l.i:], ":>"); end >= 0 && l.s[l.i+end] == ':' {
			route = strings.Join(strings.Fields(l.s[l.i:l.i+end]), "")
			l.i += end + 1
		}
	}
	words, _ := l.phrase()
	a := address{route: route, mailbox: concatWords(words), hasMailbox: true, hasHost: true}
	if l.i < len(l.s) && l.s[l.i] == '@' {
		l.i++
		a.host = l.domain(new(string))
	}
	for l.i < len(l.s) && l.s[l.i] != '>' && l.s[l.i] != ',' {
		l.i++
	}
	if l.i < len(l.s) && l.s[l.i] == '>' {
		l.i++
	}
	return a
}

// domain reads a domain or a literal in brackets, and keeps the comment in or
// behind it.
func (l *lexer) domain(comment *string) string {
	var out []byte
	for {
		l.skipInto(comment)
		if l.i >= len(l.s) {
			return string(out)
		}
		if l.s[l.i] == '[' {
			for l.i < len(l.s) && l.s[l.i] != '>' && l.s[l.i] != ',' {
				out = append(out, l.s[l.i])
				l.i++
				if out[len(out)-1] == ']' {
					break
				}
			}
			return string(out)
		}
		start := l.i
		for l.i < len(l.s) && strings.IndexByte(" \t\r\n()<>,;:\"@", l.s[l.i]) < 0 {
			l.i++
		}
		if l.i == start {
			return string(out)
		}
		if len(out) > 0 && out[len(out)-1] != '.' && l.s[start] != '.' {
			l.i = start
			return string(out)
		}
		out = append(out, l.s[start:l.i]...)
	}
}

// toComma moves to the comma or semicolon that ends the address.
func (l *lexer) toComma() {
	for l.i < len(l.s) {
		switch l.s[l.i] {
		case ',', ';':
			return
		case '"':
			l.quoted()
		case '(':
			l.comment()
		default:
			l.i++
		}
	}
}

func joinWords(words []string) string { return strings.Join(words, " ") }

// concatWords puts a local part together: "a . b" is a.b (RFC 5322 §4.4,
// obs-local-part). Words without a dot between them are no address; they keep
// a blank.
func concatWords(words []string) string {
	var out []byte
	for _, w := range words {
		if n := len(out); n > 0 && w != "" && out[n-1] != '.' && w[0] != '.' {
			out = append(out, ' ')
		}
		out = append(out, w...)
	}
	return string(out)
}
