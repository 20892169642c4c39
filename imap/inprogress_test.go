package imap

import (
	"strings"
	"testing"

	"nestbox/imap/wire"
)

// TestInProgress: RFC 9585 §4 and its formal syntax. No transcript waits ten
// seconds for one.
func TestInProgress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		tag        string
		done, goal int
		off        bool
		want       string
	}{
		{"A001", 1, 175, false, `* OK [INPROGRESS ("A001" 1 175)] searched 1 of 175 messages`},
		{"A]1", 1, 175, false, `* OK [INPROGRESS (NIL 1 175)] searched 1 of 175 messages`},
		{"A001", 175, 175, false, `* OK [INPROGRESS ("A001" NIL NIL)] searched 175 of 175 messages`},
		{"A001", 1, 175, true, `* OK searched 1 of 175 messages`},
	} {
		var out strings.Builder
		tables, _ := newTables(nil)
		s := &session{srv: &Server{tables: tables}, w: wire.NewEncoder(&out), tag: tt.tag}
		if tt.off {
			s.off = extInProgress.bit
		}
		s.tellProgress("searched", tt.done, tt.goal)
		must(t, s.w.Flush())
		if got := strings.TrimSuffix(out.String(), "\r\n"); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
