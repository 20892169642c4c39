package imap

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"nestbox/imap/wire"
	"nestbox/mail"
	"nestbox/storage"
)

// A section names a part of a message or some of it (RFC 9051 §6.4.5.1).
type section struct {
	path   []int // part numbers
	kind   sectionKind
	fields []string // upper case, of HEADER.FIELDS and HEADER.FIELDS.NOT
}

type sectionKind uint8

const (
	sectionWhole sectionKind = iota
	sectionHeader
	sectionFields
	sectionFieldsNot
	sectionText
	sectionMIME
)

var sectionKinds = map[string]sectionKind{
	"": sectionWhole, "HEADER": sectionHeader, "HEADER.FIELDS": sectionFields,
	"HEADER.FIELDS.NOT": sectionFieldsNot, "TEXT": sectionText, "MIME": sectionMIME,
}

const (
	// firstPiece is how much of a section is read before it is announced.
	firstPiece = 64 << 10
	// prepareMax is how much is read before the response to one message with
	// many sections is begun; of further ones an octet is read, as a proof.
	prepareMax = 256 << 10
	// partHeaderMax bounds the header of a nested message that is searched
	// for fields.
	partHeaderMax = 8 << 20
)

func parseBody(d *wire.Decoder, _ *request, c *fetchCmd) {
	if d.Peek() != '[' { // the form of BODYSTRUCTURE without extension data
		c.add(itemBody)
		return
	}
	parseBodySection(d, c, true)
}

func parseBodyPeek(d *wire.Decoder, _ *request, c *fetchCmd) { parseBodySection(d, c, false) }

func parseBodySection(d *wire.Decoder, c *fetchCmd, seen bool) {
	d.Byte('[')
	sec, label := parseSection(d)
	d.Byte(']')
	part, origin := parsePartial(d)
	if d.Err() == nil {
		c.add((&bodyItem{section: sec, partial: part}).item("BODY["+label+"]"+origin+" ", seen))
	}
}

// parseWhole is the parse of the items that go by a name of their own.
func parseWhole(label string, sec section, seen bool) func(*wire.Decoder, *request, *fetchCmd) {
	return func(_ *wire.Decoder, _ *request, c *fetchCmd) {
		c.add((&bodyItem{section: sec, partial: wholeSection}).item(label, seen))
	}
}

// parseSection reads a section-spec, up to "]". label is its canonical form.
func parseSection(d *wire.Decoder) (sec section, label string) {
	if d.Peek() == ']' {
		return sec, ""
	}
	label = d.Word()
	rest := label
	for rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		number, after, more := strings.Cut(rest, ".")
		n, ok := partNumber(number)
		if !ok || more && after == "" || len(sec.path) == wire.ListDepth {
			d.Fail("a part number")
			return sec, ""
		}
		sec.path, rest = append(sec.path, n), after
	}
	kind, ok := sectionKinds[rest]
	if !ok || kind == sectionMIME && len(sec.path) == 0 {
		d.Fail("a section")
		return sec, ""
	}
	sec.kind = kind
	if kind == sectionFields || kind == sectionFieldsNot {
		d.SP()
		label += " " + sec.parseFields(d)
	}
	return sec, label
}

// partNumber is an nz-number; no message has as many parts as fit in 31 bits.
func partNumber(s string) (n int, ok bool) {
	v, err := strconv.ParseUint(s, 10, 32)
	return int(min(v, math.MaxInt32)), err == nil && s[0] != '0'
}

// parseFields reads a header-list. It returns the list as it came.
func (sec *section) parseFields(d *wire.Decoder) string {
	var list strings.Builder
	d.List(func() {
		name := d.Astring()
		if len(sec.fields) == maxFetchItems {
			d.FailErr(bad("more than %d header fields", maxFetchItems))
			return
		}
		if !isFieldName(name) {
			d.Fail("the name of a header field")
			return
		}
		if len(sec.fields) > 0 {
			list.WriteByte(' ')
		}
		appendFieldName(&list, name)
		sec.fields = append(sec.fields, strings.ToUpper(name))
	})
	if len(sec.fields) == 0 {
		d.Fail("the name of a header field")
	}
	return "(" + list.String() + ")"
}

// isFieldName: printable ASCII but ":" (RFC 5322 §2.2).
func isFieldName(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return name != ""
}

