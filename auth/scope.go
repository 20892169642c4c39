package auth

import (
	"fmt"
	"strings"
)

// scopeWords are what commands and rows call the parts of a scope.
var scopeWords = []struct {
	scope Scope
	word  string
}{
	{ScopeIMAP, "imap"}, {ScopePOP3, "pop3"}, {ScopeSubmission, "submission"}, {ScopeReadOnly, "read-only"},
}

// ParseScope reads words with blanks or commas between them: imap, pop3,
// submission, read-only. No word is everything, read-only alone is all that reads.
func ParseScope(text string) (s Scope, err error) {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == ',' }) {
		known := false
		for _, w := range scopeWords {
			if w.word == word {
				s |= w.scope
				known = true
			}
		}
		if !known {
			return 0, fmt.Errorf("%q is no scope: choose from imap, pop3, submission and read-only", word)
		}
	}
	switch {
	case s == 0:
		return ScopeAll, nil
	case s&ScopeReadOnly != 0 && s&ScopeSubmission != 0:
		return 0, fmt.Errorf("read-only and submission exclude each other")
	case s == ScopeReadOnly:
		return s | ScopeIMAP | ScopePOP3, nil
	}
	return s, nil
}

// String is what ParseScope reads.
func (s Scope) String() string {
	var words []string
	for _, w := range scopeWords {
		if s&w.scope != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}
