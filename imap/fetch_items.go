package imap

import (
	"nestbox/imap/wire"
)

// A fetchItem is one line of the table of FETCH items.
type fetchItem struct {
	name string // upper case: "FLAGS", "BODY", "BODY.PEEK"
	// parse reads what follows the name (a section, a partial) and adds what
	// it asks for to c.
	parse func(d *wire.Decoder, r *request, c *fetchCmd)
}

// baseFetchItems are the data items of IMAP4rev1 and IMAP4rev2 (RFC 3501 §6.4.5,
// RFC 9051 §6.4.5), for the clients of both.
var baseFetchItems = []fetchItem{
	plainItem(itemUID),
	plainItem(itemFlags, func(c *fetchCmd) { c.flags = true }),
	plainItem(dataItem{label: "INTERNALDATE ", needs: needRow, write: writeInternalDate}),
	plainItem(dataItem{label: "RFC822.SIZE ", needs: needRow, write: writeSize}),
	plainItem(dataItem{label: "ENVELOPE ", needs: needRow | needRecord, write: writeEnvelope}),
	plainItem(itemStructure),
	{name: "BODY", parse: parseBody},
	{name: "BODY.PEEK", parse: parseBodyPeek},
	{name: "RFC822", parse: parseWhole("RFC822 ", section{}, true)},
	{name: "RFC822.HEADER", parse: parseWhole("RFC822.HEADER ", section{kind: sectionHeader}, false)},
	{name: "RFC822.TEXT", parse: parseWhole("RFC822.TEXT ", section{kind: sectionText}, true)},
}

var (
	itemUID       = dataItem{label: "UID ", write: writeUIDItem}
	itemFlags     = dataItem{label: "FLAGS ", needs: needRow, write: writeFlagsItem}
	itemModSeq    = dataItem{label: "MODSEQ ", needs: needRow, write: writeModSeqItem}
	itemStructure = dataItem{label: "BODYSTRUCTURE ", needs: needRow | needRecord, write: writeStructure}
	itemBody      = dataItem{label: "BODY ", needs: needRow | needRecord, write: writeBody}
)

// plainItem is the line of an item without arguments.
func plainItem(item dataItem, also ...func(c *fetchCmd)) fetchItem {
	return fetchItem{
		name: item.label[:len(item.label)-1],
		parse: func(_ *wire.Decoder, _ *request, c *fetchCmd) {
			c.add(item)
			for _, f := range also {
				f(c)
			}
		},
	}
}

// appendStart appends "* 12 FETCH (".
func (f *fetcher) appendStart(b []byte) []byte { return f.s.appendFetch(b, f.m.seq, f.m.row.UID) }

func writeUIDItem(f *fetcher) { f.w.Number(uint32(f.m.row.UID)) }

func writeModSeqItem(f *fetcher) {
	f.s.sel.gaveModSeqs = true
	f.w.Raw("(").Uint64(uint64(f.m.row.ModSeq)).Raw(")")
}

func writeFlagsItem(f *fetcher) {
	recent := !f.rev2 && f.s.isRecent(f.m.row.UID)
	f.w.Append(func(b []byte) []byte { return f.box.AppendFlags(b, f.m.row.Flags, recent) })
}

func writeSize(f *fetcher) { f.w.Number64(f.m.row.Size) }

func writeInternalDate(f *fetcher) {
	f.w.Append(func(b []byte) []byte { return appendInternalDate(b, f.m.row.Date, f.m.row.Zone) })
}

func writeEnvelope(f *fetcher) { f.w.Bytes(f.m.rec.Envelope()) }

func writeStructure(f *fetcher) {
	f.w.Append(func(b []byte) []byte { return f.m.rec.AppendBodyStructure(b, true, f.s.utf8) })
}

func writeBody(f *fetcher) {
	f.w.Append(func(b []byte) []byte { return f.m.rec.AppendBodyStructure(b, false, f.s.utf8) })
}

const secondsPerDay = 24 * 60 * 60

// appendInternalDate appends a date-time, "17-Jul-1996 02:44:25 -0700" in
// quotes, of seconds since 1970 and a zone in minutes east. By hand: a FETCH of
// a mailbox does this for each message.
func appendInternalDate(b []byte, sec int64, zone int16) []byte {
	sec += int64(zone) * 60
	days := floorDiv(sec, secondsPerDay)
	rest := int(sec - days*secondsPerDay)
	year, month, day := civil(days)
	b = append(b, '"', ' ', byte('0'+day%10), '-')
	if day >= 10 {
		b[len(b)-3] = byte('0' + day/10)
	}
	b = append(b, "JanFebMarAprMayJunJulAugSepOctNovDec"[3*month-3:3*month]...)
	b = append(b, '-')
	b = append2(append2(b, year/100), year%100)
	b = append2(append(b, ' '), rest/3600)
	b = append2(append(b, ':'), rest/60%60)
	b = append2(append(b, ':'), rest%60)
	sign := byte('+')
	if zone < 0 {
		sign, zone = '-', -zone
	}
	b = append2(append(b, ' ', sign), int(zone)/60)
	return append(append2(b, int(zone)%60), '"')
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// civil is the date of a day counted from 1970-01-01, in the Gregorian
// calendar, kept within the years that a date-time can hold.
func civil(days int64) (year, month, day int) {
	const daysTo1970, daysPerEra = 719468, 146097 // from 1 March of the year 0; 400 years
	const first, last = -719528, 2932896          // 0000-01-01, 9999-12-31
	z := min(max(days, first), last) + daysTo1970
	era := floorDiv(z, daysPerEra)
	doe := z - era*daysPerEra
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153 // months from March
	day = int(doy-(153*mp+2)/5) + 1
	month = int(mp) + 3
	if month > 12 {
		month -= 12
	}
	year = int(yoe + era*400)
	if month <= 2 {
		year++
	}
	return year, month, day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
