package imap

import (
	"fmt"
	"strings"
)

// extInProgress: how far a long command is, in numbers (RFC 9585).
var extInProgress = extension{
	name: "INPROGRESS", rfc: "RFC 9585", caps: []capability{{name: "INPROGRESS"}},
	progress: func(s *session, done, goal int) string {
		tag := `"` + s.tag + `"`
		if s.tag == "" || strings.Contains(s.tag, "]") { // RFC 9585 §4
			tag = "NIL"
		}
		if done < goal {
			return fmt.Sprintf("INPROGRESS (%s %d %d)", tag, done, goal)
		}
		return fmt.Sprintf("INPROGRESS (%s NIL NIL)", tag)
	},
}
