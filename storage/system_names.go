package storage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of names in bytes. Those of addresses are RFC 5321 §4.5.3.1's.
const (
	maxAccountName = 255
	maxLocalPart   = 64
	maxDomain      = 253
	maxLabel       = 63
)

// reservedNames are identifiers of RFC 4314 §2 that are no accounts.
var reservedNames = map[string]bool{"anyone": true, "anonymous": true, "owner": true, "authenticated": true, "administrators": true}

// CanonicalName gives an account's name the form in which it is stored and
// compared: that of RFC 8265 §3.3 (UsernameCaseMapped) without the
// right-to-left rule, so full-width letters become plain ones, capitals small
// ones, the whole NFC.
func CanonicalName(name string) (string, error) {
	bad := func(why string) (string, error) { return "", &NameError{Name: name, Why: why} }
	if !utf8.ValidString(name) {
		return bad("is not UTF-8")
	}
	if len(name) > maxAccountName {
		return bad(fmt.Sprintf("has more than %d bytes", maxAccountName))
	}
	s := lower(strings.Map(narrow, name))
	switch {
	case s == "":
		return bad("is empty")
	case len(s) > maxAccountName:
		return bad(fmt.Sprintf("has more than %d bytes", maxAccountName))
	case strings.Trim(s, " ") != s || strings.Contains(s, "  "):
		return bad("has blanks at an end or two in a row")
	case s == "." || s == "..":
		return bad("is the name of a folder")
	case reservedNames[s] || s[0] == '-':
		// RFC 4314 §2: these, and anything after "-", mean something else
		// in the list of those who share a mailbox.
		return bad("is reserved")
	}
	for _, r := range s {
		if why := badRune(r); why != "" {
			return bad(why)
		}
		if strings.ContainsRune(`/*%"\`, r) {
			return bad(fmt.Sprintf("has %q in it", r))
		}
	}
	if norm.NFKC.String(s) != s {
		return bad("has characters that look like others")
	}
	return s, nil
}

// narrow maps the full-width forms of ASCII (RFC 8264 §5.2.1).
func narrow(r rune) rune {
	switch {
	case r >= 0xFF01 && r <= 0xFF5E:
		return r - 0xFF01 + '!'
	case r == 0x3000:
		return ' '
	}
	return r
}

// lower is the form for comparing: small letters, then NFC, which
// is needed again afterwards because some small letters have other marks.
func lower(s string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// badRune says why a character can be in no name: it can't be seen, so two
// names would look the same.
func badRune(r rune) string {
	switch {
	case r == ' ':
		return ""
	case r == utf8.RuneError:
		return "has an unknown character in it"
	case unicode.IsControl(r):
		return "has a control character in it"
	case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
		return "has an invisible character in it"
	case unicode.IsSpace(r):
		return "has a blank in it that is not a plain one"
	case !unicode.IsGraphic(r):
		return "has an unknown character in it"
	}
	return ""
}

// CanonicalAddress gives an address the form in which it is stored: the local
// part as it was given, NFC; the domain as CanonicalDomain has it. Quoted
// local parts and address literals are not taken: no client sends them.
func CanonicalAddress(address string) (string, error) {
	bad := func(why string) (string, error) { return "", &NameError{Name: address, Why: why} }
	if !utf8.ValidString(address) {
		return bad("is not UTF-8")
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return bad("has no @")
	}
	local := norm.NFC.String(address[:at])
	switch {
	case local == "":
		return bad("has nothing before the @")
	case len(local) > maxLocalPart:
		return bad(fmt.Sprintf("has more than %d bytes before the @", maxLocalPart))
	case local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, ".."):
		return bad("has a dot too many before the @")
	}
	for _, r := range local {
		if !isAtext(r) {
			return bad(fmt.Sprintf("has %q before the @", r))
		}
	}
	domain, err := CanonicalDomain(address[at+1:])
	if err != nil {
		var why string
		if ne, ok := err.(*NameError); ok {
			why = ne.Why
		}
		return bad("has a domain that " + why)
	}
	return local + "@" + domain, nil
}

// isAtext is atext of RFC 5322 §3.2.3 and RFC 6532 §3.2, or the dot.
func isAtext(r rune) bool {
	if r >= utf8.RuneSelf {
		return badRune(r) == ""
	}
	return r > ' ' && r < 0x7F && !strings.ContainsRune(`()<>[]:;@\,"`, r)
}

// foldAddress is the key of an address: local parts differ by case for
// nobody, whatever RFC 5321 §2.4 allows.
func foldAddress(canonical string) string { return lower(canonical) }

// DomainOf is the domain of a canonical address.
func DomainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// CanonicalDomain gives a domain the form in which it is stored: lower case,
// NFC, IDNA labels ("xn--") as the characters they stand for.
func CanonicalDomain(domain string) (string, error) {
	bad := func(why string) (string, error) { return "", &NameError{Name: domain, Why: why} }
	if !utf8.ValidString(domain) {
		return bad("is not UTF-8")
	}
	labels := strings.Split(lower(strings.TrimSuffix(strings.Map(narrow, domain), ".")), ".")
	for i, label := range labels {
		if rest, ok := strings.CutPrefix(label, "xn--"); ok {
			s, err := decodePunycode(rest)
			if err != nil || lower(s) != s {
				return bad("has a label that is not IDNA")
			}
			labels[i], label = s, s
		}
		if why := badLabel(label); why != "" {
			return bad(why)
		}
	}
	s := strings.Join(labels, ".")
	if len(s) > maxDomain {
		return bad(fmt.Sprintf("has more than %d bytes", maxDomain))
	}
	return s, nil
}

func badLabel(label string) string {
	switch {
	case label == "":
		return "is empty or has an empty label"
	case len(label) > maxLabel:
		return fmt.Sprintf("has a label of more than %d bytes", maxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return `has a label with "-" at an end`
	}
	for _, r := range label {
		if r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return fmt.Sprintf("has %q in it", r)
		}
	}
	return ""
}
