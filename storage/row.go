package storage

import (
	"encoding/binary"

	"github.com/emersion/go-imap/v2"
)

// A stored row, 71 bytes:
//
//	MODSEQ u64, flags u64, date i64, zone i16, save date u40, size u40,
//	blob u64, EmailID 16, thread u64, then a checksum u32 (rowsum.go)
//
// A kept row has the time of its expunge, u40, and the keptReason, u8, before it.
const (
	rowBytes  = 8 + 8 + 8 + 2 + 5 + 5 + 8 + 16 + 8
	keptBytes = rowBytes + 5
)

func keyUID(space Space, uid imap.UID) []byte {
	k := make([]byte, 8)
	binary.BigEndian.PutUint32(k, uint32(space))
	binary.BigEndian.PutUint32(k[4:], uint32(uid))
	return k
}

func keyLog(space Space, at ModSeq, uid imap.UID) []byte {
	k := make([]byte, 16)
	binary.BigEndian.PutUint32(k, uint32(space))
	binary.BigEndian.PutUint64(k[4:], uint64(at))
	binary.BigEndian.PutUint32(k[12:], uint32(uid))
	return k
}

func encodeRow(r *Row) []byte { return appendSum(encodeRowFields(r), uint64(r.UID)) }

func encodeRowFields(r *Row) []byte {
	b := make([]byte, 0, keptBytes+1+sumBytes)
	le := binary.LittleEndian
	b = le.AppendUint64(b, uint64(r.ModSeq))
	b = le.AppendUint64(b, uint64(r.Flags))
	b = le.AppendUint64(b, uint64(r.Date))
	b = le.AppendUint16(b, uint16(r.Zone))
	b = appendUint40(b, r.SaveDate)
	b = appendUint40(b, r.Size)
	b = le.AppendUint64(b, uint64(r.Blob))
	b = append(b, r.Email[:]...)
	return le.AppendUint64(b, uint64(r.Thread))
}

func encodeKept(r *Row, expunged int64, why keptReason) []byte {
	b := append(appendUint40(encodeRowFields(r), expunged), byte(why))
	return appendSum(b, uint64(r.UID))
}

func decodeRow(uid imap.UID, v []byte) (Row, error) {
	if !rowSound(uid, v) {
		return Row{}, rowDamaged("row of UID", uint64(uid))
	}
	le := binary.LittleEndian
	r := Row{
		UID:      uid,
		ModSeq:   ModSeq(le.Uint64(v)),
		Flags:    Flags(le.Uint64(v[8:])),
		Date:     int64(le.Uint64(v[16:])),
		Zone:     int16(le.Uint16(v[24:])),
		SaveDate: uint40(v[26:]),
		Size:     uint40(v[31:]),
		Blob:     BlobID(le.Uint64(v[36:])),
		Thread:   ThreadID(le.Uint64(v[60:])),
	}
	copy(r.Email[:], v[44:60])
	return r, nil
}

// rowSound reports whether a row, live or kept, is as it was written.
func rowSound(uid imap.UID, v []byte) bool {
	switch n := len(v); {
	case n == rowBytes, n == keptBytes, n == keptBytes+1: // made before there were sums
		return true
	case n >= keptBytes+1+sumBytes: // what follows is a later format's
		return checkSum(v[:keptBytes+1+sumBytes], uint64(uid))
	case n >= rowBytes+sumBytes:
		return checkSum(v[:rowBytes+sumBytes], uint64(uid))
	}
	return false
}

func appendUint40(b []byte, n int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, byte(n>>32))
}

func uint40(b []byte) int64 {
	return int64(binary.LittleEndian.Uint32(b)) | int64(b[4])<<32
}

// count adds a message to the mailbox's counts.
func (m *Mailbox) count(r *Row) {
	m.Messages++
	m.Octets += r.Size
	if r.Flags&FlagSeen == 0 {
		if m.Unseen == 0 {
			m.FirstUnseen = r.UID
		}
		m.Unseen++
	}
	if r.Flags&FlagDeleted != 0 {
		m.Deleted++
		m.DeletedOctets += r.Size
	}
}

// uncount takes a message out of the counts.
func (m *Mailbox) uncount(r *Row) {
	m.Messages--
	m.Octets -= r.Size
	if r.Flags&FlagSeen == 0 {
		m.Unseen--
	}
	if r.Flags&FlagDeleted != 0 {
		m.Deleted--
		m.DeletedOctets -= r.Size
	}
}

// recount follows a change of the row's flags.
func (m *Mailbox) recount(r *Row, flags Flags) {
	changed := r.Flags ^ flags
	if changed&FlagSeen != 0 {
		if flags&FlagSeen != 0 {
			m.Unseen--
			if r.UID == m.FirstUnseen {
				m.FirstUnseen++
			}
		} else {
			if m.Unseen == 0 || r.UID < m.FirstUnseen {
				m.FirstUnseen = r.UID
			}
			m.Unseen++
		}
	}
	if changed&FlagDeleted != 0 {
		if flags&FlagDeleted != 0 {
			m.Deleted++
			m.DeletedOctets += r.Size
		} else {
			m.Deleted--
			m.DeletedOctets -= r.Size
		}
	}
}
