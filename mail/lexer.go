package mail

import "bytes"

// A lexer reads structured values of header fields (RFC 5322 §3.2, RFC 2045
// §5.1). It makes the best of what is not in their form.
type lexer struct {
	s   []byte
	i   int
	buf *[]byte // memory of strings that are not as they stand there
}

// Classes of octets.
const (
	isSpace    = 1 << iota // white space, line ends
	isTSpecial             // not in a token of RFC 2045 §5.1
	isPhrase               // ends a word of an address
)

var class = func() (t [256]byte) {
	for c := range t {
		switch {
		case c == ' ', c == '\t', c == '\r', c == '\n':
			t[c] = isSpace | isTSpecial | isPhrase
		case c < ' ', c == 0x7f:
			t[c] = isTSpecial
		}
	}
	for _, c := range []byte(`()<>@,;:\"/[]?=`) {
		t[c] |= isTSpecial
	}
	for _, c := range []byte(`()<>@,;:"`) {
		t[c] |= isPhrase
	}
	return t
}()

// skip passes over white space and comments (RFC 5322 §3.2.2).
func (l *lexer) skip() {
	for l.i < len(l.s) {
		switch c := l.s[l.i]; {
		case class[c]&isSpace != 0:
			l.i++
		case c == '(':
			l.comment()
		default:
			return
		}
	}
}

// comment reads a comment and returns what is in it.
func (l *lexer) comment() []byte {
	l.i++
	start, depth, escaped := l.i, 1, false
	for ; l.i < len(l.s); l.i++ {
		switch l.s[l.i] {
		case '(':
			depth++
		case ')':
			depth--
		case '\\':
			escaped = true
			l.i++
		}
		if depth == 0 || depth > maxComments {
			break
		}
	}
	end := min(l.i, len(l.s))
	l.i = min(l.i+1, len(l.s))
	if escaped {
		return l.unescape(l.s[start:end])
	}
	return l.s[start:end]
}

// quoted reads a quoted string and returns what is in it.
func (l *lexer) quoted() []byte {
	l.i++
	start, escaped := l.i, false
	for ; l.i < len(l.s) && l.s[l.i] != '"'; l.i++ {
		if l.s[l.i] == '\\' {
			escaped = true
			l.i++
		}
	}
	end := min(l.i, len(l.s))
	l.i = min(l.i+1, len(l.s))
	if escaped {
		return l.unescape(l.s[start:end])
	}
	return l.s[start:end]
}

// unescape takes the backslashes out (RFC 5322 §3.2.1).
func (l *lexer) unescape(s []byte) []byte {
	out := *l.buf
	start := len(out)
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			break
		}
		out = append(append(out, s[:i]...), s[i+1])
		s = s[i+2:]
	}
	*l.buf = append(out, bytes.TrimSuffix(s, []byte{'\\'})...)
	out = *l.buf
	return out[start:len(out):len(out)]
}

// token reads a token (RFC 2045 §5.1), which may have slashes if slash. Octets
// beyond ASCII are taken for letters.
func (l *lexer) token(slash bool) []byte {
	l.skip()
	start := l.i
	for l.i < len(l.s) && (class[l.s[l.i]]&isTSpecial == 0 || slash && l.s[l.i] == '/') {
		l.i++
	}
	return l.s[start:l.i]
}

// after moves behind the next c, and reports whether there is one.
func (l *lexer) after(c byte) bool {
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

// params reads parameters up to the end.
func (l *lexer) params(list []param) []param {
	first := len(list)
	sections := false
	for len(list)-first < maxParams && l.i < len(l.s) {
		name := l.token(false)
		l.skip()
		switch {
		case l.i == len(l.s):
		case l.s[l.i] != '=':
			if len(name) == 0 { // a semicolon, or junk
				l.i++
			}
		default:
			l.i++
			value := l.value()
			if len(name) > 0 {
				sections = sections || bytes.IndexByte(name, '*') >= 0
				list = append(list, param{name: upperName(name), value: value})
			}
		}
	}
	if sections {
		list = joinSections(list, first, l.buf)
	}
	return list
}

// value reads a parameter's value: a quoted string, or all up to a semicolon,
// for there are programs that don't quote blanks. What looks like another
// parameter behind a blank is one.
func (l *lexer) value() []byte {
	for l.i < len(l.s) && class[l.s[l.i]]&isSpace != 0 {
		l.i++
	}
	if l.i < len(l.s) && l.s[l.i] == '"' {
		return l.quoted()
	}
	start := l.i
	end := start
	for l.i < len(l.s) && l.s[l.i] != ';' {
		if class[l.s[l.i]]&isSpace == 0 {
			l.i++
			end = l.i
			continue
		}
		l.skip()
		if l.i < len(l.s) && l.s[l.i] != ';' && l.s[l.i] != '=' && l.looksLikeParam() {
			break
		}
	}
	return l.s[start:end]
}

// looksLikeParam reports whether a token and "=" come next.
func (l *lexer) looksLikeParam() bool {
	ahead := *l
	return len(ahead.token(false)) > 0 && ahead.i < len(l.s) && l.s[ahead.i] == '='
}
