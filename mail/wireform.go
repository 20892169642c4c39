package mail

import (
	"bytes"
	"strconv"
)

// The neutral wire form (DESIGN §6), legal in every state of a connection:
// printable ASCII is quoted, all else a plain literal with "?" for NUL.

const maxQuoted = 1000

func appendString(b, s []byte) []byte {
	special := false
	for _, c := range s {
		if c < 0x20 || c > 0x7e {
			return appendLiteral(b, s)
		}
		special = special || c == '"' || c == '\\'
	}
	if len(s) > maxQuoted {
		return appendLiteral(b, s)
	}
	b = append(b, '"')
	if !special {
		return append(append(b, s...), '"')
	}
	for _, c := range s {
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

func appendLiteral(b, s []byte) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "}\r\n"...)
	start := len(b)
	b = append(b, s...)
	for i := bytes.IndexByte(b[start:], 0); i >= 0; i = bytes.IndexByte(b[start:], 0) {
		start += i
		b[start] = '?'
	}
	return b
}

func appendNString(b, s []byte, ok bool) []byte {
	if !ok {
		return append(b, "NIL"...)
	}
	return appendString(b, s)
}

// Kinds of marks: ranges of a BODYSTRUCTURE that only some clients get.
type markKind uint8

const (
	markExtension markKind = iota // extension data: not in BODY
	markGlobal                    // what message/global has beyond a basic part: not in IMAP4rev1
	markRev1                      // only in IMAP4rev1
	markRev2                      // only in IMAP4rev2
	markKinds
)

type mark struct {
	kind       markKind
	start, end int
}

// shown reports whether a marked range is sent.
func (k markKind) shown(extended, rev2 bool) bool {
	switch k {
	case markExtension:
		return extended
	case markRev1:
		return !rev2
	}
	return rev2
}
