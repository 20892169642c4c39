package mail

// A Section is what BODY[] asks of a part.
type Section uint8

// The sections of RFC 9051 §6.4.5.1.
const (
	SectionBody   Section = iota // BODY[] or BODY[1.2]
	SectionHeader                // BODY[HEADER] or BODY[1.2.HEADER]
	SectionText                  // BODY[TEXT] or BODY[1.2.TEXT]
	SectionMIME                  // BODY[1.2.MIME]
)

// Range is where a section stands in the message: n octets from off on. ok is
// false when there is no such part, or it has no such section.
func (r Record) Range(path []int, kind Section) (off, n int64, ok bool) {
	t, v, ok := r.find(path)
	if !ok {
		return 0, 0, false
	}
	if len(path) == 0 && kind == SectionBody {
		return 0, r.Size(), true
	}
	if len(path) > 0 && (kind == SectionHeader || kind == SectionText) {
		switch t.kind {
		case kindMessage:
			if t = v.part(); !v.ok || !r.holds(t) {
				return 0, 0, false
			}
		case kindOpaque:
			t = t.virtual()
		default:
			return 0, 0, false
		}
	}
	switch kind {
	case SectionBody, SectionText:
		return t.Offset + t.HeaderSize, t.BodySize, true
	case SectionMIME:
		return t.Offset, t.HeaderSize, len(path) > 0
	}
	return t.Offset, t.HeaderSize, true
}
