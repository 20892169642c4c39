package mail

import (
	"bytes"
	"crypto/sha256"
)

// A Hash stands for a message id in its normalized form (RFC 5256 §3): the
// first octets of its SHA-256.
type Hash [8]byte

// HashMessageID is the hash of the first id in s.
func HashMessageID(s string) (h Hash, ok bool) {
	eachID([]byte(s), func(id Hash) bool {
		h, ok = id, true
		return false
	})
	return h, ok
}

// eachID calls f for each id in a Message-ID, In-Reply-To or References field.
// Text around them is passed over. A field without any "<" is an id as a whole
// if it has no blank.
func eachID(s []byte, f func(Hash) bool) {
	var buf [256]byte
	if bytes.IndexByte(s, '<') < 0 {
		s = bytes.TrimSpace(s)
		if len(s) > 0 && !bytes.ContainsAny(s, " \t") {
			f(hashID(normalID(buf[:0], s)))
		}
		return
	}
	for {
		i := bytes.IndexByte(s, '<')
		if i < 0 {
			return
		}
		s = s[i+1:]
		end := bytes.IndexByte(s, '>')
		if end < 0 {
			return
		}
		if id := normalID(buf[:0], s[:end]); len(id) > 0 && !f(hashID(id)) {
			return
		}
		s = s[end+1:]
	}
}

// normalID takes quoting and white space out of an id.
func normalID(dst, id []byte) []byte {
	quoted := false
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && i+1 < len(id):
			i++
			dst = append(dst, id[i])
		case class[c]&isSpace == 0 || quoted && c == ' ':
			dst = append(dst, c)
		}
	}
	return dst
}

func hashID(id []byte) (h Hash) {
	sum := sha256.Sum256(id)
	copy(h[:], sum[:])
	return h
}
