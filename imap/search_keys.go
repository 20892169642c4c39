package imap

import (
	"github.com/emersion/go-imap/v2"

	"nestbox/imap/wire"
	"nestbox/storage"
)

// A searchKey is one line of the table of SEARCH keys.
type searchKey struct {
	name string // upper case: "FROM"
	// parse reads the arguments that follow the name.
	parse func(d *wire.Decoder, p *searchParser) criterion
}

// baseSearchKeys are the keys of IMAP4rev1 and IMAP4rev2 (RFC 3501 §6.4.4, RFC
// 9051 §6.4.4), for the clients of both. Sets of sequence numbers and
// parentheses have no name: searchParser.key reads them.
var baseSearchKeys = []searchKey{
	{"ALL", constant(criterion{op: opAnd})},
	{"ANSWERED", flagKey(storage.FlagAnswered, true)},
	{"BCC", headerKey("BCC")},
	{"BEFORE", dateKey(before)},
	{"BODY", textKey(scopeBody)},
	{"CC", headerKey("CC")},
	{"DELETED", flagKey(storage.FlagDeleted, true)},
	{"DRAFT", flagKey(storage.FlagDraft, true)},
	{"FLAGGED", flagKey(storage.FlagFlagged, true)},
	{"FROM", headerKey("FROM")},
	{"HEADER", parseHeaderKey},
	{"KEYWORD", keywordKey(true)},
	{"LARGER", sizeKey(func(size, n int64) bool { return size > n })},
	{"NEW", constant(and(criterion{op: opRecent}, flagCriterion(storage.FlagSeen, false)))},
	{"NOT", parseNot},
	{"OLD", constant(not(criterion{op: opRecent}))},
	{"ON", dateKey(on)},
	{"OR", parseOr},
	{"RECENT", constant(criterion{op: opRecent})},
	{"SEEN", flagKey(storage.FlagSeen, true)},
	{"SENTBEFORE", sentKey(before)},
	{"SENTON", sentKey(on)},
	{"SENTSINCE", sentKey(since)},
	{"SINCE", dateKey(since)},
	{"SMALLER", sizeKey(func(size, n int64) bool { return size < n })},
	{"SUBJECT", headerKey("SUBJECT")},
	{"TEXT", textKey(scopeText)},
	{"TO", headerKey("TO")},
	{"UID", parseUIDKey},
	{"UNANSWERED", flagKey(storage.FlagAnswered, false)},
	{"UNDELETED", flagKey(storage.FlagDeleted, false)},
	{"UNDRAFT", flagKey(storage.FlagDraft, false)},
	{"UNFLAGGED", flagKey(storage.FlagFlagged, false)},
	{"UNKEYWORD", keywordKey(false)},
	{"UNSEEN", flagKey(storage.FlagSeen, false)},
}

type parseKey = func(d *wire.Decoder, p *searchParser) criterion

// constant is the parse of a key without arguments. Each command gets a copy of
// its own, since criteria are bound to a session.
func constant(c criterion) parseKey {
	return func(*wire.Decoder, *searchParser) criterion { return c.clone() }
}

func flagKey(flag storage.Flags, set bool) parseKey { return constant(flagCriterion(flag, set)) }

// keywordKey reads a flag-keyword. A keyword that the mailbox has not is set
// on no message.
func keywordKey(set bool) parseKey {
	return func(d *wire.Decoder, _ *searchParser) criterion {
		d.SP()
		c := criterion{op: opKeyword, needs: needRow, keyword: imap.Flag(d.Atom())}
		if set {
			return c
		}
		return not(c)
	}
}

// sizeKey compares RFC822.SIZE.
func sizeKey(test func(size, n int64) bool) parseKey {
	return func(d *wire.Decoder, _ *searchParser) criterion {
		d.SP()
		n := d.Number64()
		return criterion{op: opTest, needs: needRow, slot: noSlot,
			test: func(_ *searcher, m *searched) bool { return test(m.row.Size, n) }}
	}
}

// The comparisons of days: of the message, of the key.
func before(day, key int64) bool { return day < key }
func on(day, key int64) bool     { return day == key }
func since(day, key int64) bool  { return day >= key }

func parseDay(d *wire.Decoder) int64 {
	d.SP()
	return floorDiv(d.Date().Unix(), secondsPerDay)
}

// dateKey compares the day of INTERNALDATE in the zone that it has: time and
// timezone are disregarded (RFC 9051 §6.4.4).
func dateKey(compare func(day, key int64) bool) parseKey {
	return func(d *wire.Decoder, _ *searchParser) criterion {
		key := parseDay(d)
		return criterion{op: opTest, needs: needRow, slot: noSlot,
			test: func(_ *searcher, m *searched) bool {
				return compare(floorDiv(m.row.Date+int64(m.row.Zone)*60, secondsPerDay), key)
			}}
	}
}

// rowKey is the criterion of a test of the message's row.
func rowKey(test func(row *storage.Row) bool) criterion {
	return criterion{op: opTest, needs: needRow, slot: noSlot,
		test: func(_ *searcher, m *searched) bool { return test(m.row) }}
}

// sentKey compares the day of the Date header field as it is written there. A
// message without one matches none of these keys.
func sentKey(compare func(day, key int64) bool) parseKey {
	return func(d *wire.Decoder, p *searchParser) criterion {
		key := parseDay(d)
		return criterion{op: opTest, needs: needRecord, slot: p.slot(),
			test: func(_ *searcher, m *searched) bool {
				t, ok := m.rec.SentDate()
				if !ok {
					return false
				}
				_, zone := t.Zone()
				return compare(floorDiv(t.Unix()+int64(zone), secondsPerDay), key)
			}}
	}
}

func parseUIDKey(d *wire.Decoder, _ *searchParser) criterion {
	d.SP()
	return inSet(d.NumSet(true))
}

// inSet is the criterion of a set. Sequence numbers that the mailbox doesn't
// have, and UIDs, match nothing.
func inSet(set imap.NumSet) criterion { return criterion{op: opSet, set: set} }

func parseNot(d *wire.Decoder, p *searchParser) criterion {
	d.SP()
	return not(p.nested(d))
}

func parseOr(d *wire.Decoder, p *searchParser) criterion {
	d.SP()
	a := p.nested(d)
	d.SP()
	return or(a, p.nested(d))
}

// nested reads a key within a key.
func (p *searchParser) nested(d *wire.Decoder) criterion {
	if d.Err() != nil {
		return criterion{}
	}
	return p.key(d)
}
