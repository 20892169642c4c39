package imap

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/mail"
	"nestbox/storage"
)

// extSort sorts on the server. What is compared comes from rows and records,
// never from messages.
var extSort = extension{
	name: "SORT", rfc: "RFC 5256", caps: []capability{{name: "SORT"}},
	commands: []*command{&cmdSort},
	sortKeys: []sortKey{
		{name: "ARRIVAL", number: func(row *storage.Row, _ mail.Record) int64 { return row.Date }},
		{name: "CC", text: mail.Record.Cc},
		{name: "DATE", record: true, number: sentDate},
		{name: "FROM", text: mail.Record.From},
		{name: "SIZE", number: func(row *storage.Row, _ mail.Record) int64 { return row.Size }},
		{name: "SUBJECT", text: mail.Record.BaseSubject},
		{name: "TO", text: mail.Record.To},
	},
}

// extSortDisplay sorts by the names that clients show.
var extSortDisplay = extension{
	name: "SORT=DISPLAY", rfc: "RFC 5957", caps: []capability{{name: "SORT=DISPLAY", when: has(&extSort)}},
	sortKeys: []sortKey{
		{name: "DISPLAYFROM", text: mail.Record.DisplayFrom},
		{name: "DISPLAYTO", text: mail.Record.DisplayTo},
	},
}

// cmdSort is SORT and UID SORT, RFC 5256 §3.
var cmdSort = command{name: "SORT", state: selected, flags: hasUID | usesSeq | takesSet, parse: parseSort}

// A sortKey is one line of the table of sort keys. It has a number or a text.
type sortKey struct {
	name   string
	record bool // number needs the record
	number func(row *storage.Row, rec mail.Record) int64
	text   func(rec mail.Record) []byte // in normal form
	// relevancy: the number is the score of the match, the best first.
	relevancy bool
}

// A sortOption is what may stand before the sort criteria.
type sortOption struct {
	name  string
	parse func(d *wire.Decoder, r *request, c *sortCmd)
}

// A sortCriterion is a sort key in a direction.
type sortCriterion struct {
	sortKey
	reverse bool
}

// maxSortCriteria bounds the criteria of a command: there is no use in naming
// a key twice.
const maxSortCriteria = 16

type sortCmd struct {
	searchCmd
	criteria []sortCriterion
}

func parseSort(d *wire.Decoder, r *request) runner {
	c := new(sortCmd)
	d.SP()
	for d.Err() == nil && d.Peek() != '(' {
		option, ok := look(r.s, r.s.srv.tables.sortOptions, d.Word())
		if !ok {
			d.Fail("sort criteria")
			break
		}
		d.SP()
		option.parse(d, r, c)
		d.SP()
	}
	d.List(func() { c.criteria = append(c.criteria, parseSortCriterion(d, r)) })
	switch n := len(c.criteria); {
	case n == 0:
		d.Fail("a sort key")
	case n > maxSortCriteria:
		d.FailErr(badCode(imap.ResponseCodeLimit, "more than %d sort criteria", maxSortCriteria))
	}
	d.SP()
	c.parseProgram(d, r)
	if !c.scored && slices.ContainsFunc(c.criteria, func(k sortCriterion) bool { return k.relevancy }) {
		d.FailErr(errNoFuzzy)
	}
	d.End()
	return c
}

func parseSortCriterion(d *wire.Decoder, r *request) (c sortCriterion) {
	name := d.Word()
	if name == "REVERSE" {
		c.reverse = true
		d.SP()
		name = d.Word()
	}
	key, ok := look(r.s, r.s.srv.tables.sortKeys, name)
	if !ok {
		d.Fail("a sort key")
	}
	c.sortKey = key
	return c
}

// parseProgram reads the search-criteria of SORT and THREAD: a charset, which
// is not optional, and the keys.
func (c *searchCmd) parseProgram(d *wire.Decoder, r *request) {
	p := &searchParser{r: r}
	p.decode, c.charset = charsetDecoder(d.Astring())
	d.SP()
	c.program = p.joined(d)
	c.took(d, p)
}

