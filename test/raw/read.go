package raw

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// Read reads one response. It returns the text up to the first literal, valid
// until the next Read; literals and what follows them are thrown away.
func (c *Conn) Read() ([]byte, error) {
	size, err := c.readLine(true)
	for err == nil && size >= 0 {
		if _, err = io.CopyN(io.Discard, c.r, size); err == nil {
			c.bytesIn += size
			size, err = c.readLine(false)
		}
	}
	return c.line, err
}

// A Response is a whole response: the literals follow their {n} in Text's order.
type Response struct {
	Text     string // all lines of it, joined
	Literals []string
}

// ReadWhole reads one response with its literals.
func (c *Conn) ReadWhole() (r Response, err error) {
	for {
		size, err := c.readLine(true)
		if err != nil {
			return r, err
		}
		r.Text += string(c.line)
		if size < 0 {
			return r, nil
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return r, err
		}
		c.bytesIn += size
		r.Literals = append(r.Literals, string(b))
	}
}

// DoWhole is Do for commands whose literals matter.
func (c *Conn) DoWhole(command string, untagged func(Response)) error {
	tag := c.Send(command)
	if err := c.Flush(); err != nil {
		return err
	}
	for {
		r, err := c.ReadWhole()
		if err != nil {
			return err
		}
		if len(r.Text) > len(tag) && r.Text[:len(tag)+1] == tag+" " {
			if rest := r.Text[len(tag)+1:]; len(rest) < 2 || rest[:2] != "OK" {
				return &StatusError{command, rest}
			}
			return nil
		}
		untagged(r)
	}
}

// longestTail is room for "{9223372036854775807+}\r\n".
const longestTail = 32

// readLine reads up to CRLF, into c.line if keep, and returns the size of the
// literal that the line announces, or -1.
func (c *Conn) readLine(keep bool) (literal int64, err error) {
	if keep {
		c.line = c.line[:0]
	}
	tail := c.tail[:0]
	for {
		part, err := c.r.ReadSlice('\n')
		c.bytesIn += int64(len(part))
		if keep {
			c.line = append(c.line, part...)
		}
		tail = append(tail, part[max(0, len(part)-longestTail):]...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return -1, err
		}
	}
	if keep {
		c.line = bytes.TrimRight(c.line, "\r\n")
	}
	c.tail = tail
	return literalSize(bytes.TrimRight(tail[max(0, len(tail)-longestTail):], "\r\n")), nil
}

// literalSize is the size of the literal announced at the end of a line,
// "{123}" or "{123+}", or -1.
func literalSize(line []byte) int64 {
	digits, ok := bytes.CutSuffix(line, []byte("}"))
	open := bytes.LastIndexByte(digits, '{')
	if !ok || open < 0 {
		return -1
	}
	n, err := strconv.ParseInt(string(bytes.TrimSuffix(digits[open+1:], []byte("+"))), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
