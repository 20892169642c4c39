package admin

import "strings"

// Text for XML and HTML, between tags and in values in double quotes. Both
// are UTF-8 here.

// escaped is s with what has a meaning there written otherwise. Characters
// that XML 1.0 §2.2 doesn't allow become U+FFFD.
func escaped(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 16)
	for _, r := range s {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '"':
			b.WriteString("&#34;")
		case r == '\'':
			b.WriteString("&#39;")
		case r == '\t', r == '\n', r == '\r':
			b.WriteString([]string{'\t': "&#9;", '\n': "&#10;", '\r': "&#13;"}[r])
		case r < ' ', r == 0xFFFE, r == 0xFFFF:
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r) // of what is not UTF-8, U+FFFD
		}
	}
	return b.String()
}

// element is <name>text</name>.
func element(b *strings.Builder, name, text string) {
	b.WriteString("<" + name + ">" + escaped(text) + "</" + name + ">\n")
}
