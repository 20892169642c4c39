package imap

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"nestbox/imap/wire"
)

// extCompress: both directions go through DEFLATE (RFC 4978). It costs some 45
// KB a connection, of which the window that the client may reach back in is 32:
// the other direction keeps no window, but the last few KB that it sent.
var extCompress = extension{
	name: "COMPRESS", rfc: "RFC 4978",
	caps:     []capability{{name: "COMPRESS=DEFLATE", when: func(s *session) bool { return s.c.out == nil }}},
	commands: []*command{{name: "COMPRESS", state: loggedIn, flags: noSync, parse: parseCompress}},
}

const codeCompressionActive = "COMPRESSIONACTIVE"

func parseCompress(d *wire.Decoder, _ *request) runner {
	d.SP()
	if d.Word() != "DEFLATE" {
		d.Fail("DEFLATE")
	}
	d.End()
	return runFunc(runCompress)
}

// runCompress writes its own tagged line, the last that is not compressed.
func runCompress(s *session, r *request) (reply, error) {
	if s.c.out != nil {
		return reply{}, badCode(codeCompressionActive, "DEFLATE is on already")
	}
	if s.d.Buffered() > 0 { // RFC 4978 §3: the client waits
		return reply{}, bad("nothing may follow COMPRESS before its answer")
	}
	s.ok(r, reply{text: "DEFLATE active"})
	if err := s.w.Flush(); err != nil {
		return reply{}, &fatalError{err}
	}
	from := io.Reader(connStream{s.c})
	if s.c.in != nil {
		from = s.c.in
	}
	s.c.in = wire.NewInflater(from)
	s.c.out = &deflater{to: connStream{s.c}}
	return reply{}, errAnswered
}

// endCompression: what the client sends from here on is as before COMPRESS, and
// some of it may have come already.
func (c *conn) endCompression() {
	if z, ok := c.in.(*wire.Inflater); ok {
		c.in, c.out = nil, nil
		if rest := z.Rest(); len(rest) > 0 {
			c.in = io.MultiReader(bytes.NewReader(rest), connStream{c})
		}
	}
}

// A connStream is what is below the layers of a connection: TLS, or TCP.
type connStream struct{ c *conn }

func (s connStream) Read(p []byte) (int, error)  { return s.c.stream.Read(p) }
func (s connStream) Write(p []byte) (int, error) { return s.c.stream.Write(p) }

// deflateHistory is how much of what was sent the next piece may refer to.
const deflateHistory = 4 << 10

// A deflater compresses each piece by itself, but for references to the end of
// what came before, and flushes it.
type deflater struct {
	to   io.Writer
	tail []byte // the last octets, at most deflateHistory
}

var deflateBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (w *deflater) Write(p []byte) (int, error) {
	b := deflateBuffers.Get().(*bytes.Buffer)
	defer deflateBuffers.Put(b)
	b.Reset()
	if err := flate.StatelessDeflate(b, p, false, w.tail); err != nil {
		return 0, err
	}
	if _, err := w.to.Write(b.Bytes()); err != nil {
		return 0, err
	}
	if w.tail == nil {
		w.tail = make([]byte, 0, deflateHistory)
	}
	last := p[max(len(p)-deflateHistory, 0):]
	if over := len(w.tail) + len(last) - deflateHistory; over > 0 {
		w.tail = w.tail[:copy(w.tail, w.tail[over:])]
	}
	w.tail = append(w.tail, last...)
	return len(p), nil
}
