package imap

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"nestbox/imap/view"
	"nestbox/imap/wire"
	"nestbox/storage"
)

// TestContextLimits: results that are kept up to date are refused before they
// take much memory, a first one of SEARCH never is, and none outlives its mailbox.
func TestContextLimits(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	opened := func() *selection { return &selection{view: view.New(storage.Mailbox{UIDNext: 1}, storage.Blocks{})} }
	s := &session{w: wire.NewEncoder(&out), sel: opened()}
	every2nd := func(n int) (rs view.Ranges) {
		for i := range n {
			rs = append(rs, view.Range{Lo: imap.UID(2*i + 1), Hi: imap.UID(2*i + 1)})
		}
		return rs
	}
	refused := func(tag string, matches view.Ranges, sorted *sorting) bool {
		t.Helper()
		out.Reset()
		new(updateWanted).begin(s, &request{s: s, tag: tag}, &found{matches: matches}, sorted)
		if err := s.w.Flush(); err != nil {
			t.Fatal(err)
		}
		no := strings.HasPrefix(out.String(), `* NO [NOUPDATE "`+tag+`"] `)
		if n := s.contexts(); no == (n.find(tag) >= 0) {
			t.Errorf("%s: answered %q, kept: %v", tag, out.String(), !no)
		}
		return no
	}
	for _, c := range []struct {
		tag     string
		matches view.Ranges
		sorted  *sorting
		refused bool
	}{
		{"first", every2nd(maxContextRanges + 1), nil, false},
		{"second", every2nd(1), nil, true},
		{"none", nil, nil, true}, // there are too many already
	} {
		if got := refused(c.tag, c.matches, c.sorted); got != c.refused {
			t.Errorf("%s: refused %v", c.tag, got)
		}
	}
	s.sel = opened()
	if n := s.contexts(); n.find("first") >= 0 || n.all != nil {
		t.Error("what is of a mailbox that was left is still there")
	}
	order := &sorting{order: make([]imap.UID, maxContextOrder)}
	if refused("sorted", view.Ranges{{Lo: 1, Hi: maxContextOrder}}, order) {
		t.Error("the largest SORT that there may be is refused")
	}
	if !refused("another", view.Ranges{{Lo: 1, Hi: 1}}, &sorting{order: []imap.UID{1}}) {
		t.Error("a SORT beyond the limit is not refused")
	}
	if refused("plain", view.Ranges{{Lo: 1, Hi: 1}}, nil) {
		t.Error("a SEARCH is refused because a SORT is too large")
	}
}
