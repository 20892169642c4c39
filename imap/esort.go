package imap

import (
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
)

// extESort gives the result of SORT in the form asked for.
var extESort = extension{
	name: "ESORT", rfc: "RFC 5267 §3", caps: []capability{{name: "ESORT", when: has(&extSort)}},
	sortOptions: []sortOption{{"RETURN", func(d *wire.Decoder, r *request, c *sortCmd) { c.parseReturns(d, r) }}},
}

// writeSorted writes the answer of ESORT: as that of SEARCH, in the order of
// the sort (RFC 5267 §3.1).
func (c *sortCmd) writeSorted(w *wire.Encoder, r *request, res *found, order []imap.UID) {
	w.Raw(`* ESEARCH (TAG "`).Raw(r.tag).Raw(`")`)
	if res.uid {
		w.Raw(" UID")
	}
	n := len(order)
	if res.returns&returnMin != 0 && n > 0 {
		w.Raw(" MIN ").Number(res.number(order[0]))
	}
	if res.returns&returnMax != 0 && n > 0 {
		w.Raw(" MAX ").Number(res.number(order[n-1]))
	}
	if res.returns&returnCount != 0 {
		w.Raw(" COUNT ").Number(uint32(n))
	}
	if res.returns&returnAll != 0 && n > 0 {
		w.Raw(" ALL ")
		writeOrderedSet(w, res, order)
	}
	if c.partial != nil {
		c.partial.writeStart(w)
		if piece := c.partial.of(order); len(piece) > 0 {
			writeOrderedSet(w, res, piece)
		} else {
			w.Raw("NIL")
		}
		w.Raw(")")
	}
	if res.returns&returnRelevancy != 0 {
		writeRelevancy(w, res.scores)
	}
	if res.modSeq && n > 0 {
		w.Raw(" MODSEQ ").Uint64(uint64(res.highest))
	}
	w.CRLF()
}

// writeOrderedSet writes a set whose order counts: ranges only go up (RFC 5267
// §3.2).
func writeOrderedSet(w *wire.Encoder, res *found, order []imap.UID) {
	for i := 0; i < len(order); {
		lo := res.number(order[i])
		hi := lo
		first := i == 0
		for i++; i < len(order) && res.number(order[i]) == hi+1; i++ {
			hi++
		}
		w.Append(func(b []byte) []byte {
			if !first {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(lo), 10)
			if hi > lo {
				b = strconv.AppendUint(append(b, ':'), uint64(hi), 10)
			}
			return b
		})
	}
}
