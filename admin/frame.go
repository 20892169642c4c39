package admin

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Messages go over the socket as frames: a line of JSON, and after a message's
// line its bytes in pieces, each with its length before it (u32, big-endian);
// an empty piece ends the message, and one of length cutPiece says that the
// sender couldn't read on. The sender needs to know no sizes, and a
// stream without its end frame was cut off.

// frame is the line of JSON; one field is set.
type frame struct {
	Message *Message     `json:"message,omitempty"` // its bytes follow
	Mailbox string       `json:"mailbox,omitempty"` // import: make it
	Stats   *ImportStats `json:"stats,omitempty"`   // import: so far
	Refused *Error       `json:"refused,omitempty"` // import: a message, named by Source
	Source  string       `json:"source,omitempty"`
	Note    string       `json:"note,omitempty"`
	Error   *Error       `json:"failed,omitempty"`
	End     bool         `json:"end,omitempty"`
}

const (
	// maxFrameLine bounds the line of JSON.
	maxFrameLine = 256 << 10
	// maxPiece bounds a piece of a message.
	maxPiece = 64 << 10
	// cutPiece is the length that stands for an error of the sender's source.
	cutPiece = 1<<32 - 1
)

type frameWriter struct {
	w   *bufio.Writer
	buf []byte // of pieces, 4 bytes for the length before them
}

func newFrameWriter(w io.Writer) *frameWriter {
	return &frameWriter{w: bufio.NewWriterSize(w, 32<<10)}
}

func (fw *frameWriter) write(f *frame) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if _, err := fw.w.Write(append(line, '\n')); err != nil {
		return err
	}
	if f.End {
		return fw.w.Flush()
	}
	return nil
}

// message writes a message's frame and its bytes. An error of body is told to
// the other side, and returned as a *SourceError; the next frame may follow.
func (fw *frameWriter) message(m *Message, body io.Reader) error {
	if err := fw.write(&frame{Message: m}); err != nil {
		return err
	}
	if fw.buf == nil {
		fw.buf = make([]byte, 4+maxPiece)
	}
	for {
		n, err := body.Read(fw.buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(fw.buf, uint32(n))
			if _, werr := fw.w.Write(fw.buf[:4+n]); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			_, err = fw.w.Write([]byte{0, 0, 0, 0})
			return err
		}
		if err != nil {
			if _, werr := fw.w.Write([]byte{0xFF, 0xFF, 0xFF, 0xFF}); werr != nil {
				return werr
			}
			var src *SourceError
			if !errors.As(err, &src) {
				err = &SourceError{err}
			}
			return err
		}
	}
}

type frameReader struct {
	r *bufio.Reader
	p pieceReader
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 32<<10)}
}

// next reads the next frame. What the caller left of a message is skipped.
func (fr *frameReader) next() (*frame, error) {
	if fr.p.r != nil {
		var src *SourceError
		if _, err := io.Copy(io.Discard, &fr.p); err != nil && !errors.As(err, &src) {
			return nil, err
		}
	}
	var line []byte
	for {
		part, err := fr.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the end frame is missing
			}
			return nil, err
		}
		if len(line) > maxFrameLine {
			return nil, fmt.Errorf("%w: line of more than %d bytes", errWrongUse, maxFrameLine)
		}
	}
	f := new(frame)
	if err := json.Unmarshal(line, f); err != nil {
		return nil, fmt.Errorf("%w: %w", errWrongUse, err)
	}
	return f, nil
}

// body is the reader of the message whose frame was read last.
func (fr *frameReader) body() io.Reader {
	fr.p = pieceReader{r: fr.r}
	return &fr.p
}

// errSenderSource is all that the receiver knows of an error of the source.
var errSenderSource = errors.New("the other side could not read the message")

// pieceReader reads the pieces of one message.
type pieceReader struct {
	r    *bufio.Reader
	left uint32 // of the piece
	done bool
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if p.done {
		return 0, io.EOF
	}
	if len(b) == 0 {
		return 0, nil
	}
	if p.left == 0 {
		var head [4]byte
		if _, err := io.ReadFull(p.r, head[:]); err != nil {
			return 0, cutOff(err)
		}
		p.left = binary.BigEndian.Uint32(head[:])
		if p.left == 0 {
			p.done = true
			return 0, io.EOF
		}
		if p.left == cutPiece {
			p.done, p.left = true, 0
			return 0, &SourceError{errSenderSource}
		}
		if p.left > maxPiece {
			return 0, fmt.Errorf("%w: piece of %d bytes", errWrongUse, p.left)
		}
	}
	n, err := p.r.Read(b[:min(len(b), int(p.left))])
	p.left -= uint32(n)
	return n, cutOff(err)
}

// cutOff makes the end of the stream within a message an error.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
