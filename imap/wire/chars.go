package wire

// A class is a set of octets of the grammar.
type class uint8

const (
	atomChar    class = 1 << iota // ATOM-CHAR
	astringChar                   // ASTRING-CHAR
	listChar                      // list-char
	tagChar                       // of tag
	wordChar                      // of a name of a command, an item, a key, an option
	quotedChar                    // stands in quotes as it is: TEXT-CHAR except quoted-specials
)

// classes is RFC 9051 §9 by octet. UTF-8 in quotes is checked apart.
var classes = func() (t [256]class) {
	for c := 1; c < 0x80; c++ {
		ch := byte(c)
		if ch != '\r' && ch != '\n' && ch != '"' && ch != '\\' {
			t[c] |= quotedChar
		}
		if ch <= ' ' || ch == 0x7f {
			continue
		}
		switch ch {
		case '(', ')', '{', '"': // atom-specials
		case '\\':
			t[c] |= wordChar // \Seen
		case '%':
			t[c] |= listChar
		case '*':
			t[c] |= listChar | wordChar // \*
		case ']':
			t[c] |= astringChar | listChar | tagChar
		case '+':
			t[c] |= atomChar | astringChar | listChar | wordChar // not in a tag
		case '[', '<', '>': // BODY[1]<0.5>
			t[c] |= atomChar | astringChar | listChar | tagChar
		default:
			t[c] |= atomChar | astringChar | listChar | tagChar | wordChar
		}
	}
	return t
}()

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

// equalFold compares with a name in ASCII, in any case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if upper(c) != upper(name[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
