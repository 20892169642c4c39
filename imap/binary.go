package imap

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"nestbox/imap/wire"
	"nestbox/mail"
	"nestbox/storage"
)

// extBinary gives parts with their transfer encoding taken off. APPEND of
// literal8 is in append.go.
var extBinary = extension{
	name: "BINARY", rfc: "RFC 3516", caps: []capability{{name: "BINARY"}},
	fetchItems: []fetchItem{
		{name: "BINARY", parse: parseBinary(true)},
		{name: "BINARY.PEEK", parse: parseBinary(false)},
		{name: "BINARY.SIZE", parse: parseBinarySize},
	},
}

func parseBinary(seen bool) func(*wire.Decoder, *request, *fetchCmd) {
	return func(d *wire.Decoder, _ *request, c *fetchCmd) {
		b := new(binaryItem)
		label := b.parseSection(d)
		var origin string
		b.partial, origin = parsePartial(d)
		if d.Err() == nil {
			c.add(dataItem{
				label: "BINARY[" + label + "]" + origin + " ", seen: seen,
				needs: needRow | needRecord | needBlob, prepare: b.prepare, write: b.write,
			})
		}
	}
}

func parseBinarySize(d *wire.Decoder, _ *request, c *fetchCmd) {
	b := new(binaryItem)
	label := b.parseSection(d)
	if d.Err() == nil {
		c.add(dataItem{
			label: "BINARY.SIZE[" + label + "] ",
			needs: needRow | needRecord | needBlob, prepare: b.prepareSize, write: b.writeSize,
		})
	}
}

// A binaryItem is one BINARY[part]<partial> or BINARY.SIZE[part]. What follows
// part and partial is of the message at hand.
type binaryItem struct {
	path []int
	partial

	none    bool
	raw     bool // the octets are sent as stored, by body
	body    bodyItem
	part    mail.Part
	off     int64 // of the encoded body in the message
	encoded int64 // its length
	decoded int64 // length without the encoding
	nul     bool  // there may be NUL octets: literal8
	first   []byte
	skip    int64 // decoded octets before those announced
	size    int64 // decoded octets announced
}

// parseSection reads a section-binary, which has part numbers only.
func (b *binaryItem) parseSection(d *wire.Decoder) (label string) {
	d.Byte('[')
	sec, label := parseSection(d)
	if sec.kind != sectionWhole {
		d.Fail("a part number")
	}
	d.Byte(']')
	b.path = sec.path
	return label
}

// locate finds the part. A whole message, a multipart and a message/rfc822
// have no transfer encoding to take off (RFC 2045 §6.4); RFC 9051 §6.4.5 lets
// nobody ask for them: they are given as they are.
func (b *binaryItem) locate(f *fetcher) {
	*b = binaryItem{path: b.path, partial: b.partial}
	if len(b.path) == 0 {
		b.raw, b.encoded = true, f.m.row.Size
		return
	}
	var ok bool
	if b.off, b.encoded, ok = f.m.rec.Range(b.path, mail.SectionBody); !ok {
		b.none = true
		return
	}
	b.part, ok = f.m.rec.Part(b.path)
	b.none = !ok
	b.raw = b.part.Multipart || b.part.Message
}

func (b *binaryItem) prepareSize(f *fetcher) error {
	b.locate(f)
	switch {
	case b.none:
		return nil
	case b.raw:
		b.decoded = b.encoded
		return nil
	case !b.isText() && b.part.DecodedSize >= 0:
		b.decoded = b.part.DecodedSize
		return nil
	}
	return b.measure(f)
}

func (b *binaryItem) writeSize(f *fetcher) { f.w.Number64(b.decoded) }

func (b *binaryItem) prepare(f *fetcher) error {
	b.locate(f)
	switch {
	case b.none:
		return nil
	case b.raw:
		b.body = bodyItem{partial: b.partial}
		if err := b.body.stream(f, b.off, b.encoded); err != nil {
			return err
		}
		b.size = b.body.size
		return nil
	}
	if err := b.measure(f); err != nil {
		return err
	}
	b.skip, b.size = b.partial.of(b.decoded)
	return nil
}

// isText reports whether lines must end in CRLF when sent decoded (RFC 3516 §6).
func (b *binaryItem) isText() bool { return strings.EqualFold(b.part.Type, "text") }

