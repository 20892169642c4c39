package mail

import "bytes"

// headerFields is what the parser reads in a header. Its octets live until
// the next read.
type headerFields struct {
	present [fieldCount]bool
	value   [fieldCount][]byte // unfolded; but of addresses
	header  []byte             // the fields that were read
	text    []byte             // memory of value
	built   []byte             // memory of strings that are put together

	reader   addressReader
	unfolded []byte // what it reads

	typ, subtype []byte // upper case
	params       []param
	encoding     []byte // upper case
	disposition  []byte // upper case
	dispParams   []param
	languages    [][]byte
}

// A param is a parameter of a content type or disposition.
type param struct {
	name  []byte // upper case, without the marks of RFC 2231
	value []byte
	// For a value with a charset, name stands for name*, value has the form of
	// RFC 2231 §4, and decoded is its UTF-8.
	extended bool
	decoded  []byte
}

// read reads the fields of a header. digest: its default is message/rfc822
// (RFC 2046 §5.1.5).
func (h *headerFields) read(header []byte, message, digest bool) {
	*h = headerFields{
		header: header, text: h.text[:0], built: h.built[:0], unfolded: h.unfolded, reader: h.reader,
		params: h.params[:0], dispParams: h.dispParams[:0], languages: h.languages[:0],
	}
	for {
		field, rest, end := nextField(header)
		if end {
			break
		}
		h.field(field, message)
		header = rest
	}
	h.readType(digest)
	l := lexer{s: h.value[fieldEncoding], buf: &h.built}
	h.encoding = upperName(l.token(false))
	h.readDisposition()
	h.readLanguages()
	h.value[fieldLocation] = withoutBlanks(h.value[fieldLocation])
}

func (h *headerFields) field(field []byte, message bool) {
	n := fieldNumber(field)
	if n == fieldNone || n < fieldType && !message {
		return
	}
	if h.present[n] {
		return // the first one counts; addresses are read from all
	}
	h.present[n] = true
	_, value := splitField(field)
	if fieldFrom <= n && n <= fieldBcc {
		return
	}
	start := len(h.text)
	h.text = unfold(h.text, value)
	h.value[n] = h.text[start:len(h.text):len(h.text)]
}

// addresses calls yield for each address in the fields of that number, as
// long as left says.
func (h *headerFields) addresses(n, left int, yield func(*address)) {
	if !h.present[n] {
		return
	}
	r := &h.reader
	r.left, r.yield = left, yield
	HeaderField(h.header, fieldNames[n], func(value []byte) bool {
		h.built, h.unfolded = h.built[:0], unfold(h.unfolded[:0], value)
		r.lexer = lexer{s: h.unfolded, buf: &h.built}
		r.read()
		return r.left > 0
	})
}

// readType reads Content-Type. Without one, or with one that says nothing, it
// is plain text in US-ASCII (RFC 2045 §5.2).
func (h *headerFields) readType(digest bool) {
	l := lexer{s: h.value[fieldType], buf: &h.built}
	typ := l.token(true)
	if i := bytes.IndexByte(typ, '/'); i > 0 && i < len(typ)-1 {
		h.typ, h.subtype = upperName(typ[:i]), upperName(typ[i+1:])
		h.params = l.params(h.params)
		if string(h.typ) == "TEXT" && h.param("CHARSET") == nil {
			h.defaultCharset()
		}
		return
	}
	if digest && !h.present[fieldType] {
		h.typ, h.subtype = []byte("MESSAGE"), []byte("RFC822")
		return
	}
	h.typ, h.subtype = []byte("TEXT"), []byte("PLAIN")
	h.defaultCharset()
}

// defaultCharset says what RFC 2046 §4.1.2 says of text without a charset.
func (h *headerFields) defaultCharset() {
	h.params = append(h.params, param{name: []byte("CHARSET"), value: []byte("US-ASCII")})
}

func (h *headerFields) readDisposition() {
	l := lexer{s: h.value[fieldDisposition], buf: &h.built}
	h.disposition = upperName(l.token(false))
	if len(h.disposition) > 0 {
		h.dispParams = l.params(h.dispParams)
	}
}

func (h *headerFields) readLanguages() {
	l := lexer{s: h.value[fieldLanguage], buf: &h.built}
	for len(h.languages) < maxLanguages {
		if tag := l.token(false); len(tag) > 0 {
			h.languages = append(h.languages, tag)
		}
		if !l.after(',') {
			return
		}
	}
}

// withoutBlanks takes out white space, which in a URI is of the folding (RFC
// 2557 §4.4.1).
func withoutBlanks(b []byte) []byte {
	if !bytes.ContainsAny(b, " \t") {
		return b
	}
	return bytes.Join(bytes.Fields(b), nil)
}

// param is the value of a parameter of the content type.
func (h *headerFields) param(name string) []byte {
	for i := range h.params {
		if p := &h.params[i]; string(p.name) == name {
			if p.extended {
				return p.decoded
			}
			return p.value
		}
	}
	return nil
}
