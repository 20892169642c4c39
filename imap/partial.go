package imap

import (
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extPartial: a piece of the result of SEARCH, and of the messages of UID FETCH
// (RFC 9394).
var extPartial = extension{
	name: "PARTIAL", rfc: "RFC 9394", caps: []capability{{name: "PARTIAL"}},
	searchReturns:  []searchReturn{{"PARTIAL", parsePartialReturn}},
	fetchModifiers: []fetchModifier{{name: "PARTIAL", parse: parsePartialFetch}},
}

// A partialRange names matches by their order, from 1 for the lowest UID, or
// from the end, where 1 is the highest.
type partialRange struct {
	first, last uint32 // as the client gave them
	fromEnd     bool
}

func (p partialRange) bounds() (lo, hi int64) {
	return int64(min(p.first, p.last)), int64(max(p.first, p.last))
}

// of is the range of what is in order already, as the result of SORT.
func (p partialRange) of(order []imap.UID) []imap.UID {
	lo, hi := p.bounds()
	n := int64(len(order))
	if p.fromEnd {
		lo, hi = n-hi+1, n-lo+1
	}
	lo, hi = max(lo, 1), min(hi, n)
	if lo > hi {
		return nil
	}
	return order[lo-1 : hi]
}

// writeStart writes the return data up to the set.
func (p partialRange) writeStart(w *wire.Encoder) {
	sign := ""
	if p.fromEnd {
		sign = "-"
	}
	w.Raw(" PARTIAL (").Raw(sign).Number(p.first).Raw(":").Raw(sign).Number(p.last).SP()
}

func parsePartialRange(d *wire.Decoder) (p partialRange) {
	d.SP()
	p.fromEnd = d.TryByte('-')
	p.first = d.NzNumber()
	d.Byte(':')
	if p.fromEnd {
		d.Byte('-')
	}
	p.last = d.NzNumber()
	return p
}

func parsePartialReturn(d *wire.Decoder, _ *request, c *searchCmd) {
	if c.partial != nil {
		d.FailErr(bad("PARTIAL is given twice"))
		return
	}
	p := parsePartialRange(d)
	c.partial = &p
	c.returns |= returnPartial
}

// parsePartialFetch limits UID FETCH to some of the messages of its set. What
// CHANGEDSINCE leaves of these comes after (RFC 9394 §3.4).
func parsePartialFetch(d *wire.Decoder, r *request, c *fetchCmd) {
	p := parsePartialRange(d)
	if !r.uid {
		d.FailErr(bad("PARTIAL is only for UID FETCH"))
		return
	}
	c.narrow = slices.Insert(c.narrow, 0, func(s *session, ranges view.Ranges) (view.Ranges, error) {
		lo, hi := p.bounds()
		if p.fromEnd {
			n := int64(s.sel.view.Count(ranges))
			lo, hi = n-hi+1, n-lo+1
		}
		piece := s.sel.view.Slice(ranges, lo, hi)
		if _, limit := s.limited(piece); limit != "" { // nothing is done then (RFC 9738 §3.1)
			return nil, no(imap.ResponseCode(codeMessageLimit+" "+strconv.Itoa(s.most())), "too many messages for one command")
		}
		return piece, nil
	})
}

// A partialResult is the piece of the result that was asked for.
type partialResult struct {
	partialRange
	lo, hi int64
	at     int64 // matches seen
	picked []pickedRow
}

type pickedRow struct {
	uid    imap.UID
	modSeq storage.ModSeq
	score  uint8
}

// collect searches as far as the piece, and what else is asked for, needs.
func (p *partialResult) collect(res *found, e *searcher) error {
	p.lo, p.hi = p.bounds()
	var err error
	switch all := res.track || res.returns&(returnCount|returnRelevancy) != 0; {
	case !p.fromEnd:
		all = all || res.returns&returnMax != 0
		err = res.forward(e, func(row *storage.Row) bool {
			res.add(row)
			if p.at++; p.at >= p.lo && p.at <= p.hi {
				p.picked = append(p.picked, pickedRow{row.UID, row.ModSeq, res.relevancy})
			}
			return all || p.at < p.hi
		})
	case all || res.returns&returnMin != 0:
		err = res.forward(e, func(row *storage.Row) bool {
			res.add(row)
			p.picked = append(p.picked, pickedRow{row.UID, row.ModSeq, res.relevancy})
			if n := int64(len(p.picked)); n > 2*p.hi { // only the last are wanted
				p.picked = append(p.picked[:0], p.picked[n-p.hi:]...)
			}
			return true
		})
		n := int64(len(p.picked))
		p.picked = p.picked[max(n-p.hi, 0):max(n-p.lo+1, 0)]
	default:
		err = p.fromBehind(res, e)
	}
	if err == nil && res.returns&returnCount == 0 {
		p.saved(res)
	}
	return err
}

// fromBehind walks backward to the first of the piece.
func (p *partialResult) fromBehind(res *found, e *searcher) error {
	var rows []pickedRow
	err := res.backwards(e, func(batch []pickedRow) bool {
		for _, row := range slices.Backward(batch) {
			res.addEnd(row)
			if p.at++; p.at >= p.lo && p.at <= p.hi {
				rows = append(rows, row)
			}
			if p.at >= p.hi {
				return false
			}
		}
		return true
	})
	slices.Reverse(rows)
	p.picked = rows
	return err
}

// saved makes "$" what is returned, and the highest MODSEQ that of it (RFC 9394
// §3.2). With COUNT both are of all matches.
func (p *partialResult) saved(res *found) {
	var uids []imap.UID
	res.highest = 0
	for _, row := range p.picked {
		uids = append(uids, row.uid)
		res.highest = max(res.highest, row.modSeq)
	}
	if res.returns&returnMin != 0 && res.count > 0 {
		uids, res.highest = append(uids, res.min), max(res.highest, res.minModSeq)
	}
	if res.returns&returnMax != 0 && res.count > 0 {
		uids, res.highest = append(uids, res.max), max(res.highest, res.maxModSeq)
	}
	slices.Sort(uids)
	res.saved = view.RangesOf(slices.Compact(uids))
}

// write writes the return data, with the range as it was asked for.
func (p *partialResult) write(res *found, w *wire.Encoder) {
	p.writeStart(w)
	if len(p.picked) == 0 {
		w.Raw("NIL")
	}
	var numbers []numRange
	for _, row := range p.picked {
		res.scores = append(res.scores, row.score)
		numbers = appendNumber(numbers, res.number(row.uid))
	}
	writeNumbers(w, numbers)
	w.Raw(")")
}
