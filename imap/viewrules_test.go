package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nestbox/storage"
)

// TestViewRules are the rules of DESIGN.md §4 as cases.
func TestViewRules(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	setup := func(t *testing.T, box string, n int) (c, other *testClient) {
		c, other = b.login(), b.login()
		c.ok("CREATE " + box)
		for range n {
			c.append(box, "", smallMessage)
		}
		c.ok("SELECT " + box)
		other.ok("SELECT " + box)
		return c, other
	}
	expunge := func(c *testClient, uids string) {
		c.ok("UID STORE " + uids + ` +FLAGS.SILENT (\Deleted)`)
		c.ok("UID EXPUNGE " + uids)
	}
	t.Run("expunges are withheld", func(t *testing.T) {
		c, other := setup(t, "withheld", 3)
		expunge(other, "2")
		for _, command := range []string{"FETCH 1 FLAGS", `STORE 3 +FLAGS (\Seen)`, "SEARCH ALL"} {
			if lines := c.ok(command); contains(lines, "EXPUNGE") {
				t.Errorf("%s: %q", command, lines)
			}
		}
		// A kept row still answers FETCH, under its old number.
		wantLines(t, c.ok("FETCH 2 (UID)"), "* 2 FETCH (UID 2")
		if lines := c.ok("UID FETCH 3 (FLAGS)"); !contains(lines, "* 3 FETCH") || lines[len(lines)-1] != "* 2 EXPUNGE" {
			t.Errorf("UID FETCH: %q", lines)
		}
		wantLines(t, c.ok("FETCH 2 (UID)"), "* 2 FETCH (UID 3")
	})
	t.Run("flags are told while expunges are withheld", func(t *testing.T) {
		c, other := setup(t, "flagswithheld", 3)
		expunge(other, "1")
		other.ok(`UID STORE 3 +FLAGS (\Flagged)`)
		lines := c.ok("FETCH 2 (UID)")
		wantLines(t, lines, `* 3 FETCH (FLAGS (\Flagged`)
		if lines := c.ok("FETCH 2 (UID)"); contains(lines, "Flagged") {
			t.Errorf("told twice: %q", lines)
		}
		other.append("flagswithheld", "", smallMessage)
		wantLines(t, c.ok("FETCH 2 (UID)"), "* 4 EXISTS")
		if lines := c.ok("NOOP"); !slices.Equal(lines, []string{"* 1 EXPUNGE"}) {
			t.Errorf("%q", lines)
		}
	})
	t.Run("came and went", func(t *testing.T) {
		c, other := setup(t, "transient", 1)
		other.append("transient", "", smallMessage)
		expunge(other, "2")
		if lines := c.ok("NOOP"); len(lines) != 0 {
			t.Errorf("%q", lines)
		}
		other.append("transient", "", smallMessage)
		expunge(other, "3")
		other.append("transient", "", smallMessage)
		if lines := c.ok("NOOP"); lines[0] != "* 2 EXISTS" {
			t.Errorf("%q", lines)
		}
		wantLines(t, c.ok("FETCH 2 (UID)"), "(UID 4")
	})
	t.Run("copy and move of expunged", func(t *testing.T) {
		c, other := setup(t, "copies", 3)
		expunge(other, "2")
		c.fails("FETCH 4 UID", "BAD")
		tag := c.start("COPY 1:3 Sent")
		lines, status := c.finish(tag)
		if !strings.HasPrefix(status, "NO [EXPUNGEISSUED]") || !contains(lines, "* 2 EXPUNGE") {
			t.Errorf("%q %s", lines, status)
		}
		expunge(other, "3")
		c.fails("MOVE 1:2 Sent", "NO [EXPUNGEISSUED]")
		wantLines(t, c.ok("STATUS Sent (MESSAGES)"), "MESSAGES 0")
		other.append("copies", "", smallMessage)
		expunge(other, "1")
		c.ok("NOOP")
		expunge(other, "4")
		if _, status := c.do("UID COPY 4 Sent"); !strings.HasPrefix(status, "OK") || strings.Contains(status, "COPYUID") {
			t.Error(status)
		}
	})
	t.Run("store skips expunged", func(t *testing.T) {
		c, other := setup(t, "stores", 2)
		expunge(other, "1")
		lines, _ := c.do(`STORE 1:2 +FLAGS (\Answered)`) // OK or NO, RFC 2180 §4.2
		wantLines(t, lines, `* 2 FETCH (FLAGS (\Answered`)
		if contains(lines, "* 1 FETCH") || contains(lines, "EXPUNGE") {
			t.Errorf("%q", lines)
		}
	})
	t.Run("own silent store is not echoed", func(t *testing.T) {
		c, other := setup(t, "silent", 2)
		other.ok(`STORE 2 +FLAGS (\Flagged)`)
		lines := c.ok(`STORE 1 +FLAGS.SILENT (\Seen)`)
		if contains(lines, "* 1 FETCH") {
			t.Errorf("own change echoed: %q", lines)
		}
		wantLines(t, lines, `* 2 FETCH (FLAGS (\Flagged`)
		wantLines(t, other.ok("NOOP"), `* 1 FETCH (FLAGS (\Seen`)
		// A neighbour's change of the same message is told, although silent.
		other.ok(`STORE 1 +FLAGS (\Draft)`)
		wantLines(t, c.ok(`STORE 1 +FLAGS.SILENT (\Answered)`), `\Draft`)
	})
	t.Run("move tells COPYUID before EXPUNGE", func(t *testing.T) {
		c, other := setup(t, "moves", 3)
		lines := c.ok("MOVE 1,3 Trash")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "* OK [COPYUID ") || lines[1] != "* 3 EXPUNGE" || lines[2] != "* 1 EXPUNGE" {
			t.Errorf("%q", lines)
		}
		if lines := other.ok("NOOP"); !slices.Equal(lines, []string{"* 3 EXPUNGE", "* 1 EXPUNGE"}) {
			t.Errorf("%q", lines)
		}
		c.fails("MOVE 1 Nowhere", "NO [TRYCREATE]")
		c.fails("COPY 1 Nowhere", "NO [TRYCREATE]")
	})
	t.Run("new keywords are announced", func(t *testing.T) {
		c, other := setup(t, "keywords", 1)
		other.ok("STORE 1 +FLAGS (tea)")
		lines := c.ok("NOOP")
		if len(lines) != 3 || !strings.Contains(lines[0], "* FLAGS (") || !strings.Contains(lines[1], "PERMANENTFLAGS") || !strings.Contains(lines[2], "tea") {
			t.Errorf("%q", lines)
		}
		for i := range storage.MaxKeywords - 1 {
			other.ok(fmt.Sprintf("STORE 1 +FLAGS.SILENT (k%d)", i))
		}
		other.fails("STORE 1 +FLAGS (onemore)", "NO [LIMIT]")
		if lines := c.ok("NOOP"); contains(lines, `\*`) {
			t.Errorf("%q", lines)
		}
	})
}
