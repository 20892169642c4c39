package mail

import "bytes"

// A leaf measures the body of a part: how long it is without its transfer
// encoding, and in text, how many line feeds lack their carriage return.
type leaf struct {
	encoding transferEncoding
	text     bool
	decoder  transfer
	buf      []byte
	octets   int64
	lf, crlf int64
	cr       bool    // the last octet was a carriage return
	held     [2]byte // a line end that may be a delimiter's
	heldN    int
}

const leafBuffer = 4 << 10

func (l *leaf) begin(e transferEncoding, text bool) {
	*l = leaf{encoding: e, text: text, decoder: l.decoder, buf: l.buf}
	l.decoder.reset(e)
	if l.buf == nil {
		l.buf = make([]byte, 0, leafBuffer+maxHeldQuoted)
	}
}

func (l *leaf) write(b []byte) {
	switch l.encoding {
	case encIdentity:
		if l.text {
			l.countLines(b)
		}
	case encBase64, encQuoted:
		l.hold(b)
	}
}

// hold feeds b but for a line end that it ends in.
func (l *leaf) hold(b []byte) {
	if l.heldN == 1 && l.held[0] == '\r' && string(b) == "\n" {
		l.held[1], l.heldN = '\n', 2
		return
	}
	l.feed(l.held[:l.heldN])
	n := len(b)
	if n > 0 && b[n-1] == '\n' {
		n--
	}
	if n > 0 && b[n-1] == '\r' {
		n--
	}
	l.feed(b[:n])
	l.heldN = copy(l.held[:], b[n:])
}

func (l *leaf) feed(b []byte) {
	if l.encoding == encBase64 && !l.text {
		l.octets += l.decoder.base64.count(b)
		return
	}
	for len(b) > 0 {
		n := min(len(b), leafBuffer)
		l.count(l.decoder.append(l.buf[:0], b[:n]))
		b = b[n:]
	}
}

// count takes decoded octets.
func (l *leaf) count(b []byte) {
	l.octets += int64(len(b))
	if l.text {
		l.countLines(b)
	}
}

var lineEnd = []byte("\r\n")

func (l *leaf) countLines(b []byte) {
	if len(b) == 0 {
		return
	}
	l.lf += int64(bytes.Count(b, lineFeed))
	l.crlf += int64(bytes.Count(b, lineEnd))
	if l.cr && b[0] == '\n' {
		l.crlf++
	}
	l.cr = b[len(b)-1] == '\r'
}

// finish ends a body of size octets, behind which eol octets that were written
// belong to a delimiter. It gives the decoded octets and the line feeds alone
// among them.
func (l *leaf) finish(eol, size int64) (decoded, bare int64) {
	switch l.encoding {
	case encUnknown:
		return -1, 0
	case encIdentity:
		switch {
		case !l.text:
		case eol == 1:
			l.lf--
		case eol == 2:
			l.lf, l.crlf = l.lf-1, l.crlf-1
		}
		return size, l.lf - l.crlf
	}
	if eol == 0 {
		l.feed(l.held[:l.heldN])
	}
	l.heldN = 0
	if l.encoding == encBase64 && !l.text {
		l.octets += l.decoder.base64.countEnd()
	} else {
		l.count(l.decoder.finish(l.buf[:0]))
	}
	return l.octets, l.lf - l.crlf
}
