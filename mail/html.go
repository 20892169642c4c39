package mail

import (
	"bytes"
	"html"
)

// A htmlText takes the tags off HTML that comes in pieces, and leaves text in
// UTF-8: entities decoded, script and style left out, a blank for each tag
// that ends a word.
type htmlText struct {
	state byte
	held  []byte // of a tag or an entity, as far as it matters
	value bool   // in a tag behind "=": a quote begins a value
	until string // the end tag that ends what is skipped
}

const (
	inText = iota
	inTag
	inQuote  // "..." in a tag
	inQuote1 // '...'
	inEntity
	inComment
	inSkipped // script, style, head's title stays
)

const maxHeldHTML = 40

var inline = map[string]bool{"a": true, "abbr": true, "acronym": true, "b": true, "bdo": true, "big": true, "cite": true, "code": true,
	"del": true, "em": true, "font": true, "i": true, "ins": true, "kbd": true, "label": true, "mark": true, "q": true, "s": true,
	"samp": true, "small": true, "span": true, "strike": true, "strong": true, "sub": true, "sup": true, "time": true, "tt": true,
	"u": true, "var": true, "wbr": true, "o:p": true}

func (h *htmlText) append(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		if h.state == inText { // the run up to the next tag or entity
			n := bytes.IndexAny(src[i:], "<&")
			if n < 0 {
				return append(dst, src[i:]...)
			}
			dst = append(dst, src[i:i+n]...)
			i += n
		} else if n := h.passed(src[i:]); n > 0 {
			i += n - 1
			continue
		}
		dst = h.step(dst, src[i])
	}
	return dst
}

// passed is how much of src is of no matter: of a quoted value, or a tag
// beyond its name.
func (h *htmlText) passed(src []byte) int {
	n := -1
	switch {
	case h.state == inQuote:
		n = bytes.IndexByte(src, '"')
	case h.state == inQuote1:
		n = bytes.IndexByte(src, '\'')
	case h.state == inTag && len(h.held) > 0 && h.held[len(h.held)-1] == ' ' && !h.value:
		n = bytes.IndexAny(src, "=>")
	default:
		return 0
	}
	if n < 0 {
		return len(src)
	}
	return n
}

func (h *htmlText) step(dst []byte, c byte) []byte {
	switch h.state {
	case inText:
		h.held = h.held[:0]
		h.state = inTag
		if c == '&' {
			h.state = inEntity
			h.held = append(h.held, c)
		}
	case inTag:
		return h.tag(dst, c)
	case inQuote, inQuote1:
		if c == '"' && h.state == inQuote || c == '\'' && h.state == inQuote1 {
			h.state = inTag
		}
	case inEntity:
		return h.entity(dst, c)
	case inComment:
		h.hold(c)
		if bytes.HasSuffix(h.held, []byte("-->")) {
			h.state = inText
		}
	case inSkipped:
		h.hold(c)
		if c == '>' && bytes.Contains(bytes.ToLower(h.held), []byte(h.until)) {
			h.state = inText
			return append(dst, ' ')
		}
	}
	return dst
}

// hold keeps the last octets.
func (h *htmlText) hold(c byte) {
	if len(h.held) >= maxHeldHTML {
		h.held = append(h.held[:0], h.held[len(h.held)-maxHeldHTML/2:]...)
	}
	h.held = append(h.held, c)
}

func (h *htmlText) tag(dst []byte, c byte) []byte {
	switch {
	case c == '>' && len(h.held) > 0:
		return h.endTag(dst)
	case len(h.held) == 0 && !(c == '/' || c == '!' || c == '?' || 'a' <= c|0x20 && c|0x20 <= 'z'):
		h.state = inText // a bare "<"
		return h.append(append(dst, '<'), []byte{c})
	case c == '"' && h.value:
		h.state, h.value = inQuote, false
		return dst
	case c == '\'' && h.value:
		h.state, h.value = inQuote1, false
		return dst
	}
	blank := c == ' ' || c == '\t' || c == '\r' || c == '\n'
	if h.value = c == '=' || h.value && blank; len(h.held) > 0 && h.held[len(h.held)-1] == ' ' {
		return dst // behind the name
	}
	if blank {
		c = ' '
	}
	if len(h.held) < maxHeldHTML {
		h.held = append(h.held, c)
		if string(h.held) == "!--" {
			h.state = inComment
		}
	}
	return dst
}

func (h *htmlText) endTag(dst []byte) []byte {
	h.state, h.value = inText, false
	for i, c := range h.held {
		if 'A' <= c && c <= 'Z' {
			h.held[i] = c + 'a' - 'A'
		}
	}
	name := bytes.TrimSuffix(bytes.TrimSuffix(h.held, []byte(" ")), []byte("/"))
	switch string(name) {
	case "script", "style":
		h.state, h.until, h.held = inSkipped, "</"+string(name), h.held[:0]
		return dst
	}
	if inline[string(bytes.TrimPrefix(name, []byte("/")))] {
		return dst
	}
	return append(dst, ' ')
}

func (h *htmlText) entity(dst []byte, c byte) []byte {
	h.held = append(h.held, c)
	alnum := c == '#' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
	if alnum && len(h.held) < maxHeldHTML {
		return dst
	}
	if c == '<' || c == '&' {
		dst = h.flush(dst, h.held[:len(h.held)-1])
		h.state = inText
		return h.step(dst, c)
	}
	h.state = inText
	return h.flush(dst, h.held)
}

func (h *htmlText) flush(dst, entity []byte) []byte {
	return append(dst, html.UnescapeString(string(entity))...)
}

// finish ends the text: an entity at the end still counts.
func (h *htmlText) finish(dst []byte) []byte {
	if h.state == inEntity {
		dst = h.flush(dst, h.held)
	}
	h.state = inText
	return dst
}
