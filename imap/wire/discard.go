package wire

import (
	"bytes"
	"io"
)

// Discard swallows what is left of the command with its non-synchronizing
// literals, whatever their size, also those that come later in it. A
// synchronizing literal that was announced and not asked for ends the command:
// the client sends none of it (RFC 9051 §4.3).
//
// After a command that was read to its End it does nothing. Its error means
// that the connection is out of step, and has to be closed.
func (d *Decoder) Discard() error {
	if d.broken != nil {
		return d.broken
	}
	if d.clean {
		return nil
	}
	if err := d.discard(); err != nil {
		d.FailErr(err)
		d.broken = err
		return err
	}
	d.clean = true
	return nil
}

func (d *Decoder) discard() error {
	tail := d.seg
	var err error
	switch {
	case d.inLiteral:
		d.inLiteral = false
		if d.lit.waits() {
			return nil
		}
		if err = d.skip(d.lit.left); err == nil {
			tail, err = d.skipLine(true)
		}
	case d.tooLong:
		d.tooLong = false
		tail, err = d.skipLine(true)
	}
	for err == nil {
		n, nonSync, ok := announced(tail)
		if !ok || !nonSync {
			return nil
		}
		if err = d.skip(n); err == nil {
			tail, err = d.skipLine(true)
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// announced reports the literal that a line announces at its end. Its length is
// -1 if it is beyond number64: the client means to send one nevertheless.
func announced(line []byte) (n int64, nonSync, ok bool) {
	line = bytes.TrimRight(line, "\r")
	i := bytes.LastIndexByte(line, '{')
	if i < 0 || line[len(line)-1] != '}' {
		return 0, false, false
	}
	digits := line[i+1 : len(line)-1]
	if len(digits) > 0 && digits[len(digits)-1] == '+' {
		nonSync, digits = true, digits[:len(digits)-1]
	}
	if len(digits) == 0 {
		return 0, false, false
	}
	for _, c := range digits {
		if !isDigit(c) {
			return 0, false, false
		}
	}
	if n, ok = number(digits, maxNumber64); !ok {
		n = -1
	}
	return n, nonSync, true
}

// count adds n, a length of announced perhaps, to what was swallowed of this
// command.
func (d *Decoder) count(n int64) error {
	if n < 0 || n > Swallowed-d.swallowed {
		return &LimitError{What: "rejected command", Max: Swallowed}
	}
	d.swallowed += n
	return nil
}

// skip swallows n octets.
func (d *Decoder) skip(n int64) error {
	if err := d.count(n); err != nil {
		return err
	}
	for n > 0 {
		if d.at == d.end {
			if err := d.fill(); err != nil {
				return err
			}
		}
		m := min(n, int64(d.end-d.at))
		d.at += int(m)
		n -= m
	}
	return nil
}

// tailLength is room for "~{18446744073709551615+}" and more.
const tailLength = 64

// skipLine swallows a line of any length and returns its last octets, which
// may announce a literal. Quotes are as in line.
func (d *Decoder) skipLine(quotes bool) ([]byte, error) {
	var scan lineScanner
	tail := make([]byte, 0, 2*tailLength)
	for ended := false; !ended; {
		if d.at == d.end {
			if err := d.fill(); err != nil {
				return nil, err
			}
		}
		have := d.buf[d.at:d.end]
		for i, c := range have {
			if ended = scan.next(c) || c == '\n' && !quotes; ended {
				have = have[:i+1]
				break
			}
		}
		if err := d.count(int64(len(have))); err != nil {
			return nil, err
		}
		d.at += len(have)
		tail = append(tail, have[max(0, len(have)-tailLength):]...)
		tail = append(tail[:0], tail[max(0, len(tail)-tailLength):]...)
	}
	return bytes.TrimRight(tail, "\r\n"), nil
}