// measure finds the length without the encoding, and if there are NUL octets.
// Text is decoded for that, since bare LFs become CRLF; of other media the
// record knows the length, and that they are binary.
func (b *binaryItem) measure(f *fetcher) error {
	blob, err := f.open()
	if err != nil {
		return err
	}
	r, err := b.reader(f, blob)
	if err != nil {
		return err
	}
	if !b.isText() && b.part.DecodedSize >= 0 {
		b.decoded, b.nul = b.part.DecodedSize, true
		if len(f.scratch) < prepareMax { // can it be read?
			piece := min(b.decoded, firstPiece)
			err = b.keep(f, r, piece)
		}
		return err
	}
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	start := len(f.scratch)
	for {
		n, err := r.Read(buf[:])
		b.decoded += int64(n)
		b.nul = b.nul || bytes.IndexByte(buf[:n], 0) >= 0
		if b.decoded <= firstPiece && start < prepareMax {
			f.scratch = append(f.scratch, buf[:n]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return unreadable(f, err)
		}
	}
	if b.decoded <= firstPiece && start < prepareMax {
		b.first = f.scratch[start:]
	} else {
		f.scratch = f.scratch[:start]
	}
	return nil
}

// keep reads the first n decoded octets.
func (b *binaryItem) keep(f *fetcher, r io.Reader, n int64) error {
	start := len(f.scratch)
	f.scratch = grown(f.scratch, int(n))
	b.first = f.scratch[start:]
	if _, err := io.ReadFull(r, b.first); err != nil {
		return unreadable(f, err)
	}
	return nil
}

func unreadable(f *fetcher, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = storage.ErrCorrupt
	}
	return no("UNAVAILABLE", "a part of message %d can't be read: %v", f.m.seq, err)
}

// reader reads the part without its encoding.
func (b *binaryItem) reader(f *fetcher, blob *storage.Blob) (io.Reader, error) {
	r, err := mail.NewTransferReader(b.part.Encoding, io.NewSectionReader(blob, b.off, b.encoded))
	if err != nil {
		return nil, no(codeUnknownCTE, "message %d has a part in the unknown transfer encoding %.40q", f.m.seq, b.part.Encoding)
	}
	if b.isText() {
		r = &crlfReader{r: r}
	}
	return r, nil
}

func (b *binaryItem) write(f *fetcher) {
	switch {
	case b.none:
		f.w.Raw("NIL")
	case b.size == 0:
		f.w.Raw(`""`)
	case b.raw:
		f.w.Literal(b.size, true).Bytes(b.body.first)
		if done := int64(len(b.body.first)); done < b.size {
			n, err := f.m.blob.WriteRange(f.w, b.body.off+done, b.size-done)
			f.check(n, b.size-done, err)
		}
	default:
		f.w.Literal(b.size, b.nul)
		b.send(f)
	}
}

// send writes the decoded octets from skip on: what is in first, then what a
// new reader gives after that.
func (b *binaryItem) send(f *fetcher) {
	skip, left := b.skip, b.size
	if have := int64(len(b.first)); skip < have {
		n := min(have-skip, left)
		f.w.Bytes(b.first[skip : skip+n])
		skip, left = have, left-n
	}
	if left == 0 {
		return
	}
	r, err := b.reader(f, f.m.blob)
	if err == nil {
		buf := copyBuffers.Get().(*[32 << 10]byte)
		defer copyBuffers.Put(buf)
		if _, err = io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(r, skip), buf[:]); err == nil {
			var n int64
			n, err = io.CopyBuffer(onlyWriter{f.w}, io.LimitReader(r, left), buf[:])
			left -= n
		}
	}
	f.check(0, left, err)
}

// onlyWriter hides ReadFrom, so that CopyBuffer uses the buffer.
type onlyWriter struct{ io.Writer }

// A crlfReader turns LF alone into CRLF.
type crlfReader struct {
	r    io.Reader
	buf  [2048]byte
	in   []byte // of buf, not yet given
	err  error  // after in
	last byte   // the octet given last
}

func (c *crlfReader) Read(p []byte) (int, error) {
	for len(c.in) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		var n int
		n, c.err = c.r.Read(c.buf[:])
		c.in = c.buf[:n]
	}
	n := 0
	for len(c.in) > 0 && n < len(p) {
		if c.in[0] == '\n' && c.last != '\r' {
			p[n], c.last = '\r', '\r'
			n++
			continue
		}
		line := 1 + bytes.IndexByte(c.in[1:], '\n') // up to the next LF
		if line == 0 {
			line = len(c.in)
		}
		got := copy(p[n:], c.in[:line])
		n, c.last, c.in = n+got, c.in[got-1], c.in[got:]
	}
	return n, nil
}
