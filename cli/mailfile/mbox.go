package mailfile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// An mboxReader reads the messages of an mbox.
type mboxReader struct {
	r      *bufio.Reader
	at     io.ReaderAt // of the same bytes, nil if there is none
	off    int64       // of what r gives next
	format Format

	path  string // for errors
	from  string // the line that begins the next message, without its end
	next  bool   // from holds
	cur   mboxBody
	count int
}

// mboxBuffer holds the header that is looked at ahead of reading.
const mboxBuffer = 2 * maxHeader

func newMboxReader(path string, r io.Reader, at io.ReaderAt, format Format) *mboxReader {
	return &mboxReader{path: path, r: bufio.NewReaderSize(r, mboxBuffer), at: at, format: format}
}

// errNotMbox is what a file gets that doesn't begin as an mbox does.
var errNotMbox = errors.New(`not an mbox: it doesn't begin with "From "`)

// message returns the next message, or io.EOF. Its body is to be read before
// the next call.
func (m *mboxReader) message() (*Message, io.Reader, error) {
	if m.cur.m != nil {
		if _, err := io.Copy(io.Discard, &m.cur); err != nil {
			return nil, nil, err
		}
	}
	if !m.next {
		if err := m.firstLine(); err != nil {
			return nil, nil, err
		}
	}
	m.next = false
	m.count++
	from, _, _ := parseFromLine(m.from)
	own := parseOwn(from.sender)
	m.cur = mboxBody{m: m, own: own, left: -1, atStart: true}
	header := m.peekHeader()
	msg := &Message{Date: from.date, Flags: headerFlags(header)}
	if own.lines > 0 {
		msg.Flags = headerFlags(firstLines(header, own.lines))
		if err := m.skipLines(own.lines); err != nil {
			return nil, nil, err
		}
	}
	if msg.Date.IsZero() || !plausible(msg.Date) {
		msg.Date = headerDate(header)
	}
	if !own.is {
		m.cur.inHeader = true
		m.cur.left = m.contentLength(header)
		m.cur.header = len(header)
	}
	msg.asStored = own.raw
	if isFolderData(header) {
		return m.message()
	}
	var body io.Reader = &m.cur
	if own.noLF {
		body = &trimLF{r: bufio.NewReader(body)}
	}
	return msg, body, nil
}

// firstLine finds the line that begins the first message. Empty lines before
// it are harmless.
func (m *mboxReader) firstLine() error {
	for {
		line, err := m.line()
		if len(line) == 0 && err != nil {
			return err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			continue
		}
		if !strings.HasPrefix(text, "From ") {
			return &SourceError{m.path, errNotMbox}
		}
		m.from, m.next = text, true
		return nil
	}
}

// line reads a line with its end, or as much of it as fits into the buffer.
func (m *mboxReader) line() ([]byte, error) {
	line, err := m.r.ReadSlice('\n')
	m.off += int64(len(line))
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return line, err
}

func (m *mboxReader) skipLines(n int) error {
	for range n {
		if _, err := m.line(); err != nil {
			return m.cutOff(err)
		}
	}
	return nil
}

// peekHeader is the header that follows, with its empty line.
func (m *mboxReader) peekHeader() []byte {
	b, _ := m.r.Peek(maxHeader) // less at the end of the file
	for i := 0; i < len(b); {
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			break
		}
		line := b[i : i+end+1]
		i += end + 1
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return b[:i]
		}
		if _, exact, _ := parseFromLine(strings.TrimRight(string(line), "\r\n")); exact {
			return b[:i-len(line)] // the next message: this one has only a header
		}
	}
	return b
}

func firstLines(b []byte, n int) []byte {
	end := 0
	for range n {
		i := bytes.IndexByte(b[end:], '\n')
		if i < 0 {
			return b
		}
		end += i + 1
	}
	return b[:end]
}

// lookBehind is how many bytes after a body are looked at: two empty lines and
// "From ".
const lookBehind = 9

