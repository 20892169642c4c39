package storage

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// appendSystemField appends one tagged field (schema_system.go).
func appendSystemField(dst []byte, tag byte, value []byte) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(value)))
	return append(dst, value...)
}

func appendSystemTime(dst []byte, tag byte, t time.Time) []byte {
	return appendSystemField(dst, tag, binary.LittleEndian.AppendUint64(nil, uint64(t.Unix())))
}

// eachSystemField calls f for each field. Values are those of b.
func eachSystemField(b []byte, f func(tag byte, value []byte)) error {
	for len(b) > 0 {
		tag := b[0]
		n, used := binary.Uvarint(b[1:])
		if used <= 0 || n > uint64(len(b)-1-used) {
			return fmt.Errorf("%s: a field is cut off: %w", systemFile, ErrCorrupt)
		}
		b = b[1+used:]
		f(tag, b[:n])
		b = b[n:]
	}
	return nil
}

func systemTime(value []byte) time.Time {
	if len(value) != 8 {
		return time.Time{}
	}
	return time.Unix(int64(binary.LittleEndian.Uint64(value)), 0).UTC()
}

func encodeAccount(info AccountInfo) []byte {
	b := appendSystemField(nil, 1, []byte(info.Name))
	b = appendSystemTime(b, 2, info.Created)
	if info.Disabled {
		b = appendSystemField(b, 3, nil)
	}
	for _, name := range info.Extensions {
		b = appendSystemField(b, 4, []byte(name))
	}
	for _, key := range slices.Sorted(maps.Keys(info.Settings)) {
		b = appendSystemField(b, 5, []byte(key+"\x00"+info.Settings[key]))
	}
	return b
}

func decodeAccount(id, data []byte) (AccountInfo, error) {
	info := AccountInfo{ID: AccountID(id)}
	err := eachSystemField(data, func(tag byte, value []byte) {
		switch tag {
		case 1:
			info.Name = string(value)
		case 2:
			info.Created = systemTime(value)
		case 3:
			info.Disabled = true
		case 4:
			info.Extensions = append(info.Extensions, string(value))
		case 5:
			key, setting, _ := strings.Cut(string(value), "\x00")
			if info.Settings == nil {
				info.Settings = map[string]string{}
			}
			info.Settings[key] = setting
		}
	})
	return info, err
}

func encodeAddress(a Address) []byte {
	b := appendSystemField(nil, 1, []byte(a.Address))
	b = appendSystemField(b, 2, []byte(a.Account))
	return appendSystemTime(b, 3, a.Created)
}

func decodeAddress(data []byte) (Address, error) {
	var a Address
	err := eachSystemField(data, func(tag byte, value []byte) {
		switch tag {
		case 1:
			a.Address = string(value)
		case 2:
			a.Account = AccountID(value)
		case 3:
			a.Created = systemTime(value)
		}
	})
	return a, err
}
