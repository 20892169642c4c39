package imap

import (
	"slices"
	"strconv"

	"nestbox/imap/wire"
	"nestbox/mail"
)

// extFuzzy: SEARCH for what is like a string, and how much it is (RFC 6203).
// Strings match if most of their words are there, in any order, in another form
// or with a slip (mail.Fuzzy); all other keys match exactly. The score of a
// message is the mean of those of its strings.
var extFuzzy = extension{
	name: "SEARCH=FUZZY", rfc: "RFC 6203", caps: []capability{{name: "SEARCH=FUZZY"}},
	searchKeys:    []searchKey{{"FUZZY", parseFuzzy}},
	searchReturns: []searchReturn{{"RELEVANCY", parseRelevancy}},
	sortKeys:      []sortKey{{name: "RELEVANCY", relevancy: true}},
}

func parseFuzzy(d *wire.Decoder, p *searchParser) criterion {
	d.SP()
	p.scored = true
	was := p.inString
	p.inString = makeFuzzy
	c := p.nested(d)
	p.inString = was
	return c
}

// makeFuzzy makes the criterion of a string one of what is like it. Signatures
// don't rule a message out: they have what is there, not what is like it.
func makeFuzzy(c *criterion) {
	text := c.needle
	if text == "" {
		return
	}
	c.needle, c.scored = "", true
	if c.op == opText {
		c.look = func() textMatcher { return mail.NewFuzzy(text) }
		return
	}
	var f *mail.Fuzzy
	values, slot := c.values, c.slot
	c.test = func(e *searcher, m *searched) bool {
		if f == nil {
			f = mail.NewFuzzy(text)
		}
		f.Reset()
		values(e, m, func(value []byte) bool {
			f.Break()
			return !f.Feed(value)
		})
		return e.score(m, slot, f.Score())
	}
}

func parseRelevancy(_ *wire.Decoder, _ *request, c *searchCmd) { c.returns |= returnRelevancy }

// errNoFuzzy is for RELEVANCY without a key that has any (RFC 6203 §4, §6).
var errNoFuzzy = bad("RELEVANCY needs a FUZZY key")

// score notes how well a message matches a string, and reports whether it does.
func (e *searcher) score(m *searched, slot, score int) bool {
	if m.scores == nil {
		m.scores = make([]uint8, e.slots)
	}
	m.scores[slot] = uint8(score)
	return score > 0
}

// relevancy is the score of a message that matches. One that does so without
// any string, by NOT or OR, is as relevant as can be.
func (m *searched) relevancy() uint8 {
	sum, n := 0, 0
	for _, score := range m.scores {
		if score > 0 {
			sum += int(score)
			n++
		}
	}
	if n == 0 {
		return 100
	}
	return uint8(sum / n)
}

// writeRelevancy writes the scores of messages in the order of the answer.
func writeRelevancy(w *wire.Encoder, scores []uint8) {
	w.Raw(" RELEVANCY (")
	for part := range slices.Chunk(scores, 100) {
		w.Append(func(b []byte) []byte {
			for i, score := range part {
				if i > 0 {
					b = append(b, ' ')
				}
				b = strconv.AppendUint(b, uint64(score), 10)
			}
			return b
		})
		scores = scores[len(part):]
		if len(scores) > 0 {
			w.SP()
		}
	}
	w.Raw(")")
}
