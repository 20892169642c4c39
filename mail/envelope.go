package mail

const emptyEnvelope = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

// appendEnvelope writes an ENVELOPE (RFC 9051 §7.5.2).
func (p *Parser) appendEnvelope(b []byte, h *headerFields) []byte {
	b = append(b, '(')
	b = append(appendNString(b, h.value[fieldDate], h.present[fieldDate]), ' ')
	b = append(appendNString(b, h.value[fieldSubject], h.present[fieldSubject]), ' ')
	from := len(b)
	b = p.appendAddresses(b, h, fieldFrom)
	fromEnd := len(b)
	for _, n := range [...]int{fieldSender, fieldReplyTo} {
		b = append(b, ' ')
		start := len(b)
		b = p.appendAddresses(b, h, n)
		if string(b[start:]) == "NIL" {
			b = append(b[:start], b[from:fromEnd]...)
		}
	}
	for _, n := range [...]int{fieldTo, fieldCc, fieldBcc} {
		b = p.appendAddresses(append(b, ' '), h, n)
	}
	b = appendNString(append(b, ' '), h.value[fieldInReplyTo], h.present[fieldInReplyTo])
	b = appendNString(append(b, ' '), h.value[fieldMessageID], h.present[fieldMessageID])
	return append(b, ')')
}

// appendAddresses writes the addresses of a field, or NIL if there are none.
func (p *Parser) appendAddresses(b []byte, h *headerFields, field int) []byte {
	start := len(b)
	b = append(b, '(')
	h.addresses(field, maxAddresses-p.addresses, func(a *address) {
		if len(b) == start+1 && len(p.nodes) == 1 {
			p.keys.address(field, a)
		}
		b = append(appendNString(append(b, '('), a.name, len(a.name) > 0), ' ')
		b = append(appendNString(b, a.route, len(a.route) > 0), ' ')
		b = append(appendNString(b, a.mailbox, a.hasMailbox), ' ')
		b = append(appendNString(b, a.host, a.hasHost), ')')
		p.addresses++
	})
	if len(b) == start+1 {
		return append(b[:start], "NIL"...)
	}
	return append(b, ')')
}
