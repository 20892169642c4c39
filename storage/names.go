package storage

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxMailboxName is the longest name of a mailbox, in octets.
const MaxMailboxName = 1000

// MailboxName is the form in which a mailbox name is stored: NFC, and INBOX
// as the first level in capitals (RFC 9051 §5.1). A *NameError says why name
// can't be a mailbox's.
func MailboxName(name string) (string, error) {
	refuse := func(why string) (string, error) { return "", &NameError{Name: name, Why: why} }
	if !utf8.ValidString(name) {
		return refuse("is not UTF-8")
	}
	name = norm.NFC.String(name)
	first, rest, below := strings.Cut(name, "/")
	if strings.EqualFold(first, "INBOX") {
		name = "INBOX"
		if below {
			name += "/" + rest
		}
	}
	switch {
	case name == "":
		return refuse("is empty")
	case len(name) > MaxMailboxName:
		return refuse("is longer than 1000 octets")
	case strings.HasPrefix(name, "/"), strings.HasSuffix(name, "/"), strings.Contains(name, "//"):
		return refuse("has an empty level")
	case strings.IndexFunc(name, forbidden) >= 0:
		return refuse("holds a control character")
	}
	return name, nil
}

// forbidden are the characters that RFC 9051 §5.1 and RFC 5198 §2 keep out of
// names: controls, and the two line separators.
func forbidden(r rune) bool { return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 }
