package imap

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"nestbox/imap/wire"
	"nestbox/mail"
)

// The scopes of BODY and TEXT.
const (
	scopeBody = mail.ScopeBody
	scopeText = mail.ScopeText
)

// fromUTF8 takes a string as it is.
func fromUTF8(s string) (string, bool) { return s, utf8.ValidString(s) }

func fromASCII(s string) (string, bool) {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return s, false
		}
	}
	return s, true
}

// errBadCharset lists what every server has (RFC 9051 §6.4.4).
var errBadCharset = no(codeBadCharset+" (US-ASCII UTF-8)", "that charset is not supported")

// charsetDecoder is how strings in a charset become UTF-8. Without a CHARSET
// they are UTF-8 for all clients: RFC 9051 says so, and US-ASCII is part of it.
func charsetDecoder(name string) (func(string) (string, bool), error) {
	switch strings.ToUpper(name) {
	case "UTF-8":
		return fromUTF8, nil
	case "US-ASCII":
		return fromASCII, nil
	}
	enc, err := htmlindex.Get(name)
	if err != nil || enc == encoding.Replacement {
		return func(s string) (string, bool) { return s, true }, errBadCharset
	}
	return func(s string) (string, bool) {
		out, err := enc.NewDecoder().String(s)
		return out, err == nil
	}, nil
}

// headerKey looks for a string in one header field.
func headerKey(field string) parseKey {
	return func(d *wire.Decoder, p *searchParser) criterion {
		d.SP()
		return p.inField(field, p.text(d))
	}
}

func parseHeaderKey(d *wire.Decoder, p *searchParser) criterion {
	d.SP()
	field := strings.ToUpper(d.Astring())
	d.SP()
	return p.inField(field, p.text(d))
}

// inField is the criterion of a string in a header field, both in normal form.
// The empty string asks whether there is such a field.
func (p *searchParser) inField(field, text string) criterion {
	c := criterion{op: opTest, needs: needHeader, slot: p.slot(), needle: mail.Normal(text)}
	needle := []byte(c.needle)
	c.values = func(e *searcher, m *searched, f func(value []byte) bool) {
		mail.HeaderField(m.header, field, func(value []byte) bool {
			e.scratch = mail.AppendNormalHeader(e.scratch[:0], value)
			return f(e.scratch)
		})
	}
	values := c.values
	c.test = func(e *searcher, m *searched) bool {
		found := false
		values(e, m, func(value []byte) bool {
			found = len(needle) == 0 || bytes.Contains(value, needle)
			return !found
		})
		return found
	}
	return p.string(c)
}

// textKey looks for a string in the body, or in header and body. The empty
// string is in all of them.
func textKey(scope mail.Scope) parseKey {
	return func(d *wire.Decoder, p *searchParser) criterion {
		d.SP()
		needle := mail.Normal(p.text(d))
		if needle == "" {
			return criterion{op: opAnd}
		}
		return p.string(criterion{op: opText, needs: needText, slot: p.slot(), needle: needle, scope: scope})
	}
}

// string is the criterion of a string.
func (p *searchParser) string(c criterion) criterion {
	if p.inString != nil {
		p.inString(&c)
	}
	return c
}

// A textMatcher looks at a text that comes in pieces, until Feed says that no
// more is needed. Score says then whether it matches, and how well; 0: not.
type textMatcher interface {
	Reset()
	Feed(piece []byte) bool
	Score() int
}

// readTexts is the last stage. What the signatures leave is read, each message
// once for all strings of a scope.
func (e *searcher) readTexts() error {
	for _, leaf := range e.texts {
		if leaf.text == "" {
			continue
		}
		if err := e.ruleOut(leaf); err != nil {
			return err
		}
	}
	e.settle()
	var failed error
	err := e.s.sel.account.Records(e.pendingBlobs(), func(i int, rec mail.Record) bool {
		if failed = e.progress(); failed == nil {
			failed = e.readText(e.pending[i], rec)
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	e.pending = e.pending[:0]
	return err
}

// readText decides m.
func (e *searcher) readText(m *searched, rec mail.Record) error {
	blob, err := e.s.sel.account.OpenBlob(m.row.Blob)
	if err == nil {
		defer blob.Close()
		for _, scope := range []mail.Scope{scopeBody, scopeText} {
			if m.state = e.program.eval(e, m); m.state != unknown {
				return nil
			}
			if err = e.scan(m, rec, blob, scope); err != nil {
				break
			}
		}
	}
	if err != nil && !gone(err) {
		return err
	}
	for _, leaf := range e.texts { // what can't be read doesn't match
		if m.known[leaf.slot] == unknown {
			m.known[leaf.slot] = no3
		}
	}
	m.state = e.program.eval(e, m)
	return nil
}

// scan looks in a message's text for all strings that are not decided yet.
func (e *searcher) scan(m *searched, rec mail.Record, blob interface {
	ReadAt(p []byte, off int64) (int, error)
}, scope mail.Scope) error {
	left := 0
	for _, leaf := range e.texts {
		if leaf.scope == scope && m.known[leaf.slot] == unknown {
			leaf.needle.Reset()
			left++
		}
	}
	if left == 0 {
		return nil
	}
	err := mail.NormalText(rec, blob, scope, func(piece []byte) bool {
		for _, leaf := range e.texts {
			if leaf.scope == scope && m.known[leaf.slot] == unknown && leaf.needle.Feed(piece) {
				e.found(m, leaf)
				left--
			}
		}
		return left > 0
	})
	if err != nil {
		return err
	}
	for _, leaf := range e.texts {
		if leaf.scope == scope && m.known[leaf.slot] == unknown {
			e.found(m, leaf)
		}
	}
	return nil
}

// found notes what became of looking for a string in a text.
func (e *searcher) found(m *searched, leaf needleLeaf) {
	score := leaf.needle.Score()
	if leaf.scored {
		e.score(m, leaf.slot, score)
	}
	m.known[leaf.slot] = known(score > 0)
}
