package mail

// sortKeys are the normal forms that SORT compares (RFC 5256 §3, RFC 5957 §3).
type sortKeys struct {
	reply         bool
	subject       []byte
	from, to, cc  []byte
	displayFrom   []byte
	displayTo     []byte
	decoded, text []byte // memory
}

func (k *sortKeys) reset() {
	*k = sortKeys{
		subject: k.subject[:0], from: k.from[:0], to: k.to[:0], cc: k.cc[:0],
		displayFrom: k.displayFrom[:0], displayTo: k.displayTo[:0], decoded: k.decoded, text: k.text,
	}
}

// appendKey appends the normal form of s, cut off where it gets too long.
func appendKey(dst, s []byte) []byte {
	var z normalizer
	dst = z.append(dst, s[:min(len(s), 2*maxKey)])
	if n := len(dst); n > 0 && dst[n-1] == ' ' {
		dst = dst[:n-1]
	}
	return cutText(dst, maxKey)
}

// cutText cuts UTF-8 to at most n octets.
func cutText(s []byte, n int) []byte {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// readSubject makes the base subject. A subject is looked at as far as a key
// can show it, so that a hostile one costs nothing.
func (k *sortKeys) readSubject(subject []byte) {
	k.decoded = appendDecoded(k.decoded[:0], subject[:min(len(subject), 4*maxKey)])
	base, reply := BaseSubject(string(cutText(k.decoded, 2*maxKey)))
	k.reply = reply
	k.subject = appendKey(k.subject[:0], []byte(base))
}

// address takes the first address of a field.
func (k *sortKeys) address(field int, a *address) {
	var mailbox, display *[]byte
	switch field {
	case fieldFrom:
		mailbox, display = &k.from, &k.displayFrom
	case fieldTo:
		mailbox, display = &k.to, &k.displayTo
	case fieldCc:
		mailbox = &k.cc
	default:
		return
	}
	*mailbox = appendKey((*mailbox)[:0], a.mailbox)
	if display == nil {
		return
	}
	k.decoded = appendDecoded(k.decoded[:0], a.name[:min(len(a.name), 4*maxKey)])
	if len(k.decoded) == 0 {
		k.decoded = append(k.decoded, a.mailbox...)
		if a.hasHost {
			k.decoded = append(append(k.decoded, '@'), a.host...)
		}
	}
	*display = appendKey((*display)[:0], k.decoded)
}
