package mail

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Record is what is known of a message without reading it: a compact form
// whose accessors slice into it. An empty or damaged one answers with zero
// values.
//
//	version u8, flags u8, size u64, header size u64, sent date i64 (seconds),
//	its zone i16 (minutes), hash of Message-ID 8, of In-Reply-To 8,
//	lengths of the sections u32 each, the sections one after the other:
//	envelope, structure, marks, parts, references, base subject, from, to, cc,
//	display from, display to, preview
//
// Marks are kind u8, start u32, end u32, sorted by start. References are
// hashes of 8 octets. Parts are in parts.go. Integers are little-endian.
type Record []byte

// A Hash stands for a message id.
type Hash [8]byte

const (
	recEightBit = 1 << iota
	recDate
	recMessageID
	recInReplyTo
	recReply
)

const (
	secEnvelope = iota
	secStructure
	secMarks
	secParts
	secReferences
	secSubject
	secFrom
	secTo
	secCc
	secDisplayFrom
	secDisplayTo
	secPreview
	sections
)

const (
	offFlags   = 1
	offSize    = 2
	offHeader  = 10
	offDate    = 18
	offZone    = 26
	offID      = 28
	offReplyTo = 36
	offLengths = 44
	recordHead = offLengths + 4*sections
)

// Valid reports whether the record's own lengths agree with it.
func (r Record) Valid() bool {
	if len(r) < recordHead || r[0] == 0 {
		return false
	}
	n := uint64(recordHead)
	for i := range sections {
		n += uint64(binary.LittleEndian.Uint32(r[offLengths+4*i:]))
	}
	return n == uint64(len(r))
}

func (r Record) section(s int) []byte {
	if len(r) < recordHead {
		return nil
	}
	start := uint64(recordHead)
	for i := range s {
		start += uint64(binary.LittleEndian.Uint32(r[offLengths+4*i:]))
	}
	end := start + uint64(binary.LittleEndian.Uint32(r[offLengths+4*s:]))
	if end > uint64(len(r)) {
		return nil
	}
	return r[start:end]
}

func (r Record) has(flag byte) bool { return len(r) >= recordHead && r[offFlags]&flag != 0 }

func (r Record) number(off int) int64 {
	if len(r) < recordHead {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r[off:]))
}

// Version is that of the parser that made the record.
func (r Record) Version() uint8 {
	if len(r) == 0 {
		return 0
	}
	return r[0]
}

// Size is the message's octets.
func (r Record) Size() int64 { return max(0, r.number(offSize)) }

// HeaderSize is the octets of its header, with the empty line.
func (r Record) HeaderSize() int64 { return max(0, min(r.number(offHeader), r.Size())) }

// Envelope is the ENVELOPE in neutral wire form.
func (r Record) Envelope() []byte { return r.section(secEnvelope) }

// EightBitHeader reports whether the header has octets beyond ASCII.
func (r Record) EightBitHeader() bool { return r.has(recEightBit) }

// AppendBodyStructure appends BODYSTRUCTURE, or BODY if not extended. For
// IMAP4rev1, rev2 false, message/global is a basic part.
func (r Record) AppendBodyStructure(dst []byte, extended, rev2 bool) []byte {
	s, marks := r.section(secStructure), r.section(secMarks)
	pos := 0
	for ; len(marks) >= 9; marks = marks[9:] {
		start, end := int(binary.LittleEndian.Uint32(marks[1:])), int(binary.LittleEndian.Uint32(marks[5:]))
		skip := marks[0] == markExtension && !extended || marks[0] == markGlobal && !rev2
		if !skip || start < pos || end < start || end > len(s) {
			continue
		}
		dst = append(dst, s[pos:start]...)
		pos = end
	}
	return append(dst, s[pos:]...)
}

// SentDate is the Date header's time, in its own zone.
func (r Record) SentDate() (t time.Time, ok bool) {
	if !r.has(recDate) {
		return time.Time{}, false
	}
	zone := int(int16(binary.LittleEndian.Uint16(r[offZone:])))
	return time.Unix(r.number(offDate), 0).In(time.FixedZone("", zone*60)), true
}

// MessageID is the hash of the message's id.
func (r Record) MessageID() (h Hash, ok bool) {
	if r.has(recMessageID) {
		return Hash(r[offID : offID+8]), true
	}
	return h, false
}

// InReplyTo is the hash of the first id in In-Reply-To.
func (r Record) InReplyTo() (h Hash, ok bool) {
	if r.has(recInReplyTo) {
		return Hash(r[offReplyTo : offReplyTo+8]), true
	}
	return h, false
}

