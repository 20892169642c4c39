package mail

import (
	"encoding/binary"
	"time"
)

// Version is that of the parser, kept in each record.
const Version = 1

// A Record is what is known of a message without reading it: a compact form
// into which the accessors slice. What they return lives as long as the
// record's memory. An empty record, a damaged one and one of another version
// answer with zero values.
//
//	octets
//	1        version, 1
//	1        marks: 1 octets beyond ASCII in the header, 2 has a sent date,
//	         4 has a Message-ID, 8 has In-Reply-To, 16 subject of a reply,
//	         32 has a part in base64, 64 has marks that are no extension data
//	1        length of all before the sections
//	uvarint  length of each section but the last, which fills the rest
//	uvarint  octets of the message
//	uvarint  octets of its header, with the empty line
//	varint   sent date, seconds since 1970; 0 if it has none
//	varint   its zone, minutes east of UTC; 0 if it has none
//
// and the sections, one after the other:
//
//	envelope       ENVELOPE in neutral wire form
//	structure      BODYSTRUCTURE in neutral wire form, with all that any client gets
//	marks          of ranges of it that only some get, by start: kind u8 (0 extension
//	               data, 1 message/global, 2 not for rev2, 3 only for rev2), start as
//	               uvarint from the start before, length uvarint
//	parts          the tree, see parts.go
//	ids            hashes of 8 octets: of Message-ID and In-Reply-To if the marks say
//	               so, then of References in their order
//	base subject, from, to, cc, display from, display to
//	               sort keys in normal form
//	preview        UTF-8
//
// Integers are those of encoding/binary. There is no checksum: storage has one.
type Record []byte

const (
	recEightBit = 1 << iota
	recDate
	recMessageID
	recInReplyTo
	recReply
	recBase64
	recVariants
)

const (
	secEnvelope = iota
	secStructure
	secMarks
	secParts
	secIDs
	secSubject
	secFrom
	secTo
	secCc
	secDisplayFrom
	secDisplayTo
	secPreview
	sectionCount
)

const recordFixed = 3 // octets before the first varint

// A recordHead is what comes before the sections.
type recordHead struct {
	size, header, date, zone int64
	total                    int64 // length of all but the last section
}

func (r Record) head() (h recordHead, ok bool) {
	v, ok := r.varints()
	if !ok {
		return h, false
	}
	for range sectionCount - 1 {
		h.total += v.uvarint()
	}
	h.size, h.header = v.uvarint(), v.uvarint()
	h.date, h.zone = v.varint(), v.varint()
	if !v.ok || len(v.b) > 0 || h.header > h.size || h.zone < -24*60 || h.zone > 24*60 {
		return recordHead{}, false
	}
	return h, true
}

// varints begins to read before the lengths of the sections.
func (r Record) varints() (v varints, ok bool) {
	if len(r) < recordFixed || r[0] != Version || int(r[2]) < recordFixed || int(r[2]) > len(r) {
		return v, false
	}
	return varints{b: r[recordFixed:r[2]], ok: true}, true
}

// varints reads numbers. The first damage ends it.
type varints struct {
	b  []byte
	ok bool
}

// maxNumber keeps sums of a few numbers within int64.
const maxNumber = 1 << 56

func (v *varints) uvarint() int64 {
	if len(v.b) > 0 && v.b[0] < 0x80 {
		n := v.b[0]
		v.b = v.b[1:]
		return int64(n)
	}
	n, k := binary.Uvarint(v.b)
	if k <= 0 || n > maxNumber {
		v.ok, v.b = false, nil
		return 0
	}
	v.b = v.b[k:]
	return int64(n)
}

func (v *varints) varint() int64 {
	n, k := binary.Varint(v.b)
	if k <= 0 {
		v.ok, v.b = false, nil
		return 0
	}
	v.b = v.b[k:]
	return n
}

// section slices a section out.
func (r Record) section(s int) []byte {
	v, ok := r.varints()
	if !ok {
		return nil
	}
	start, end := int64(r[2]), int64(len(r))
	for i := range min(s+1, sectionCount-1) {
		n := v.uvarint()
		if n > end-start {
			return nil
		}
		if i == s {
			end = start + n
		} else {
			start += n
		}
	}
	if !v.ok {
		return nil
	}
	return r[start:end:end]
}

