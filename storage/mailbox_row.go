package storage

import (
	"encoding/binary"
	"fmt"

	"github.com/emersion/go-imap/v2"
)

// A mailbox row is a sequence of fields: tag u8, length uvarint, value. A
// reader skips tags it doesn't know, so that later formats can add some.
// Numbers are uvarints.
const (
	tagName byte = iota + 1
	tagSpace
	tagUIDValidity
	tagUIDNext
	tagHighestModSeq
	tagFloor
	tagMessages
	tagUnseen
	tagDeleted
	tagOctets
	tagDeletedOctets
	tagFirstUnseen
	tagRecentUID
	tagSpecialUse // repeated
	tagKeyword    // repeated, in the order of bits
	tagKeptDays
	tagHold
	tagRecovered
	tagACL // repeated: rights u16, identifier
	tagSum // the last one: a checksum u32 (rowsum.go) of id and fields
)

func appendField(b []byte, tag byte, value []byte) []byte {
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func appendNumber(b []byte, tag byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return appendField(b, tag, binary.AppendUvarint(nil, n))
}

// fields calls f for each field of b.
func fields(b []byte, f func(tag byte, value []byte) error) error {
	for len(b) > 0 {
		tag := b[0]
		n, k := binary.Uvarint(b[1:])
		if k <= 0 || n > uint64(len(b)-1-k) {
			return ErrCorrupt
		}
		if err := f(tag, b[1+k:1+k+int(n)]); err != nil {
			return err
		}
		b = b[1+k+int(n):]
	}
	return nil
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func encodeMailbox(m *Mailbox) []byte {
	b := appendField(nil, tagName, []byte(m.Name))
	for _, f := range []struct {
		tag byte
		n   uint64
	}{
		{tagSpace, uint64(m.Space)},
		{tagUIDValidity, uint64(m.UIDValidity)},
		{tagUIDNext, uint64(m.UIDNext)},
		{tagHighestModSeq, uint64(m.HighestModSeq)},
		{tagFloor, uint64(m.Floor)},
		{tagMessages, uint64(m.Messages)},
		{tagUnseen, uint64(m.Unseen)},
		{tagDeleted, uint64(m.Deleted)},
		{tagOctets, uint64(m.Octets)},
		{tagDeletedOctets, uint64(m.DeletedOctets)},
		{tagFirstUnseen, uint64(m.FirstUnseen)},
		{tagRecentUID, uint64(m.RecentUID)},
		{tagKeptDays, uint64(m.KeptDays)},
		{tagHold, bit(m.Hold)},
		{tagRecovered, bit(m.Recovered)},
	} {
		b = appendNumber(b, f.tag, f.n)
	}
	for _, use := range m.SpecialUse {
		b = appendField(b, tagSpecialUse, []byte(use))
	}
	for _, k := range m.Keywords {
		b = appendField(b, tagKeyword, []byte(k))
	}
	b = append(appendACL(b, m.ACL), tagSum, sumBytes)
	return appendSum(b, mailboxKey(m.ID[:]))
}

// mailboxKey is what a mailbox row's checksum takes of its key.
func mailboxKey(id []byte) uint64 {
	var k [8]byte
	copy(k[:], id)
	return binary.LittleEndian.Uint64(k[:])
}

// mailboxSound reports whether a mailbox row is as it was written.
func mailboxSound(id, v []byte) bool {
	if !hasMailboxSum(v) {
		return true // made before there were sums, or so damaged that the fields show it
	}
	return checkSum(v, mailboxKey(id))
}

// hasMailboxSum reports whether a mailbox row has a checksum.
func hasMailboxSum(v []byte) bool {
	n := len(v) - sumBytes - 2
	return n >= 0 && v[n] == tagSum && v[n+1] == sumBytes
}

func decodeMailbox(id, v []byte) (Mailbox, error) {
	var m Mailbox
	copy(m.ID[:], id)
	err := fields(v, func(tag byte, value []byte) error {
		switch tag {
		case tagName:
			m.Name = string(value)
			return nil
		case tagSpecialUse:
			m.SpecialUse = append(m.SpecialUse, imap.MailboxAttr(value))
			return nil
		case tagKeyword:
			m.Keywords = append(m.Keywords, string(value))
			return nil
		case tagACL:
			e, err := decodeACLEntry(value)
			m.ACL = append(m.ACL, e)
			return err
		}
		if tag > tagRecovered {
			return nil
		}
		n, k := binary.Uvarint(value)
		if k <= 0 {
			return ErrCorrupt
		}
		m.setNumber(tag, n)
		return nil
	})
	if err == nil && !mailboxSound(id, v) {
		err = ErrCorrupt
	}
	if err != nil { // m has what could be read
		return m, fmt.Errorf("mailbox row %s: %w", m.ID, err)
	}
	return m, nil
}

func (m *Mailbox) setNumber(tag byte, n uint64) {
	switch tag {
	case tagSpace:
		m.Space = Space(n)
	case tagUIDValidity:
		m.UIDValidity = uint32(n)
	case tagUIDNext:
		m.UIDNext = imap.UID(n)
	case tagHighestModSeq:
		m.HighestModSeq = ModSeq(n)
	case tagFloor:
		m.Floor = ModSeq(n)
	case tagMessages:
		m.Messages = uint32(n)
	case tagUnseen:
		m.Unseen = uint32(n)
	case tagDeleted:
		m.Deleted = uint32(n)
	case tagOctets:
		m.Octets = int64(n)
	case tagDeletedOctets:
		m.DeletedOctets = int64(n)
	case tagFirstUnseen:
		m.FirstUnseen = imap.UID(n)
	case tagRecentUID:
		m.RecentUID = imap.UID(n)
	case tagKeptDays:
		m.KeptDays = uint32(n)
	case tagHold:
		m.Hold = n != 0
	case tagRecovered:
		m.Recovered = n != 0
	}
}