// appendFieldName writes name as an astring.
func appendFieldName(w *strings.Builder, name string) {
	if !strings.ContainsAny(name, `(){%*"\`) {
		w.WriteString(name)
		return
	}
	w.WriteByte('"')
	for _, c := range []byte(name) {
		if c == '"' || c == '\\' {
			w.WriteByte('\\')
		}
		w.WriteByte(c)
	}
	w.WriteByte('"')
}

// A partial is the part of a section that is asked for. max < 0: all of it.
type partial struct{ from, max int64 }

var wholeSection = partial{0, -1}

// parsePartial reads a partial, if there is one. origin is what the response
// says of it (RFC 9051 §7.5.2).
func parsePartial(d *wire.Decoder) (p partial, origin string) {
	if !d.TryByte('<') {
		return wholeSection, ""
	}
	p.from = d.Number64()
	d.Byte('.')
	p.max = d.Number64()
	if p.max == 0 {
		d.Fail("a number of octets that is not 0")
	}
	d.Byte('>')
	return p, "<" + strconv.FormatInt(p.from, 10) + ">"
}

// of is p within a section of size octets; beyond its end it is empty.
func (p partial) of(size int64) (off, n int64) {
	if p.max < 0 {
		return 0, size
	}
	if p.from >= size {
		return 0, 0
	}
	return p.from, min(p.max, size-p.from)
}

// A bodyItem is one BODY[section]<partial>. What follows section and partial
// is of the message at hand.
type bodyItem struct {
	section
	partial

	none  bool   // there is no such part
	off   int64  // where in the message the announced octets start
	size  int64  // how many they are
	first []byte // the first of them
}

// item is b as an item of a FETCH.
func (b *bodyItem) item(label string, seen bool) dataItem {
	need := needRow | needRecord | needBody
	if len(b.path) == 0 {
		switch b.kind {
		case sectionWhole:
			need = needRow | needBody
		case sectionHeader, sectionFields, sectionFieldsNot:
			need = needRow | needHeader
		}
	}
	return dataItem{label: label, needs: need, seen: seen, prepare: b.prepare, write: b.write}
}

func (b *bodyItem) prepare(f *fetcher) error {
	b.none, b.off, b.size, b.first = false, 0, 0, nil
	if len(b.path) == 0 {
		switch b.kind {
		case sectionWhole:
			return b.stream(f, 0, f.m.row.Size)
		case sectionHeader, sectionFields, sectionFieldsNot:
			if err := f.checkHeader(); err != nil {
				return err
			}
			b.fromHeader(f, f.m.header)
			return nil
		}
	}
	off, n, ok := f.m.rec.Range(b.path, b.kind.mailSection())
	if !ok {
		b.none = true
		return nil
	}
	if b.kind != sectionFields && b.kind != sectionFieldsNot {
		return b.stream(f, off, n)
	}
	if n > partHeaderMax {
		return no("LIMIT", "the header of a part of message %d is too large to search for fields", f.m.seq)
	}
	header := make([]byte, n)
	if err := f.readAt(header, off); err != nil {
		return err
	}
	b.fromHeader(f, header)
	return nil
}

func (k sectionKind) mailSection() mail.Section {
	switch k {
	case sectionWhole:
		return mail.SectionBody
	case sectionText:
		return mail.SectionText
	case sectionMIME:
		return mail.SectionMIME
	}
	return mail.SectionHeader
}

// checkHeader tells a message without a header from one that can't be read.
func (f *fetcher) checkHeader() error {
	if len(f.m.header) > 0 || f.m.row.Size == 0 {
		return nil
	}
	readable := false
	err := f.s.sel.account.Records([]storage.BlobID{f.m.row.Blob}, func(_ int, rec mail.Record) bool {
		readable = len(rec) > 0 && rec.HeaderSize() == 0
		return false
	})
	if err == nil && !readable {
		err = storage.ErrUnavailable
	}
	if err != nil {
		return fmt.Errorf("message %d: %w", f.m.seq, err)
	}
	return nil
}

// fromHeader takes the octets from header, which is in memory until the
// response is written.
func (b *bodyItem) fromHeader(f *fetcher, header []byte) {
	if b.kind != sectionHeader {
		start := len(f.scratch)
		f.scratch = mail.AppendHeaderFields(f.scratch, header, b.fields, b.kind == sectionFieldsNot)
		header = f.scratch[start:]
	}
	off, n := b.partial.of(int64(len(header)))
	b.first, b.size = header[off:off+n], n
}

// stream takes the octets from the stored message: the first of them now, so
// that a message that can't be read is never announced.
func (b *bodyItem) stream(f *fetcher, off, n int64) error {
	skip, n := b.partial.of(n)
	b.off, b.size = off+skip, n
	if n == 0 {
		return nil
	}
	if f.m.body != nil {
		b.first = f.m.body[b.off : b.off+n]
		return nil
	}
	piece := min(n, firstPiece)
	if int64(len(f.scratch))+piece > prepareMax {
		piece = 1
	}
	start := len(f.scratch)
	f.scratch = grown(f.scratch, int(piece))
	b.first = f.scratch[start:]
	return f.readAt(b.first, b.off)
}

// grown is b with n more bytes.
func grown(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	return append(b, make([]byte, n)...)
}

// open opens the message's blob, until its response is written.
func (f *fetcher) open() (*storage.Blob, error) {
	if f.m.blob != nil {
		return f.m.blob, nil
	}
	blob, err := f.s.sel.account.OpenBlob(f.m.row.Blob)
	if err != nil {
		return nil, fmt.Errorf("message %d: %w", f.m.seq, err)
	}
	if blob.Size() != f.m.row.Size {
		blob.Close()
		return nil, fmt.Errorf("message %d: %w", f.m.seq, storage.ErrCorrupt)
	}
	f.m.blob = blob
	return blob, nil
}

func (f *fetcher) readAt(p []byte, off int64) error {
	if f.m.body != nil {
		copy(p, f.m.body[off:])
		return nil
	}
	blob, err := f.open()
	if err != nil {
		return err
	}
	if n, err := blob.ReadAt(p, off); n < len(p) {
		if err == nil || err == io.EOF {
			err = storage.ErrCorrupt
		}
		return fmt.Errorf("message %d: %w", f.m.seq, err)
	}
	return nil
}

func (b *bodyItem) write(f *fetcher) {
	switch {
	case b.none:
		f.w.Raw("NIL")
	case b.size == 0:
		f.w.Raw(`""`)
	default:
		f.w.Literal(b.size, false).Bytes(b.first)
		if done := int64(len(b.first)); done < b.size {
			n, err := f.m.blob.WriteRange(f.w, b.off+done, b.size-done)
			f.check(n, b.size-done, err)
		}
	}
}

// check follows the streaming of a literal: one that stays short leaves the
// client waiting for the rest, so that only closing the connection helps.
func (f *fetcher) check(n, want int64, err error) {
	if n == want && err == nil || f.w.Err() != nil {
		return
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	f.broken = &fatalError{fmt.Errorf("message %d in the middle of a literal: %w", f.m.row.UID, err)}
}
