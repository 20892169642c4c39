package mail

import (
	"crypto/sha256"
	"strings"
)

// BaseSubject is the base subject of RFC 5256 §2.1, steps 1 to 6, of a decoded
// subject, and whether it was that of a reply or a forward.
func BaseSubject(s string) (base string, reply bool) {
	s = strings.Join(strings.Fields(s), " ") // step 1
	for {
		for hasTrailer(s) { // step 2
			s, reply = strings.TrimSpace(s[:len(s)-5]), true
		}
		for { // steps 3 to 5
			rest, ok := cutLeader(s)
			if s = rest; !ok {
				break
			}
			reply = true
		}
		// step 6
		if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || s[len(s)-1] != ']' {
			return s, reply
		}
		s, reply = strings.TrimSpace(s[5:len(s)-1]), true
	}
}

// hasTrailer reports whether s ends in subj-trailer, "(fwd)".
func hasTrailer(s string) bool {
	return len(s) >= 5 && strings.EqualFold(s[len(s)-5:], "(fwd)")
}

// cutLeader removes subj-leader, *subj-blob subj-refwd (step 3). Without
// subj-refwd it removes the blobs as long as something is left (step 4).
func cutLeader(s string) (string, bool) {
	rest := s
	for {
		next, ok := cutBlob(rest)
		if !ok {
			break
		}
		if next != "" {
			s = next
		}
		rest = next
	}
	if len(rest) < 3 {
		return s, false
	}
	switch {
	case strings.EqualFold(rest[:2], "re"):
		rest = rest[2:]
	case strings.EqualFold(rest[:3], "fwd"):
		rest = rest[3:]
	case strings.EqualFold(rest[:2], "fw"):
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

// cutBlob removes subj-blob: "[" *BLOBCHAR "]" *WSP.
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

// messageIDs lists the ids in a Message-ID, In-Reply-To or References field.
// Text between them is passed over; a field without any "<" is an id as a
// whole if it has no blank.
func messageIDs(s string) (ids []string) {
	if strings.IndexByte(s, '<') < 0 {
		if s = strings.TrimSpace(s); s != "" && !strings.ContainsAny(s, " \t") {
			return []string{s}
		}
		return nil
	}
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			return ids
		}
		s = s[i+1:]
		end := strings.IndexByte(s, '>')
		if end < 0 {
			return ids
		}
		id := strings.Map(func(r rune) rune {
			if r == ' ' || r == '\t' {
				return -1
			}
			return r
		}, s[:end])
		if id != "" {
			ids = append(ids, id)
		}
		s = s[end+1:]
	}
}

func hashID(id string) (h Hash) {
	sum := sha256.Sum256([]byte(id))
	copy(h[:], sum[:])
	return h
}
