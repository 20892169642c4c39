package mail

import "strings"

const maxParams = 100

// parseValue reads the value of Content-Type, Content-Disposition and the
// like: a value and parameters (RFC 2045 §5.1). slash allows one in the value.
// It makes the best of what is not in that form.
func parseValue(s string, slash bool) (value string, params []param) {
	l := lexer{s: s}
	l.skip()
	start := l.i
	for l.i < len(l.s) && (isToken(l.s[l.i]) || slash && l.s[l.i] == '/') {
		l.i++
	}
	value = l.s[start:l.i]
	for len(params) < maxParams && l.next(';') {
		l.skip()
		start := l.i
		for l.i < len(l.s) && isToken(l.s[l.i]) {
			l.i++
		}
		name := strings.ToUpper(l.s[start:l.i])
		l.skip()
		if l.i >= len(l.s) || l.s[l.i] != '=' {
			continue
		}
		l.i++
		l.skip()
		v := l.value()
		if name != "" {
			params = append(params, param{name, v})
		}
	}
	return value, params
}

func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0 || c >= 0x80
}

type lexer struct {
	s string
	i int
}

// skip passes over white space and comments (RFC 5322 §3.2.2).
func (l *lexer) skip() {
	for l.i < len(l.s) {
		switch l.s[l.i] {
		case ' ', '\t', '\r', '\n':
			l.i++
		case '(':
			l.comment()
		default:
			return
		}
	}
}

// comment reads a comment and returns what is in it.
func (l *lexer) comment() string {
	depth := 0
	var out []byte
	for ; l.i < len(l.s); l.i++ {
		switch c := l.s[l.i]; {
		case c == '(':
			if depth++; depth > 1 {
				out = append(out, c)
			}
		case c == ')':
			if depth--; depth == 0 {
				l.i++
				return string(out)
			}
			out = append(out, c)
		case c == '\\' && l.i+1 < len(l.s):
			l.i++
			out = append(out, l.s[l.i])
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// next moves behind the next c, over anything but quoted strings.
func (l *lexer) next(c byte) bool {
	for l.i < len(l.s) {
		switch l.s[l.i] {
		case c:
			l.i++
			return true
		case '(':
			l.comment()
		case '"':
			l.quoted()
		default:
			l.i++
		}
	}
	return false
}

// quoted reads a quoted string and returns what is in it.
func (l *lexer) quoted() string {
	l.i++
	start := l.i
	var out []byte
	for ; l.i < len(l.s); l.i++ {
		switch l.s[l.i] {
		case '"':
			out = append(out, l.s[start:l.i]...)
			l.i++
			return string(out)
		case '\\':
			out = append(out, l.s[start:l.i]...)
			l.i++
			start = l.i
		}
	}
	return string(append(out, l.s[min(start, len(l.s)):]...))
}

// value reads a parameter's value: a quoted string, or anything up to white
// space or the next parameter.
func (l *lexer) value() string {
	if l.i < len(l.s) && l.s[l.i] == '"' {
		return l.quoted()
	}
	start := l.i
	for l.i < len(l.s) && l.s[l.i] != ';' && l.s[l.i] != ' ' && l.s[l.i] != '\t' && l.s[l.i] != '(' {
		l.i++
	}
	return l.s[start:l.i]
}
