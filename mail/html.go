package mail

import (
	"bytes"
	"html"
)

// htmlText takes the tags off HTML that comes in pieces of UTF-8: entities are
// decoded, what is not shown is left out, and a tag that ends a word is a
// blank.
type htmlText struct {
	state htmlState
	held  []byte // of a tag's name or an entity
	until []byte // the end of what is left out
}

type htmlState uint8

const (
	htmlPlain   htmlState = iota
	htmlName              // in a tag's name
	htmlTag               // in a tag, behind its name
	htmlValue             // behind the "=" of an attribute
	htmlQuote             // in the value "..."
	htmlQuote1            // in the value '...'
	htmlEntity            // behind "&"
	htmlSkipped           // in a comment, a script, a style or a title
)

const maxHeldHTML = 40

// inlineTags don't end a word.
var inlineTags = map[string]bool{
	"a": true, "abbr": true, "acronym": true, "b": true, "bdo": true, "big": true, "cite": true, "code": true, "del": true,
	"em": true, "font": true, "i": true, "ins": true, "kbd": true, "label": true, "mark": true, "nobr": true, "o:p": true,
	"q": true, "s": true, "samp": true, "small": true, "span": true, "strike": true, "strong": true, "sub": true,
	"sup": true, "time": true, "tt": true, "u": true, "var": true, "wbr": true,
}

// unshownTags have content that is no text of the message, with what ends it.
var unshownTags = map[string]string{"script": "</script", "style": "</style", "title": "</title"}

func (h *htmlText) reset() { *h = htmlText{held: h.held[:0]} }

func (h *htmlText) append(dst, src []byte) []byte {
	for len(src) > 0 {
		n := 0
		switch h.state {
		case htmlPlain:
			if n = bytes.IndexAny(src, "<&"); n < 0 {
				return append(dst, src...)
			}
			dst = append(dst, src[:n]...)
			h.begin(src[n])
		case htmlQuote, htmlQuote1:
			quote := byte('"')
			if h.state == htmlQuote1 {
				quote = '\''
			}
			if n = bytes.IndexByte(src, quote); n < 0 {
				return dst
			}
			h.state = htmlTag
		case htmlTag:
			if n = bytes.IndexAny(src, "=>"); n < 0 {
				return dst
			}
			if h.state = htmlValue; src[n] == '>' {
				dst = h.endTag(dst)
			}
		case htmlValue:
			if h.value(src[0]) {
				continue
			}
		case htmlSkipped:
			n = h.skip(src)
		case htmlName:
			var again bool
			if dst, again = h.name(dst, src[0]); again {
				continue
			}
		case htmlEntity:
			var again bool
			if dst, again = h.entity(dst, src[0]); again {
				continue
			}
		}
		src = src[n+1:]
	}
	return dst
}

// begin starts a tag or an entity.
func (h *htmlText) begin(c byte) {
	h.held = h.held[:0]
	h.state = htmlName
	if c == '&' {
		h.state = htmlEntity
	}
}

// name takes an octet of a tag's name. again: it is still to be taken.
func (h *htmlText) name(dst []byte, c byte) (out []byte, again bool) {
	if len(h.held) == 0 && !(c == '/' || c == '!' || c == '?' || isLetter(c)) {
		h.state = htmlPlain // a bare "<"
		return append(dst, '<'), true
	}
	switch {
	case c == '>' || class[c]&isSpace != 0:
		h.state = htmlTag
		return dst, c == '>'
	case len(h.held) < maxHeldHTML:
		h.held = append(h.held, lowerByte(c))
		if string(h.held) == "!--" {
			h.leaveOut("-->")
			h.held = append(h.held, "--"...) // "<!-->" is a whole one
		}
	}
	return dst, false
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// value takes an octet behind "=". again: it is still to be taken.
func (h *htmlText) value(c byte) (again bool) {
	switch {
	case c == '"':
		h.state = htmlQuote
	case c == '\'':
		h.state = htmlQuote1
	case class[c]&isSpace == 0: // a value without quotes
		h.state = htmlTag
		return true
	}
	return false
}

func (h *htmlText) endTag(dst []byte) []byte {
	h.state = htmlPlain
	name := bytes.TrimSuffix(h.held, []byte{'/'})
	if until := unshownTags[string(name)]; until != "" {
		h.leaveOut(until)
		return dst
	}
	if inlineTags[string(bytes.TrimPrefix(name, []byte{'/'}))] {
		return dst
	}
	return append(dst, ' ')
}

func (h *htmlText) leaveOut(until string) {
	h.state, h.until, h.held = htmlSkipped, append(h.until[:0], until...), h.held[:0]
}

// skip looks for the end of what is left out. It returns the place of the last
// octet that it took.
func (h *htmlText) skip(src []byte) int {
	for i := 0; i < len(src); i++ {
		if len(h.held) == 0 {
			n := bytes.IndexByte(src[i:], h.until[0])
			if n < 0 {
				break
			}
			i += n
		}
		c := lowerByte(src[i])
		for len(h.held) > 0 && h.until[len(h.held)] != c {
			h.held = h.held[:h.shorter()]
		}
		if h.until[len(h.held)] != c {
			continue
		}
		if h.held = append(h.held, c); len(h.held) < len(h.until) {
			continue
		}
		h.state = htmlTag
		if c == '>' {
			h.state = htmlPlain
		}
		return i
	}
	return len(src) - 1
}

// shorter is the length of the next shorter beginning of until that what is
// held ends in.
func (h *htmlText) shorter() int {
	for n := len(h.held) - 1; n > 0; n-- {
		if bytes.HasSuffix(h.held, h.until[:n]) {
			return n
		}
	}
	return 0
}

// entity takes an octet behind "&". again: it is still to be taken.
func (h *htmlText) entity(dst []byte, c byte) (out []byte, again bool) {
	if (c == '#' || '0' <= c && c <= '9' || isLetter(c)) && len(h.held) < maxHeldHTML {
		h.held = append(h.held, c)
		return dst, false
	}
	h.state = htmlPlain
	if c == ';' {
		return h.decodeEntity(dst, ";"), false
	}
	return h.decodeEntity(dst, ""), true
}

func (h *htmlText) decodeEntity(dst []byte, end string) []byte {
	switch string(h.held) {
	case "nbsp":
		return append(dst, "\u00a0"...)
	case "amp":
		return append(dst, '&')
	}
	return append(dst, html.UnescapeString("&"+string(h.held)+end)...)
}

// finish ends the text: an entity at its end still counts.
func (h *htmlText) finish(dst []byte) []byte {
	if h.state == htmlEntity {
		dst = h.decodeEntity(dst, "")
	}
	h.state = htmlPlain
	return dst
}
