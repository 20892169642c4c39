package mail

import "bytes"

// nextField cuts the first field, with its continuation lines, off a header.
// end reports that the empty line or nothing is left instead.
func nextField(header []byte) (field, rest []byte, end bool) {
	if len(header) == 0 || header[0] == '\n' || header[0] == '\r' && len(header) > 1 && header[1] == '\n' {
		return nil, header, true
	}
	n := 0
	for {
		i := bytes.IndexByte(header[n:], '\n')
		if i < 0 {
			return header, nil, false
		}
		n += i + 1
		if n == len(header) || header[n] != ' ' && header[n] != '\t' {
			return header[:n], header[n:], false
		}
	}
}

// splitField gives a field's name and its value as it stands there, folded.
// What has no name, such as the From line of an mbox, has none.
func splitField(field []byte) (name, value []byte) {
	i := bytes.IndexByte(field, ':')
	if i <= 0 {
		return nil, nil
	}
	name = bytes.TrimRight(field[:i], " \t")
	if bytes.IndexByte(name, ' ') >= 0 {
		return nil, nil
	}
	return name, field[i+1:]
}

// HeaderField calls f with the value of each field of that name, as it stands
// in the header: folded, with its line end. It stops when f returns false.
func HeaderField(header []byte, name string, f func(value []byte) bool) {
	for {
		field, rest, end := nextField(header)
		if end {
			return
		}
		if n := hasName(field, name); n > 0 && !f(field[n:]) {
			return
		}
		header = rest
	}
}

// AppendHeaderFields appends the fields of a header whose names are among
// names, upper case, and an empty line; or with not, all but those fields (RFC
// 9051 §6.4.5.1). Lines that are no fields are among the others.
func AppendHeaderFields(dst, header []byte, names []string, not bool) []byte {
	for {
		field, rest, end := nextField(header)
		if end {
			if len(rest) == 0 && !not {
				return append(dst, "\r\n"...) // the header has none itself
			}
			return append(dst, rest[:min(len(rest), 1+bytes.IndexByte(rest, '\n'))]...)
		}
		if isAmong(field, names) != not {
			dst = append(dst, field...)
			if !not && field[len(field)-1] != '\n' {
				dst = append(dst, "\r\n"...)
			}
		}
		header = rest
	}
}

func isAmong(field []byte, names []string) bool {
	for _, n := range names {
		if hasName(field, n) > 0 {
			return true
		}
	}
	return false
}

// hasName reports how many octets "name:" takes if field has that name, else 0.
func hasName(field []byte, name string) int {
	if len(field) <= len(name) || len(name) == 0 || (field[0]^name[0])&^0x20 != 0 {
		return 0
	}
	n := len(name)
	for field[n] != ':' { // RFC 5322 §4.5 has blanks before it
		if field[n] != ' ' && field[n] != '\t' {
			return 0
		}
		if n++; n == len(field) {
			return 0
		}
	}
	for i := 0; i < len(name); i++ {
		if upperByte(field[i]) != upperByte(name[i]) {
			return 0
		}
	}
	return n + 1
}

func upperByte(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 32
	}
	return c
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 32
	}
	return c
}

// upperName is b in upper case, without the white space around it.
func upperName(b []byte) []byte {
	b = bytes.TrimSpace(b)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			up := bytes.Clone(b)
			for ; i < len(up); i++ {
				up[i] = upperByte(up[i])
			}
			return up
		}
	}
	return b
}

// wanted reports whether a line begins a field that the parser looks at;
// message says that it is in the header of a message.
func wanted(line []byte, message bool) bool {
	switch upperByte(line[0]) {
	case 'C':
		if len(line) > 8 && line[7] == '-' {
			return fieldNumber(line) > fieldNone
		}
	case 'D', 'S', 'M', 'I', 'R', 'F', 'T', 'B':
	default:
		return false
	}
	return message && fieldNumber(line) > fieldNone
}

// The fields that the parser looks at.
const (
	fieldNone = iota
	fieldDate
	fieldSubject
	fieldMessageID
	fieldInReplyTo
	fieldReferences
	fieldFrom
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
	fieldType
	fieldEncoding
	fieldID
	fieldDescription
	fieldMD5
	fieldDisposition
	fieldLanguage
	fieldLocation
	fieldCount
)

var fieldNames = [fieldCount]string{
	"", "DATE", "SUBJECT", "MESSAGE-ID", "IN-REPLY-TO", "REFERENCES",
	"FROM", "SENDER", "REPLY-TO", "TO", "CC", "BCC",
	"CONTENT-TYPE", "CONTENT-TRANSFER-ENCODING", "CONTENT-ID", "CONTENT-DESCRIPTION",
	"CONTENT-MD5", "CONTENT-DISPOSITION", "CONTENT-LANGUAGE", "CONTENT-LOCATION",
}

func fieldNumber(line []byte) int {
	for i := fieldDate; i < fieldCount; i++ {
		if hasName(line, fieldNames[i]) > 0 {
			return i
		}
	}
	return fieldNone
}

// unfold appends a field's value without its line ends (RFC 5322 §2.2.3) and
// the white space around it. A tab is a blank.
func unfold(dst, value []byte) []byte {
	value = bytes.Trim(value, " \t\r\n")
	start := len(dst)
	for {
		i := bytes.IndexByte(value, '\n')
		if i < 0 {
			dst = append(dst, value...)
			break
		}
		dst = append(dst, bytes.TrimSuffix(value[:i], carriageReturn)...)
		value = value[i+1:]
	}
	for i := bytes.IndexByte(dst[start:], '\t'); i >= 0; i = bytes.IndexByte(dst[start:], '\t') {
		start += i
		dst[start] = ' '
	}
	return dst
}

var carriageReturn = []byte{'\r'}