func (c *sortCmd) run(s *session, r *request) (reply, error) {
	order, res, err := c.sorted(s, r)
	if c.returns&returnSave != 0 {
		s.sel.saved = res.saved
	}
	if err != nil {
		return reply{}, err
	}
	if c.extended {
		if c.returns != returnSave {
			c.writeSorted(s.w, r, res, order)
		}
		if c.update != nil {
			c.update.begin(s, r, res, &sorting{c.criteria, order})
		}
		return reply{}, nil
	}
	s.w.Raw("* SORT")
	writeOrder(s.w, res, order)
	if res.modSeq && len(order) > 0 { // RFC 7162 §7, sort-data
		s.w.Raw(" (MODSEQ ").Uint64(uint64(res.highest)).Raw(")")
	}
	s.w.CRLF()
	return reply{}, nil
}

// sorted searches and sorts. What is saved for "$" is what SEARCH would save
// (RFC 5182 §2.1), with MIN and MAX in the order of the sort.
func (c *sortCmd) sorted(s *session, r *request) ([]imap.UID, *found, error) {
	res := &found{returns: c.returns, uid: r.uid, view: s.sel.view, modSeq: c.modSeq}
	t := newSortTable(c.criteria)
	err := c.each(s, t.record, func(row *storage.Row, rec mail.Record) {
		t.score = c.score
		t.add(row, rec)
	})
	if err != nil {
		return nil, &found{}, err
	}
	if c.update != nil {
		if err := c.update.freeze(s, &c.searchCmd); err != nil {
			return nil, &found{}, err
		}
		res.matches = view.RangesOf(t.uids)
	}
	order := t.sort()
	keep := c.returned(order)
	if res.returns&returnSave != 0 {
		res.save(keep)
	}
	if res.modSeq {
		res.highest = t.highest(keep)
	}
	if res.returns&returnRelevancy != 0 {
		named := order
		if c.partial != nil {
			named = c.partial.of(order)
		}
		for _, uid := range named {
			i, _ := slices.BinarySearch(t.uids, uid)
			res.scores = append(res.scores, t.scores[i])
		}
	}
	return order, res, nil
}

// returned are those of the messages that an answer other than ALL and COUNT
// names; if it is one of these, all.
func (c *sortCmd) returned(order []imap.UID) (named []imap.UID) {
	const some = returnMin | returnMax | returnPartial
	if c.returns&some == 0 || c.returns&^(some|returnSave|returnRelevancy) != 0 || len(order) == 0 {
		return order
	}
	if c.returns&returnPartial != 0 {
		named = append(named, c.partial.of(order)...)
	}
	if c.returns&returnMin != 0 {
		named = append(named, order[0])
	}
	if c.returns&returnMax != 0 {
		named = append(named, order[len(order)-1])
	}
	return named
}

