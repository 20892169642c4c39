package mailfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// ownSender is the envelope's sender in the "From " lines that MboxWriter
// writes. Words with "+" before them tell the reader what an mbox can't say,
// so that an import brings back the same bytes:
//
//	+hN    the first N lines, Status and the like, were added by the export
//	+nolf  the message doesn't end with a line end; the one there was added
//	+raw   line ends are as they were stored, to be left alone
const ownSender = "nestbox"

const ownHost = "@localhost"

type ownMark struct {
	is    bool // the line was written here
	lines int
	noLF  bool
	raw   bool
}

func (o ownMark) sender() string {
	s := ownSender
	if o.lines > 0 {
		s += "+h" + strconv.Itoa(o.lines)
	}
	if o.noLF {
		s += "+nolf"
	}
	if o.raw {
		s += "+raw"
	}
	return s + ownHost
}

func parseOwn(sender string) (o ownMark) {
	s, ok := strings.CutSuffix(sender, ownHost)
	if !ok {
		return o
	}
	words := strings.Split(s, "+")
	if words[0] != ownSender {
		return o
	}
	for _, w := range words[1:] {
		n, err := strconv.Atoi(strings.TrimPrefix(w, "h"))
		switch {
		case w == "nolf":
			o.noLF = true
		case w == "raw":
			o.raw = true
		case err == nil && w[0] == 'h' && n > 0 && n <= 3:
			o.lines = n
		default:
			return ownMark{} // not ours after all
		}
	}
	o.is = true
	return o
}

// Stored is a stored message that is to be written.
type Stored struct {
	Flags []imap.Flag
	Date  time.Time
	Size  int64
	// ID and UID tell the message from all others of the mailbox.
	ID  string
	UID uint32
	// Mixed: lines end otherwise than with one CRLF, so that nothing is to be
	// changed (lines.go). NoFinalLF: it doesn't end with LF.
	Mixed, NoFinalLF bool
}

// LineEnds says how an export ends lines (lines.go).
type LineEnds bool

// The line ends of an export.
const (
	LF       LineEnds = false // as other programs expect them in files
	AsStored LineEnds = true  // CRLF mostly
)

// An MboxWriter writes an mbox in the variant mboxrd.
type MboxWriter struct {
	w    *bufio.Writer
	ends LineEnds
}

// NewMboxWriter writes to w. Flush it at the end.
func NewMboxWriter(w io.Writer, ends LineEnds) *MboxWriter {
	return &MboxWriter{w: bufio.NewWriterSize(w, 64<<10), ends: ends}
}

// Flush writes what is buffered.
func (mw *MboxWriter) Flush() error { return mw.w.Flush() }

// Message writes one message. Its flags go into header fields in front of its
// own, unless its own say the same.
func (mw *MboxWriter) Message(s *Stored, body io.Reader) error {
	in := bufio.NewReaderSize(body, maxHeader)
	header, err := in.Peek(maxHeader)
	if len(header) == 0 && err != nil && err != io.EOF {
		return err
	}
	mark := ownMark{noLF: s.NoFinalLF, raw: s.Mixed}
	var lines []string
	if !sameFlags(headerFlags(header), s.Flags) {
		lines = statusFields(s.Flags)
		mark.lines = len(lines)
	}
	fmt.Fprintf(mw.w, "From %s %s\n", mark.sender(), s.Date.UTC().Format(time.ANSIC))
	end := "\n"
	if mw.ends == AsStored && !s.Mixed && bytes.Contains(header, []byte("\r\n")) {
		end = "\r\n"
	}
	for _, l := range lines {
		mw.w.WriteString(l + end)
	}
	quote := &fromQuoter{w: mw.w, atStart: true}
	if err := copyLines(quote, in, s.Mixed || mw.ends == AsStored); err != nil {
		return err
	}
	if err := quote.flush(); err != nil {
		return err
	}
	if s.NoFinalLF {
		mw.w.WriteByte('\n')
	}
	return mw.w.WriteByte('\n') // the error of any write before sticks
}

// copyLines copies a message with the line ends of an export.
func copyLines(w io.Writer, body io.Reader, asStored bool) error {
	if asStored {
		_, err := io.Copy(w, body)
		return err
	}
	lf := &lfWriter{w: w}
	if _, err := io.Copy(lf, body); err != nil {
		return err
	}
	return lf.flush()
}

// fromQuoter puts ">" before lines that begin with "From ", ">From " and so on.
type fromQuoter struct {
	w       *bufio.Writer
	atStart bool
	held    []byte // the beginning of a line that may have to be quoted
	quotes  int    // of held
}

var fromWord = []byte("From ")

func (q *fromQuoter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if !q.atStart {
			i := bytes.IndexByte(rest, '\n') + 1
			q.atStart = i > 0
			if i == 0 {
				i = len(rest)
			}
			if _, err := q.w.Write(rest[:i]); err != nil {
				return 0, err
			}
			rest = rest[i:]
			continue
		}
		c := rest[0]
		word := len(q.held) - q.quotes // bytes of fromWord that fit already
		switch {
		case c == '>' && word == 0 && q.quotes < maxHeader:
			q.quotes++
			q.held = append(q.held, c)
			rest = rest[1:]
			continue
		case c == fromWord[word]:
			q.held = append(q.held, c)
			rest = rest[1:]
			if word+1 < len(fromWord) {
				continue
			}
			if err := q.w.WriteByte('>'); err != nil {
				return 0, err
			}
		}
		// Decided. c itself, if it wasn't taken, goes the plain way, which
		// also sees whether it ends the line.
		q.atStart = false
		if err := q.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// flush writes what is held of a line.
func (q *fromQuoter) flush() error {
	_, err := q.w.Write(q.held)
	q.held, q.quotes = q.held[:0], 0
	return err
}
