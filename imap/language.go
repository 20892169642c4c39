package imap

import (
	"sort"
	"strings"
	"sync"

	"nestbox/imap/wire"
)

// extLanguage: texts for people in their language (RFC 5255 §3). What isn't
// translated stays English, which is i-default too.
var extLanguage = extension{
	name: "LANGUAGE", rfc: "RFC 5255", needs: []*extension{&extNamespace}, caps: []capability{{name: "LANGUAGE"}},
	commands: []*command{{name: "LANGUAGE", state: anyState, parse: parseLanguage}},
}

// A language has a text for what the server says in English. "%" stands for
// what is different each time.
type language struct {
	tag   string // RFC 5646
	texts map[string]string
	once  sync.Once
	holed []holedText
}

// holedText is a text with holes, in pieces.
type holedText struct {
	from []string
	to   string
}

const defaultLanguage = "i-default"

// languages are those that there are, in the order of the answer.
var languages = []*language{{tag: "en"}, &german, {tag: defaultLanguage}}

// maxLanguages bounds the ranges of one command.
const maxLanguages = 100

func parseLanguage(d *wire.Decoder, _ *request) runner {
	var ranges []string
	for d.TrySP() {
		if ranges = append(ranges, d.Astring()); len(ranges) > maxLanguages {
			d.FailErr(bad("more than %d languages", maxLanguages))
		}
		if d.Err() != nil {
			break
		}
	}
	d.End()
	return runFunc(func(s *session, _ *request) (reply, error) {
		if len(ranges) == 0 {
			s.w.Raw("* LANGUAGE (")
			for i, l := range languages {
				if i > 0 {
					s.w.SP()
				}
				s.w.Raw(l.tag)
			}
			s.w.Raw(")").CRLF()
			return reply{}, nil
		}
		for _, r := range ranges {
			if l := languageOf(r); l != nil {
				return reply{}, s.speak(l)
			}
		}
		return reply{}, no("", "none of these languages is spoken here")
	})
}

// languageOf finds a language by a range: what it begins with is enough (RFC
// 4647 §3.4). The house's own is the default.
func languageOf(text string) *language {
	if strings.EqualFold(text, "default") {
		text = defaultLanguage
	}
	for {
		for _, l := range languages {
			if strings.EqualFold(l.tag, text) {
				return l
			}
		}
		at := strings.LastIndexByte(text, '-')
		if at < 0 {
			return nil
		}
		text = text[:at]
	}
}

// speak changes the language, from this response on (RFC 5255 §3.2).
func (s *session) speak(l *language) error {
	if s.language = l; l.tag == defaultLanguage {
		s.language = nil
	}
	s.w.Raw("* LANGUAGE (").Raw(l.tag).Raw(")").CRLF()
	if s.account == nil {
		return nil
	}
	_, err := runNamespace(s, nil) // with translated prefixes
	return err
}

// say is a text in the session's language.
func (s *session) say(text string) string {
	if s.language == nil || s.language.texts == nil {
		return text
	}
	return s.language.say(text)
}

func (l *language) say(text string) string {
	if to, ok := l.texts[text]; ok {
		return to
	}
	l.once.Do(func() {
		for from, to := range l.texts {
			if strings.ContainsRune(from, '%') {
				l.holed = append(l.holed, holedText{strings.Split(from, "%"), to})
			}
		}
		// The most particular one first.
		sort.Slice(l.holed, func(i, j int) bool {
			a, b := strings.Join(l.holed[i].from, "%"), strings.Join(l.holed[j].from, "%")
			if len(a) != len(b) {
				return len(a) > len(b)
			}
			return a < b
		})
	})
	for i := range l.holed {
		if to, ok := l.holed[i].fill(text); ok {
			return to
		}
	}
	return text
}

// fill is the translation of text, if it has the pieces of h. What is in the
// holes stays, and in its order.
func (h *holedText) fill(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, h.from[0])
	if !ok {
		return "", false
	}
	to := h.to
	for i, piece := range h.from[1:] {
		at := strings.Index(rest, piece)
		if i == len(h.from)-2 { // the last one is the end
			at = len(rest) - len(piece)
			if !strings.HasSuffix(rest, piece) {
				at = -1
			}
		}
		if at < 0 {
			return "", false
		}
		before, after, _ := strings.Cut(to, "%")
		to = before + strings.ReplaceAll(rest[:at], "%", "\x00") + after
		rest = rest[at+len(piece):]
	}
	return strings.ReplaceAll(to, "\x00", "%"), true
}

// readable is text as resp-text may hold it in a language (RFC 5255 §3.5).
func readable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if strings.HasPrefix(text, "[") {
		return "(" + text[1:]
	}
	return text
}