// each calls f with the messages that match, in ascending order, with their
// records if they are wanted.
func (c *searchCmd) each(s *session, record bool, f func(row *storage.Row, rec mail.Record)) error {
	if c.charset != nil {
		return c.charset
	}
	e, err := newSearcher(s, c.program, c.slots)
	if err != nil {
		return err
	}
	defer e.free()
	if len(e.program.sub) == 0 { // the rows are wanted even where the scope says it all
		e.program.sub = append(e.program.sub, criterion{op: opAnd})
	}
	var rows []storage.Row
	var blobs []storage.BlobID
	cursor := s.sel.view.Cursor(e.scope)
	b := s.batch()
	e.rows = b.rows
	var score uint8
	var scores []uint8
	if c.scored {
		e.relevant = &score
	}
	for uids := cursor.Next(b.uids[:0]); len(uids) > 0; uids = cursor.Next(b.uids[:0]) {
		rows, blobs, scores = rows[:0], blobs[:0], scores[:0]
		err := e.batch(uids, func(row *storage.Row) bool {
			rows, blobs, scores = append(rows, *row), append(blobs, row.Blob), append(scores, score)
			return true
		})
		if err != nil {
			return err
		}
		if !record {
			for i := range rows {
				c.score = scores[i]
				f(&rows[i], nil)
			}
			continue
		}
		err = s.sel.account.Records(blobs, func(i int, rec mail.Record) bool {
			c.score = scores[i]
			f(&rows[i], rec)
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sentDate is the sent date of RFC 5256 §2.2, in seconds since 1970.
func sentDate(row *storage.Row, rec mail.Record) int64 {
	if t, ok := rec.SentDate(); ok {
		return t.Unix()
	}
	return row.Date
}

// A sortTable holds what is compared, a column for each criterion.
type sortTable struct {
	uids    []imap.UID
	modSeqs []storage.ModSeq // of uids
	scores  []uint8          // of uids
	score   uint8            // of what is added
	columns []sortColumn
	record  bool
}

// A sortColumn has the values of one criterion, numbers or texts.
type sortColumn struct {
	sortCriterion
	numbers []int64
	texts   []byte
	ends    []int // of each text
}

func newSortTable(criteria []sortCriterion) *sortTable {
	t := &sortTable{columns: make([]sortColumn, len(criteria))}
	for i, criterion := range criteria {
		t.columns[i].sortCriterion = criterion
		t.record = t.record || criterion.record || criterion.text != nil
	}
	return t
}

func (t *sortTable) add(row *storage.Row, rec mail.Record) {
	t.uids, t.modSeqs, t.scores = append(t.uids, row.UID), append(t.modSeqs, row.ModSeq), append(t.scores, t.score)
	for i := range t.columns {
		if c := &t.columns[i]; c.relevancy {
			c.numbers = append(c.numbers, -int64(t.score))
		} else if c.text != nil {
			c.texts = append(c.texts, c.text(rec)...)
			c.ends = append(c.ends, len(c.texts))
		} else {
			c.numbers = append(c.numbers, c.number(row, rec))
		}
	}
}

func (c *sortColumn) compare(a, b int32) (n int) {
	if c.text != nil {
		n = bytes.Compare(c.at(a), c.at(b))
	} else {
		n = cmp.Compare(c.numbers[a], c.numbers[b])
	}
	if c.reverse {
		return -n
	}
	return n
}

// at is the text of message i.
func (c *sortColumn) at(i int32) []byte {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	return c.texts[start:c.ends[i]]
}

// sort is the messages in order; equal ones as they are in the mailbox.
func (t *sortTable) sort() []imap.UID {
	index := make([]int32, len(t.uids))
	for i := range index {
		index[i] = int32(i)
	}
	slices.SortFunc(index, func(a, b int32) int {
		for i := range t.columns {
			if n := t.columns[i].compare(a, b); n != 0 {
				return n
			}
		}
		return cmp.Compare(a, b)
	})
	order := make([]imap.UID, len(index))
	for i, at := range index {
		order[i] = t.uids[at]
	}
	return order
}

// highest is the highest MODSEQ of some of the messages.
func (t *sortTable) highest(uids []imap.UID) (highest storage.ModSeq) {
	for _, uid := range uids {
		if i, ok := slices.BinarySearch(t.uids, uid); ok {
			highest = max(highest, t.modSeqs[i])
		}
	}
	return highest
}

// save keeps messages for "$".
func (res *found) save(uids []imap.UID) {
	sorted := slices.Clone(uids)
	slices.Sort(sorted)
	res.saved = view.RangesOf(slices.Compact(sorted))
}

// writeOrder writes numbers with a blank before each.
func writeOrder(w *wire.Encoder, res *found, order []imap.UID) {
	for _, uid := range order {
		num := res.number(uid)
		w.Append(func(b []byte) []byte { return strconv.AppendUint(append(b, ' '), uint64(num), 10) })
	}
}