func (r Record) has(mark byte) bool {
	return len(r) >= recordFixed && r[0] == Version && r[1]&mark != 0
}

// Valid reports whether the record is whole: all accessors answer with what
// the parser wrote, as far as lengths and structure can tell.
func (r Record) Valid() bool {
	h, ok := r.head()
	if !ok || int64(r[2])+h.total > int64(len(r)) {
		return false
	}
	need := 0
	if r.has(recMessageID) {
		need += 8
	}
	if r.has(recInReplyTo) {
		need += 8
	}
	ids := len(r.section(secIDs))
	return ids%8 == 0 && ids >= need && r.validMarks() && r.validParts()
}

// Version is that of the parser that made the record; 0 if it is empty.
func (r Record) Version() uint8 {
	if len(r) == 0 {
		return 0
	}
	return r[0]
}

// Size is the octets of the message.
func (r Record) Size() int64 {
	h, _ := r.head()
	return h.size
}

// HeaderSize is the octets of its header, with the empty line.
func (r Record) HeaderSize() int64 {
	h, _ := r.head()
	return h.header
}

// EightBitHeader reports whether the header has octets beyond ASCII.
func (r Record) EightBitHeader() bool { return r.has(recEightBit) }

// Base64 reports whether a part is in base64.
func (r Record) Base64() bool { return r.has(recBase64) }

// Envelope is the ENVELOPE in neutral wire form.
func (r Record) Envelope() []byte { return r.section(secEnvelope) }

// SentDate is the time of the Date header field, in its own zone.
func (r Record) SentDate() (t time.Time, ok bool) {
	h, ok := r.head()
	if !ok || !r.has(recDate) {
		return time.Time{}, false
	}
	return inZone(h.date, int(h.zone)), true
}

// MessageID is the hash of the message's id.
func (r Record) MessageID() (h Hash, ok bool) { return r.id(recMessageID, 0) }

// InReplyTo is the hash of the first id in In-Reply-To.
func (r Record) InReplyTo() (h Hash, ok bool) {
	if r.has(recMessageID) {
		return r.id(recInReplyTo, 8)
	}
	return r.id(recInReplyTo, 0)
}

func (r Record) id(mark byte, at int) (h Hash, ok bool) {
	ids := r.section(secIDs)
	if !r.has(mark) || len(ids) < at+8 {
		return h, false
	}
	return Hash(ids[at : at+8]), true
}

// References calls f with the ids of References in their order, until it
// returns false. Of more than a hundred, ones behind the first are missing.
func (r Record) References(f func(Hash) bool) {
	ids := r.section(secIDs)
	for _, mark := range [...]byte{recMessageID, recInReplyTo} {
		if r.has(mark) && len(ids) >= 8 {
			ids = ids[8:]
		}
	}
	for ; len(ids) >= 8; ids = ids[8:] {
		if !f(Hash(ids[:8])) {
			return
		}
	}
}

// IsReply reports whether the subject is that of a reply or a forward (RFC
// 5256 §2.1).
func (r Record) IsReply() bool { return r.has(recReply) }

// BaseSubject is the normal form of the base subject of RFC 5256 §2.1.
func (r Record) BaseSubject() []byte { return r.section(secSubject) }

// From is the normal form of the mailbox of the first address in From.
func (r Record) From() []byte { return r.section(secFrom) }

// To is that of To.
func (r Record) To() []byte { return r.section(secTo) }

// Cc is that of Cc.
func (r Record) Cc() []byte { return r.section(secCc) }

// DisplayFrom is the normal form of the sort key DISPLAYFROM of RFC 5957.
func (r Record) DisplayFrom() []byte { return r.section(secDisplayFrom) }

// DisplayTo is that of DISPLAYTO.
func (r Record) DisplayTo() []byte { return r.section(secDisplayTo) }

// Preview is the text of RFC 8970, at most 200 characters of UTF-8.
func (r Record) Preview() []byte { return r.section(secPreview) }
