package imap

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
)

// FETCH and UID FETCH, RFC 9051 §6.4.5 and RFC 3501 §6.4.5.
var cmdFetch = command{name: "FETCH", state: selected, flags: hasUID | usesSeq | takesSet, parse: parseFetch}

// maxFetchItems bounds the items of one FETCH, and the header fields of one
// HEADER.FIELDS: the answer is that many times the number of messages.
const maxFetchItems = 500

// needs says what of a message an item of FETCH or a key of SEARCH is made of:
// only what some item of the command asks for is read.
type needs uint8

const (
	needRow    needs = 1 << iota // storage.Rows
	needRecord                   // storage.Records
	needHeader                   // storage.Headers
	needBody                     // storage.Bodies, and storage.OpenBlob for what that lacks
	needBlob                     // storage.OpenBlob
)

// A fetchCmd is a FETCH as it was parsed.
type fetchCmd struct {
	set     imap.NumSet
	items   []dataItem
	needs   needs
	flags   bool           // FLAGS is among the items
	seen    bool           // some item sets \Seen
	changes *changesWanted // of modifiers, or nil
	// narrow are what modifiers make of the messages to answer for, in order.
	narrow []func(s *session, ranges view.Ranges) (view.Ranges, error)
}

// A dataItem is one data item of a command, with its arguments.
type dataItem struct {
	label string // its name in the response, with the SP: "BODY[1]<0> "
	needs needs
	seen  bool // it sets \Seen (RFC 9051 §6.4.5)
	// prepare, if any, gets ready what may fail. All items are prepared before
	// the response is begun, so that what can't be read is never announced.
	prepare func(f *fetcher) error
	write   func(f *fetcher)
}

// add adds an item, once: BODY[1] and BODY.PEEK[1] are the same but for \Seen.
func (c *fetchCmd) add(item dataItem) {
	c.needs |= item.needs
	c.seen = c.seen || item.seen
	for i := range c.items {
		if c.items[i].label == item.label {
			c.items[i].seen = c.items[i].seen || item.seen
			return
		}
	}
	c.items = append(c.items, item)
}

// has reports whether item is asked for.
func (c *fetchCmd) has(item dataItem) bool {
	return slices.ContainsFunc(c.items, func(i dataItem) bool { return i.label == item.label })
}

func parseFetch(d *wire.Decoder, r *request) runner {
	c := new(fetchCmd)
	d.SP()
	c.set = d.NumSet(r.uid)
	if r.uid && !r.s.uidOnly { // RFC 9051 §6.4.9: UID is part of the response, asked for or not
		c.add(itemUID)
	}
	d.SP()
	if d.Peek() == '(' {
		n := 0
		d.List(func() {
			if n++; n > maxFetchItems {
				d.FailErr(bad("more than %d items", maxFetchItems))
				return
			}
			c.item(d, r, d.Word())
		})
		if n == 0 {
			d.Fail("a FETCH item")
		}
	} else {
		name := d.Word()
		if macro, ok := fetchMacros[name]; ok {
			for _, name := range macro {
				c.item(d, r, name)
			}
		} else {
			c.item(d, r, name)
		}
	}
	if d.TrySP() {
		d.List(func() {
			modifier, ok := look(r.s, r.s.srv.tables.fetchModifiers, d.Word())
			if !ok {
				d.Fail("a FETCH modifier")
				return
			}
			modifier.parse(d, r, c)
		})
	}
	d.End()
	return c
}

// A fetchModifier is one line of the table of FETCH modifiers (RFC 4466 §2.4).
// The base protocol has none.
type fetchModifier struct {
	name  string // upper case
	parse func(d *wire.Decoder, r *request, c *fetchCmd)
}

// fetchMacros stand alone, not in a list (RFC 9051 §6.4.5).
var fetchMacros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

func (c *fetchCmd) item(d *wire.Decoder, r *request, name string) {
	item, ok := look(r.s, r.s.srv.tables.fetchItems, name)
	if !ok {
		d.Fail("a FETCH item")
		return
	}
	item.parse(d, r, c)
}

func (c *fetchCmd) run(s *session, r *request) (reply, error) {
	ranges, err := s.resolve(c.set)
	if err != nil {
		return reply{}, err
	}
	for _, narrow := range c.narrow {
		if ranges, err = narrow(s, ranges); err != nil {
			return reply{}, err
		}
	}
	ranges, limit := s.limited(ranges)
	rep, err := c.fetch(s, r, ranges)
	return s.withLimit(limit, rep, err)
}

func (c *fetchCmd) fetch(s *session, r *request, ranges view.Ranges) (reply, error) {
	f := newFetcher(s, c)
	defer f.free()
	if err := f.fetch(ranges); err != nil {
		return reply{}, err
	}
	switch {
	case f.failed != nil:
		return reply{}, f.failed
	case f.missing > 0 && !r.uid: // RFC 2180 §4.1.2
		return reply{}, no(codeExpungeIssued, "%d of the messages are no longer there", f.missing)
	}
	return reply{}, nil
}