// References calls f with the ids of References, in their order.
func (r Record) References(f func(Hash) bool) {
	for s := r.section(secReferences); len(s) >= 8; s = s[8:] {
		if !f(Hash(s[:8])) {
			return
		}
	}
}

// IsReply reports whether the subject is that of a reply or a forward (RFC
// 5256 §2.1).
func (r Record) IsReply() bool { return r.has(recReply) }

// BaseSubject is the base subject of RFC 5256 §2.1 in normal form.
func (r Record) BaseSubject() string { return string(r.section(secSubject)) }

// From, To and Cc are the normal form of the first mailbox of that field.
func (r Record) From() string { return string(r.section(secFrom)) }

// To is like From.
func (r Record) To() string { return string(r.section(secTo)) }

// Cc is like From.
func (r Record) Cc() string { return string(r.section(secCc)) }

// DisplayFrom and DisplayTo are the sort keys of RFC 5957 in normal form.
func (r Record) DisplayFrom() string { return string(r.section(secDisplayFrom)) }

// DisplayTo is like DisplayFrom.
func (r Record) DisplayTo() string { return string(r.section(secDisplayTo)) }

// Preview is the text of RFC 8970, at most 200 characters.
func (r Record) Preview() string { return string(r.section(secPreview)) }

// buildRecord writes the record of a parsed message.
func buildRecord(p *Parser) Record {
	var sec [sections][]byte
	m := p.root.header.message
	if m == nil {
		m = new(messageHeader)
	}
	sec[secEnvelope] = appendEnvelope(nil, m)
	w := structureWriter{}
	w.part(p.root)
	sec[secStructure] = w.b
	slices.SortStableFunc(w.marks, func(a, b mark) int {
		if a.start != b.start {
			return a.start - b.start
		}
		return b.end - a.end
	})
	for _, k := range w.marks {
		sec[secMarks] = append(sec[secMarks], k.kind)
		sec[secMarks] = binary.LittleEndian.AppendUint32(sec[secMarks], uint32(k.start))
		sec[secMarks] = binary.LittleEndian.AppendUint32(sec[secMarks], uint32(k.end))
	}
	sec[secParts] = appendPart(nil, p.root)
	ids := messageIDs(m.references)
	for _, id := range ids[max(0, len(ids)-maxReferences):] {
		h := hashID(id)
		sec[secReferences] = append(sec[secReferences], h[:]...)
	}
	flags := sortKeys(m, &sec)
	sec[secPreview] = p.preview.text()

	r := make([]byte, recordHead)
	r[0] = Version
	if p.eight {
		flags |= recEightBit
	}
	le := binary.LittleEndian
	le.PutUint64(r[offSize:], uint64(p.pos))
	le.PutUint64(r[offHeader:], uint64(p.root.body))
	if t, ok := ParseDate(m.date); ok {
		flags |= recDate
		_, zone := t.Zone()
		le.PutUint64(r[offDate:], uint64(t.Unix()))
		le.PutUint16(r[offZone:], uint16(zone/60))
	}
	if ids := messageIDs(m.messageID); len(ids) > 0 {
		flags |= recMessageID
		h := hashID(ids[0])
		copy(r[offID:], h[:])
	}
	if ids := messageIDs(m.inReplyTo); len(ids) > 0 {
		flags |= recInReplyTo
		h := hashID(ids[0])
		copy(r[offReplyTo:], h[:])
	}
	r[offFlags] = flags
	for i := range sec {
		le.PutUint32(r[offLengths+4*i:], uint32(len(sec[i])))
		r = append(r, sec[i]...)
	}
	return slices.Clip(r)
}

// sortKeys fills the sort keys in.
func sortKeys(m *messageHeader, sec *[sections][]byte) (flags byte) {
	subject, reply := BaseSubject(DecodeHeader(m.subject))
	if reply {
		flags |= recReply
	}
	sec[secSubject] = sortKey(subject)
	first := func(values []string) (mailbox, display []byte) {
		for _, a := range parseAddresses(values) {
			if !a.hasMailbox || !a.hasHost {
				continue // a group's begin or end
			}
			mailbox = sortKey(a.mailbox)
			name := DecodeHeader(a.name)
			if strings.TrimSpace(name) == "" {
				name = strings.TrimSuffix(a.mailbox+"@"+a.host, "@")
			}
			return mailbox, sortKey(name)
		}
		return nil, nil
	}
	sec[secFrom], sec[secDisplayFrom] = first(m.from)
	sec[secTo], sec[secDisplayTo] = first(m.to)
	sec[secCc], _ = first(m.cc)
	return flags
}

// sortKey is the normal form of s, as far as anything is sorted by it.
func sortKey(s string) []byte {
	const most = 1000
	s = Normal(s)
	if len(s) > most {
		n := most
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return []byte(s)
}
