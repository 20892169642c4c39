package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Rows end with a checksum, CRC-32C u32 of their key and of what is before it:
// bbolt's pages have none, and a row with a wrong blob id would show one
// message's bytes as another's. A row that fails it is passed over like one
// that is not there, which Check names and mends: the sum tells which byte
// changed. Rows of files that were made before there were sums have none.

// sumBytes is the length of a checksum.
const sumBytes = 4

// appendSum completes a row.
func appendSum(v []byte, key uint64) []byte {
	return binary.LittleEndian.AppendUint32(v, rowSumOf(v, key))
}

func rowSumOf(v []byte, key uint64) uint32 {
	var k [8]byte
	binary.LittleEndian.PutUint64(k[:], key)
	return crc32.Update(crc32.Checksum(k[:], castagnoli), castagnoli, v)
}

// checkSum reports whether a row with a checksum has its own.
func checkSum(v []byte, key uint64) bool {
	n := len(v) - sumBytes
	return n >= 0 && rowSumOf(v[:n], key) == binary.LittleEndian.Uint32(v[n:])
}

// mendMax is the longest row that mendByte tries.
const mendMax = 8 << 10

// mendByte finds the one byte whose change makes v sound again. It reports
// false if there is none, or more than one.
func mendByte(v []byte, sound func(v []byte) bool) ([]byte, bool) {
	if len(v) > mendMax {
		return nil, false
	}
	v = append([]byte(nil), v...)
	var found []byte
	for i := range v {
		was := v[i]
		for flip := 1; flip < 256; flip++ {
			v[i] = was ^ byte(flip)
			if !sound(v) {
				continue
			}
			if found != nil {
				return nil, false
			}
			found = append([]byte(nil), v...)
		}
		v[i] = was
	}
	return found, found != nil
}

// rowDamaged is the error of a row that fails its checksum.
func rowDamaged(what string, key uint64) error {
	return fmt.Errorf("%w: %s %d", ErrCorrupt, what, key)
}

// ignoreCorrupt is for loops that go on after a damaged row.
func ignoreCorrupt(err error) error {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNoMailbox) {
		return nil
	}
	return err
}
