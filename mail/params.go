package mail

import (
	"strconv"
	"strings"
)

const maxParams = 100

// parseValue reads the value of Content-Type, Content-Disposition and the
// like: a value and parameters (RFC 2045 §5.1). slash allows one in the value.
// It makes the best of what is not in that form.
func parseValue(s string, slash bool) (value string, params []param) {
	l := lexer{s: s}
	l.skip()
	start, pieces := l.i, false
	for l.i < len(l.s) && isToken(l.s[l.i]) {
		l.i++
	}
	value = l.s[start:l.i]
	if slash {
		value = l.subtype(value)
	}
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
			pieces = pieces || strings.IndexByte(name, '*') > 0
		}
	}
	if pieces {
		params = joinParams(params)
	}
	return value, params
}

// subtype reads "/" and a subtype behind the type.
func (l *lexer) subtype(typ string) string {
	at := l.i
	l.skip()
	if l.i >= len(l.s) || l.s[l.i] != '/' {
		l.i = at
		return typ
	}
	l.i++
	l.skip()
	start := l.i
	for l.i < len(l.s) && (isToken(l.s[l.i]) || l.s[l.i] == '/') {
		l.i++
	}
	return typ + "/" + l.s[start:l.i]
}

// joinParams puts the pieces of long values together, as RFC 2231 §6 wants it
// for BODYSTRUCTURE: NAME*0, NAME*1 become NAME, and NAME* if one of them is in
// the extended form, which stays encoded for the client.
func joinParams(params []param) []param {
	var out []param
	for i := range params {
		name, n, _ := pieceName(params[i].name)
		switch {
		case n < 0:
			out = append(out, params[i])
		case n == 0:
			out = append(out, joinPieces(name, params))
		}
	}
	if len(out) == 0 {
		return params // pieces without a first one stay as they came
	}
	return out
}

// joinPieces joins the pieces of one parameter in the order of their numbers.
func joinPieces(name string, params []param) param {
	var pieces []param
	extended := false
	for want := 0; ; want++ {
		found := false
		for _, p := range params {
			if base, n, ext := pieceName(p.name); n == want && base == name {
				pieces, found, extended = append(pieces, p), true, extended || ext
				break
			}
		}
		if !found {
			break
		}
	}
	var v strings.Builder
	if _, _, first := pieceName(pieces[0].name); extended && !first {
		v.WriteString("''") // no charset, no language
	}
	for _, p := range pieces {
		if _, _, ext := pieceName(p.name); extended && !ext {
			writeExtended(&v, p.value)
		} else {
			v.WriteString(p.value)
		}
	}
	if extended {
		name += "*"
	}
	return param{name, v.String()}
}

// pieceName splits NAME*3 or NAME*3*; n is -1 if name is no such one.
func pieceName(name string) (base string, n int, extended bool) {
	s, extended := strings.CutSuffix(name, "*")
	i := strings.LastIndexByte(s, '*')
	if i <= 0 || len(s)-i > 4 {
		return name, -1, extended
	}
	n, err := strconv.Atoi(s[i+1:])
	if err != nil || n < 0 || n >= maxParams || s[i+1] == '+' {
		return name, -1, extended
	}
	return s[:i], n, extended
}

// writeExtended writes a plain value as an extended one (RFC 2231 §7).
func writeExtended(v *strings.Builder, s string) {
	for i := range len(s) {
		if c := s[i]; isToken(c) && c < 0x80 && c != '*' && c != '\'' && c != '%' {
			v.WriteByte(c)
		} else {
			const hex = "0123456789ABCDEF"
			v.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

// extendedValue decodes an extended value. Names of charsets and boundaries
// are ASCII, so that its own charset does not matter here.
func extendedValue(s string) string {
	if i := strings.IndexByte(s, '\''); i >= 0 {
		if k := strings.IndexByte(s[i+1:], '\''); k >= 0 {
			s = s[i+k+2:]
		}
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0 {
			out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
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
