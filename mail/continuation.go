package mail

import (
	"bytes"
	"slices"
	"strconv"
)

// A paramSection is a parameter name*2*, section 2 of name (RFC 2231 §3, §4).
type paramSection struct {
	param
	number   int // -1: not a section
	extended bool
}

// splitSection reads the marks of RFC 2231 in a parameter's name.
func splitSection(p param) paramSection {
	s := paramSection{param: p, number: -1}
	if n := len(p.name); n > 1 && p.name[n-1] == '*' {
		s.extended, s.name = true, p.name[:n-1]
	}
	i := bytes.LastIndexByte(s.name, '*')
	if i <= 0 {
		return s
	}
	n, err := strconv.ParseUint(string(s.name[i+1:]), 10, 16)
	if err == nil && n < 2*maxParams {
		s.number, s.name = int(n), s.name[:i]
	}
	return s
}

// joinSections puts parameters together that came in sections, and decodes
// those with a charset. A parameter stands where its first section did; what
// is missing in between ends it.
func joinSections(list []param, first int, buf *[]byte) []param {
	sections := make([]paramSection, 0, len(list)-first)
	for _, p := range list[first:] {
		sections = append(sections, splitSection(p))
	}
	list = list[:first]
	for i := range sections {
		s := &sections[i]
		switch {
		case s.number < 0 && !s.extended:
			list = append(list, s.param)
		case s.number < 0:
			list = append(list, extendedParam(sections[i:i+1], buf))
		case !slices.ContainsFunc(sections[:i], s.sameParam):
			list = append(list, joinParam(sections, s, buf))
		}
	}
	return list
}

// sameParam reports whether o is a section of the same parameter.
func (s *paramSection) sameParam(o paramSection) bool {
	return o.number >= 0 && bytes.Equal(o.name, s.name)
}

// joinParam collects the sections of the parameter of s.
func joinParam(all []paramSection, s *paramSection, buf *[]byte) param {
	var sections []paramSection
	extended := false
	for _, o := range all {
		if s.sameParam(o) {
			sections = append(sections, o)
			extended = extended || o.extended
		}
	}
	slices.SortStableFunc(sections, func(a, b paramSection) int { return a.number - b.number })
	for i := range sections {
		if i > 0 && sections[i].number > sections[i-1].number+1 {
			sections = sections[:i]
			break
		}
	}
	if extended {
		return extendedParam(sections, buf)
	}
	out := *buf
	start := len(out)
	for i := range sections {
		out = append(out, sections[i].value...)
	}
	*buf = out
	return param{name: s.name, value: out[start:len(out):len(out)]}
}

// extendedParam joins sections of which one at least is charset'language'text
// with octets as %XX.
func extendedParam(sections []paramSection, buf *[]byte) param {
	p := param{name: sections[0].name, extended: true}
	var value, octets []byte
	var charset string
	for i, s := range sections {
		text := s.value
		if i == 0 && s.extended {
			if parts := bytes.SplitN(text, []byte{'\''}, 3); len(parts) == 3 {
				charset, text = string(parts[0]), parts[2]
			}
			value = append(value, s.value[:len(s.value)-len(text)]...)
		}
		if i == 0 && len(value) == 0 {
			value = append(value, "''"...) // no charset is said
		}
		if s.extended {
			value = append(value, text...)
			octets = appendPercent(octets, text)
			continue
		}
		octets = append(octets, text...)
		for _, c := range text {
			if c == '%' || c == '\'' || c == '*' || class[c]&isTSpecial != 0 || c >= 0x80 {
				value = append(value, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
			} else {
				value = append(value, c)
			}
		}
	}
	p.value = value
	start := len(*buf)
	*buf = appendUTF8(*buf, octets, charset)
	p.decoded = (*buf)[start:len(*buf):len(*buf)]
	return p
}

// appendPercent decodes %XX.
func appendPercent(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0 {
			dst = append(dst, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
			continue
		}
		dst = append(dst, s[i])
	}
	return dst
}
