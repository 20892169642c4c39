package config

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// maxComment bounds the note of the server.
const maxComment = 4096

// checkAccounts holds the form only: the names are the store's.
func checkAccounts(value string) (string, error) {
	list, _ := texts(value)
	for _, name := range list {
		if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return "", fmt.Errorf("has %q in it, which is no account's name", name)
		}
	}
	return strings.Join(compact(list), " "), nil
}

// checkContact takes a URI (RFC 5464 §6.2.2).
func checkContact(value string) (string, error) {
	value = strings.TrimSpace(value)
	if value == "" {
		return "", nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Opaque == "" && u.Host == "" || strings.ContainsFunc(value, unicode.IsSpace) {
		return "", fmt.Errorf("wants a URI such as mailto:ann@example.org or tel:+4930123456, not %q", value)
	}
	return value, nil
}

func checkComment(value string) (string, error) {
	value = strings.TrimSpace(value)
	if len(value) > maxComment {
		return "", fmt.Errorf("is longer than %d bytes", maxComment)
	}
	return value, nil
}
