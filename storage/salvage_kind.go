package storage

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// guessKind tells by its form and checksum in which bucket an element was that
// stands on a page of which nothing else is known; "" if it can't be told.
func guessKind(e *rawItem) (kind string, owner uint64) {
	k, v := e.key, e.value
	switch len(k) {
	case 4:
		n := binary.BigEndian.Uint32(k)
		if n > 0 && n < 1<<24 && chunkLike(v) {
			return kindChunk, uint64(blobOfChunk(v, n))
		}
		if _, ok := decodeDeleted(k, v); ok || len(v) == 5 && v[0] == intentCopy {
			return string(bucketIntents), 0
		}
	case 8:
		return guessByID(binary.BigEndian.Uint64(k), v), 0
	case 9:
		if soundChunk(v, place{placeRecords, binary.BigEndian.Uint64(k), 1 + uint32(k[8])}) {
			return string(bucketRecords), 0
		}
	case 16:
		if _, ok := decodeLog(k, v); ok {
			return string(bucketLog), 0
		}
		if m, err := decodeMailbox(k, v); err == nil && hasMailboxSum(v) && m.Space > 0 {
			return kindMailboxes, 0
		}
	}
	switch name := string(k); {
	case name == "secret" && len(v) == 32, name == "account" && len(v) == 16, name == "profile" && len(v) > 2 && v[0] == profileName:
		return string(bucketMeta), 0
	case len(v) == 16 && utf8.Valid(k):
		if stored, err := MailboxName(name); err == nil && stored == name {
			return string(bucketNames), 0
		}
	}
	return "", 0
}

// guessByID is guessKind for keys of 8 octets.
func guessByID(id uint64, v []byte) string {
	switch n := len(v); {
	case n >= rowBytes+sumBytes && n < keptBytes+1+sumBytes && checkSum(v[:rowBytes+sumBytes], id&(1<<32-1)):
		return kindRows
	case n >= keptBytes+1+sumBytes && checkSum(v[:keptBytes+1+sumBytes], id&(1<<32-1)):
		return string(bucketKept)
	case n == rowBytes && plausibleRow(v): // made before there were sums
		return kindRows
	case n == blobRowBytes+4+sumBytes && blobRowSound(v):
		return string(bucketBlobs)
	}
	switch {
	case soundChunk(v, place{placeBlob, id, 0}):
		return string(bucketHeads)
	case soundChunk(v, place{placeRecords, id, 0}):
		return string(bucketRecords)
	}
	return ""
}

// plausibleRow looks at a row that has no checksum.
func plausibleRow(v []byte) bool {
	r, err := decodeRow(1, v)
	const century = 1 << 32
	return err == nil && r.ModSeq > 0 && r.ModSeq < 1<<48 && r.Blob > 0 && r.Blob < 1<<40 && r.Date > -century && r.Date < century &&
		r.Zone > -24*60 && r.Zone < 24*60 && r.SaveDate >= 0 && r.SaveDate < century && r.Size >= 0
}

// A goneRange are UIDs that went, or came, as the change log has it.
type goneRange struct {
	space  Space
	lo, hi imap.UID
	at     ModSeq
}

// goneMax bounds how many are remembered.
const goneMax = 200_000
