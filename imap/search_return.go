package imap

import (
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// extESearch gives the result of SEARCH in the form asked for.
var extESearch = extension{
	name: "ESEARCH", rfc: "RFC 4731", caps: []capability{{name: "ESEARCH"}},
	searchReturns: []searchReturn{
		{"MIN", plainReturn(returnMin)},
		{"MAX", plainReturn(returnMax)},
		{"ALL", plainReturn(returnAll)},
		{"COUNT", plainReturn(returnCount)},
	},
}

// extSearchRes keeps the result for "$" in later commands.
var extSearchRes = extension{
	name: "SEARCHRES", rfc: "RFC 5182", caps: []capability{{name: "SEARCHRES"}},
	searchReturns: []searchReturn{{"SAVE", plainReturn(returnSave)}},
}

// A searchReturn is one line of the table of result options of SEARCH.
type searchReturn struct {
	name string // upper case
	// parse reads the parameters that follow the name.
	parse func(d *wire.Decoder, r *request, c *searchCmd)
}

// A returnSet is the result options of a command.
type returnSet uint8

const (
	returnMin returnSet = 1 << iota
	returnMax
	returnAll
	returnCount
	returnSave
	returnPartial
	returnRelevancy
)

func plainReturn(option returnSet) func(*wire.Decoder, *request, *searchCmd) {
	return func(_ *wire.Decoder, _ *request, c *searchCmd) { c.returns |= option }
}

// parseReturns reads the list after RETURN. An empty one means ALL.
func (c *searchCmd) parseReturns(d *wire.Decoder, r *request) {
	c.extended = true
	d.List(func() {
		option, ok := look(r.s, r.s.srv.tables.searchReturns, d.Word())
		if !ok {
			d.Fail("a result option")
			return
		}
		option.parse(d, r, c)
	})
	if c.returns == 0 && c.update == nil {
		c.returns = returnAll
	}
	if c.returns&(returnAll|returnPartial) == returnAll|returnPartial { // RFC 9394 §3.1
		d.FailErr(bad("PARTIAL and ALL exclude each other"))
	}
}

// A found is the result of a SEARCH.
type found struct {
	returns returnSet
	uid     bool
	view    *view.View
	box     *storage.Mailbox // named in the answer (RFC 7377 §2.1), or nil

	numbers   []numRange // all, unless only MIN, MAX or COUNT was asked for
	count     uint32
	relevancy uint8 // of the match that is added
	min, max  imap.UID
	saved     view.Ranges
	limit     string         // the response code if not all messages were looked at
	track     bool           // the matches are wanted, whatever is answered
	matches   view.Ranges    // if track
	partial   *partialResult // or nil
	scores    []uint8        // of the matches in the answer, if they are wanted
	// highest MODSEQ of the matches, answered if modSeq is set.
	highest              storage.ModSeq
	minModSeq, maxModSeq storage.ModSeq
	modSeq               bool
}

// A numRange is numbers from lo to hi, as they are answered.
type numRange struct{ lo, hi uint32 }

// collect searches as far as the options need.
func (res *found) collect(e *searcher) error {
	if res.partial != nil {
		return res.partial.collect(res, e)
	}
	const ends = returnMin | returnMax
	if (res.track || res.returns&returnRelevancy != 0) && res.returns&ends != 0 && res.returns&^(ends|returnSave|returnRelevancy) == 0 {
		err := res.forward(e, res.add)
		res.onlyEnds()
		return err
	}
	if res.returns&ends == 0 || res.returns&^(ends|returnSave) != 0 {
		return res.forward(e, res.add)
	}
	// MIN is the first match of a walk forward, MAX of one backward.
	if res.returns&returnMin != 0 {
		err := res.forward(e, func(row *storage.Row) bool {
			res.add(row)
			return false
		})
		if err != nil || res.returns&returnMax == 0 || res.count == 0 {
			return err
		}
	}
	return res.backward(e)
}

// onlyEnds makes of a walk through all what one to MIN and MAX would have found.
func (res *found) onlyEnds() {
	res.saved, res.highest = nil, 0
	if res.returns&returnMin != 0 && res.count > 0 {
		res.saved, res.highest = append(res.saved, view.Range{Lo: res.min, Hi: res.min}), res.minModSeq
	}
	if res.returns&returnMax != 0 && res.count > 0 {
		res.saved = res.saved.Union(view.Ranges{{Lo: res.max, Hi: res.max}})
		res.highest = max(res.highest, res.maxModSeq)
	}
}

// forward walks the scope in ascending order, until hit returns false.
func (res *found) forward(e *searcher, hit func(row *storage.Row) bool) error {
	b := e.s.batch()
	e.rows = b.rows
	e.relevant = &res.relevancy
	more := true
	cursor := res.view.Cursor(e.scope)
	for uids := cursor.Next(b.uids[:0]); more && len(uids) > 0; uids = cursor.Next(b.uids[:0]) {
		err := e.batch(uids, func(row *storage.Row) bool {
			more = hit(row)
			return more
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// backward walks the scope from its end to the first match, which is the last
// message that matches. If MIN is known it is the other end.
func (res *found) backward(e *searcher) error {
	return res.backwards(e, func(batch []pickedRow) bool {
		last := batch[len(batch)-1]
		if last.uid != res.min {
			res.add(&storage.Row{UID: last.uid, ModSeq: last.modSeq})
		}
		return false
	})
}

// backwards walks the scope from its end, in batches of matches in ascending
// order, until hit returns false.
func (res *found) backwards(e *searcher, hit func(batch []pickedRow) bool) error {
	b := e.s.batch()
	e.rows = b.rows
	batch := make([]pickedRow, 0, batchSize)
	for _, r := range slices.Backward(e.scope) {
		for hi := res.view.Count(view.Ranges{{Lo: 1, Hi: r.Hi}}); hi > 0; hi -= batchSize {
			lo := max(hi-batchSize+1, 1)
			part := view.Ranges{{Lo: max(r.Lo, res.view.UID(view.Seq(lo))), Hi: min(r.Hi, res.view.UID(view.Seq(hi)))}}
			if part[0].Lo > part[0].Hi || part[0].Hi < res.min {
				break
			}
			cursor := res.view.Cursor(part)
			batch = batch[:0]
			err := e.batch(cursor.Next(b.uids[:0]), func(row *storage.Row) bool {
				batch = append(batch, pickedRow{row.UID, row.ModSeq, 0})
				return true
			})
			if err != nil || len(batch) > 0 && !hit(batch) {
				return err
			}
		}
	}
	return nil
}

// add takes a match; they come in ascending order.
func (res *found) add(row *storage.Row) bool {
	if res.count++; res.count == 1 {
		res.min, res.minModSeq = row.UID, row.ModSeq
	}
	res.max, res.maxModSeq = row.UID, row.ModSeq
	res.highest = max(res.highest, row.ModSeq)
	if res.returns&returnSave != 0 {
		res.saved = keepUID(res.saved, row.UID)
	}
	if res.track {
		res.matches = keepUID(res.matches, row.UID)
	}
	if res.returns&returnRelevancy != 0 && res.partial == nil {
		res.scores = append(res.scores, res.relevancy)
	}
	if res.returns == 0 || res.returns&returnAll != 0 {
		res.numbers = appendNumber(res.numbers, res.number(row.UID))
	}
	return true
}

// addEnd takes a match of a walk from the end. What is MIN, such a walk doesn't know.
func (res *found) addEnd(row pickedRow) {
	if res.count++; res.count == 1 {
		res.max, res.maxModSeq = row.uid, row.modSeq
	}
}

// appendNumber appends the next number.
func appendNumber(numbers []numRange, num uint32) []numRange {
	if n := len(numbers); n > 0 && numbers[n-1].hi+1 == num {
		numbers[n-1].hi = num
		return numbers
	}
	return append(numbers, numRange{num, num})
}

// writeNumbers writes a sequence-set.
func writeNumbers(w *wire.Encoder, numbers []numRange) {
	for i, r := range numbers {
		w.Append(func(b []byte) []byte {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(r.lo), 10)
			if r.hi > r.lo {
				b = strconv.AppendUint(append(b, ':'), uint64(r.hi), 10)
			}
			return b
		})
	}
}

// keepUID takes a match into a set; they come in ascending order.
func keepUID(set view.Ranges, uid imap.UID) view.Ranges {
	if n := len(set); n > 0 && set[n-1].Hi+1 == uid {
		set[n-1].Hi = uid
		return set
	}
	return append(set, view.Range{Lo: uid, Hi: uid})
}

// number is how a message is named in the answer.
func (res *found) number(uid imap.UID) uint32 {
	if res.uid {
		return uint32(uid)
	}
	return uint32(res.view.Seq(uid))
}

// writeSearch writes the answer of RFC 3501 §7.2.5.
func (res *found) writeSearch(w *wire.Encoder) {
	w.Raw("* SEARCH")
	for _, r := range res.numbers {
		for lo := r.lo; ; { // a piece of the range at a time
			hi := min(r.hi, lo+500)
			w.Append(func(b []byte) []byte {
				for n := lo; n <= hi && n >= lo; n++ {
					b = strconv.AppendUint(append(b, ' '), uint64(n), 10)
				}
				return b
			})
			if hi == r.hi {
				break
			}
			lo = hi + 1
		}
	}
	if res.modSeq && res.count > 0 { // RFC 7162 §3.1.6
		w.Raw(" (MODSEQ ").Uint64(uint64(res.highest)).Raw(")")
	}
	w.CRLF()
}

// writeESearch writes the answer of RFC 9051 §7.3.4. A tag has no character
// that would need quoting (RFC 9051 §9, tag).
func (res *found) writeESearch(w *wire.Encoder, r *request) {
	w.Raw(`* ESEARCH (TAG "`).Raw(r.tag).Raw(`"`)
	if res.box != nil {
		w.Raw(" MAILBOX ").Mailbox(res.box.Name).Raw(" UIDVALIDITY ").Number(res.box.UIDValidity)
	}
	w.Raw(")")
	if res.uid {
		w.Raw(" UID")
	}
	if res.returns&returnMin != 0 && res.count > 0 {
		w.Raw(" MIN ").Number(res.number(res.min))
	}
	if res.returns&returnMax != 0 && res.count > 0 {
		w.Raw(" MAX ").Number(res.number(res.max))
	}
	if res.returns&returnCount != 0 {
		w.Raw(" COUNT ").Number(res.count)
	}
	if res.returns&returnAll != 0 && res.count > 0 {
		w.Raw(" ALL ")
		writeNumbers(w, res.numbers)
	}
	if res.partial != nil {
		res.partial.write(res, w)
	}
	if res.returns&returnRelevancy != 0 {
		writeRelevancy(w, res.scores)
	}
	if res.modSeq && res.count > 0 { // RFC 4731 §3.2
		w.Raw(" MODSEQ ").Uint64(uint64(res.highest))
	}
	w.CRLF()
}