// contentLength is the length of the body if the header tells one that can be
// believed: where it ends, the file ends or a message begins. -1 for none.
func (m *mboxReader) contentLength(header []byte) int64 {
	if m.format == MboxRD || m.format == MboxO {
		return -1
	}
	value, ok := headerField(header, "Content-Length")
	if !ok || !bytes.HasSuffix(header, []byte("\n\n")) && !bytes.HasSuffix(header, []byte("\n\r\n")) {
		return -1
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	var after []byte
	end := int64(len(header)) + n
	switch {
	case m.at != nil:
		// From the last byte of the message on: that must be there.
		after = make([]byte, 1+lookBehind)
		k, err := m.at.ReadAt(after, m.off+end-1)
		if k == 0 || err != nil && !errors.Is(err, io.EOF) {
			return -1
		}
		after = after[1:k]
	case end+lookBehind <= mboxBuffer:
		b, _ := m.r.Peek(int(end) + lookBehind)
		if int(end) > len(b) {
			return -1
		}
		after = b[end:]
	case m.format == MboxCL || m.format == MboxCL2:
		return n // it can't be looked at, but the user says so
	default:
		return -1
	}
	for range 2 {
		after = bytes.TrimPrefix(bytes.TrimPrefix(after, []byte("\r")), []byte("\n"))
	}
	if len(after) == 0 || bytes.HasPrefix(after, []byte("From ")) {
		return n
	}
	return -1
}

// isFolderData tells the first message of c-client and Dovecot, which isn't mail.
func isFolderData(header []byte) bool {
	subject, _ := headerField(header, "Subject")
	if !strings.Contains(subject, "FOLDER INTERNAL DATA") {
		return false
	}
	_, x := headerField(header, "X-IMAP")
	_, base := headerField(header, "X-IMAPbase")
	return x || base
}

// mboxBody reads one message of an mbox as it was before it was put there.
type mboxBody struct {
	m       *mboxReader
	own     ownMark
	header  int   // bytes of the header that left doesn't count
	left    int64 // bytes of the body by Content-Length; -1: up to the next "From "
	atStart bool  // of a line
	// inHeader: other programs quote only in the body, this one everywhere.
	inHeader bool
	blank    []byte // an empty line, held back
	out      []byte // of the line under way
	done     bool
}

func (b *mboxBody) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.done {
			return 0, io.EOF
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// fill puts the next bytes into out.
func (b *mboxBody) fill() error {
	if b.left >= 0 {
		return b.fillCounted()
	}
	line, err := b.m.line()
	if len(line) == 0 {
		b.done = true // an empty line before the end of the file is no part
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	}
	start := b.atStart
	b.atStart = line[len(line)-1] == '\n'
	if start && b.atStart {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			// It may be the line between two messages: give out the one before.
			b.out, b.blank = b.blank, slices.Clone(line)
			b.inHeader = false
			return nil
		}
		if b.begins(line) {
			b.done = true
			return nil
		}
	}
	if start && !b.inHeader {
		line = b.unquote(line)
	}
	b.out = line
	if b.blank != nil {
		b.out = append(b.blank, line...)
		b.blank = nil
	}
	return nil
}

// begins tells whether a line begins the next message. After an empty line
// that is likely; without one the line's date must be exactly a date.
func (b *mboxBody) begins(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	text := strings.TrimRight(string(line), "\r\n")
	_, exact, ok := parseFromLine(text)
	if !exact && (!ok || b.blank == nil) {
		return false
	}
	b.m.from, b.m.next = text, true
	return true
}

// fillCounted reads the header and then exactly left bytes.
func (b *mboxBody) fillCounted() error {
	if b.header > 0 {
		part, err := b.m.r.Peek(b.header)
		if err != nil {
			return b.m.cutOff(err)
		}
		b.out = slices.Clone(part)
		_, err = b.m.r.Discard(b.header)
		b.m.off += int64(b.header)
		b.header = 0
		return err
	}
	if b.left == 0 {
		b.done = true
		return b.skipToFrom()
	}
	piece, err := b.m.r.Peek(int(min(b.left, maxHeader)))
	if len(piece) == 0 {
		return b.m.cutOff(err)
	}
	if b.m.format == MboxCL {
		if i := bytes.IndexByte(piece, '\n'); i >= 0 {
			piece = piece[:i+1]
		}
		b.out = piece
		if b.atStart {
			b.out = b.unquote(piece)
		}
		b.atStart = piece[len(piece)-1] == '\n'
	} else {
		b.out = piece
	}
	b.left -= int64(len(piece))
	b.m.off += int64(len(piece))
	_, err = b.m.r.Discard(len(piece)) // piece stays as it is until the next read
	return err
}

// skipToFrom reads the empty lines after a body of known length.
func (b *mboxBody) skipToFrom() error {
	err := b.m.firstLine()
	if errors.Is(err, io.EOF) {
		return nil // the next call of message finds it again
	}
	return err
}

// unquote takes the ">" that the format puts before "From ".
func (b *mboxBody) unquote(line []byte) []byte {
	quotes := 0
	for quotes < len(line) && line[quotes] == '>' {
		quotes++
	}
	if quotes == 0 || !bytes.HasPrefix(line[quotes:], []byte("From ")) {
		return line
	}
	if quotes > 1 && (b.m.format == MboxO || b.m.format == MboxCL) {
		return line
	}
	return line[1:]
}

// trimLF leaves out a line end at the very end.
type trimLF struct{ r *bufio.Reader }

func (t *trimLF) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 && p[n-1] == '\n' {
		if _, end := t.r.Peek(1); errors.Is(end, io.EOF) {
			n, err = n-1, io.EOF
		}
	}
	return n, err
}

// cutOff makes the end of the file within a message an error.
func (m *mboxReader) cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return &SourceError{m.path, io.ErrUnexpectedEOF}
	}
	return err
}
