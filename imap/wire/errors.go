package wire

import (
	"fmt"
	"strconv"
)

// A SyntaxError says what the grammar wanted and did not get.
type SyntaxError struct {
	Offset int64  // in the command, from the first octet of the tag
	Want   string // a rule of the grammar, or the octet in quotes
	Near   string // what stands there instead; empty before login, where it may be a password
}

func (e *SyntaxError) Error() string {
	s := "want " + e.Want + " at offset " + strconv.FormatInt(e.Offset, 10)
	if e.Near != "" {
		s += " near " + strconv.QuoteToASCII(e.Near)
	}
	return s
}

// A LimitError says which limit a command passes.
type LimitError struct {
	What string
	Max  int64
	Unit string // "bytes" if empty
}

func (e *LimitError) Error() string {
	unit := e.Unit
	if unit == "" {
		unit = "bytes"
	}
	return fmt.Sprintf("%s of more than %d %s", e.What, e.Max, unit)
}
