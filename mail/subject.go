package mail

import "strings"

// BaseSubject is the base subject of RFC 5256 §2.1 of a decoded subject, and
// whether taking away what makes it one says that the message is a reply or a
// forward.
func BaseSubject(s string) (base string, reply bool) {
	s = strings.Join(strings.FieldsFunc(s, isBlankRune), " ") // step 1
	for {
		for hasTrailer(s) { // step 2
			s, reply = strings.TrimRight(s[:len(s)-5], " "), true
		}
		for { // steps 3 to 5
			rest, ok := cutLeader(s)
			if !ok {
				break
			}
			s, reply = rest, true
		}
		s = cutBlobs(s)
		// step 6
		if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || s[len(s)-1] != ']' {
			return s, reply
		}
		s, reply = strings.Trim(s[5:len(s)-1], " "), true
	}
}

func isBlankRune(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// hasTrailer reports whether s ends in subj-trailer, "(fwd)".
func hasTrailer(s string) bool {
	return len(s) >= 5 && strings.EqualFold(s[len(s)-5:], "(fwd)")
}

// cutLeader removes a subj-leader, *subj-blob subj-refwd, and the blanks
// behind it, which are further ones.
func cutLeader(s string) (string, bool) {
	rest := s
	for {
		next, ok := cutBlob(rest)
		if !ok {
			break
		}
		rest = next
	}
	switch {
	case len(rest) >= 2 && strings.EqualFold(rest[:2], "re"):
		rest = rest[2:]
	case len(rest) >= 3 && strings.EqualFold(rest[:3], "fwd"):
		rest = rest[3:]
	case len(rest) >= 2 && strings.EqualFold(rest[:2], "fw"):
		rest = rest[2:]
	default:
		return s, false
	}
	rest = strings.TrimLeft(rest, " ")
	if next, ok := cutBlob(rest); ok {
		rest = next
	}
	if !strings.HasPrefix(rest, ":") {
		return s, false
	}
	return strings.TrimLeft(rest[1:], " "), true
}

// cutBlobs removes each subj-blob that something follows. No leader can come
// after one of them: it would have taken them all.
func cutBlobs(s string) string {
	for {
		rest, ok := cutBlob(s)
		if !ok || rest == "" {
			return s
		}
		s = rest
	}
}

// cutBlob removes a subj-blob, "[" *BLOBCHAR "]" *WSP.
func cutBlob(s string) (string, bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[end+2:], " "), true
}
