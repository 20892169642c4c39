package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestStore(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	for range 3 {
		r.add(plainMail)
	}
	c := r.client()
	const done = "OK STORE completed"
	c.want(`STORE 1 +FLAGS (\Flagged)`, `* 1 FETCH (FLAGS (\Flagged \Recent))`, done)
	c.want(`STORE 1 +flags \Seen \Flagged`, `* 1 FETCH (FLAGS (\Flagged \Seen \Recent))`, done)
	c.want(`STORE 1 -FLAGS (\Flagged)`, `* 1 FETCH (FLAGS (\Seen \Recent))`, done)
	c.want(`STORE 1 FLAGS (\Answered)`, `* 1 FETCH (FLAGS (\Answered \Recent))`, done)
	c.want(`STORE 1 FLAGS ()`, `* 1 FETCH (FLAGS (\Recent))`, done)
	c.want(`STORE 2:3 +FLAGS.SILENT (\Deleted)`, done)
	c.want(`UID STORE 3,1 +FLAGS (\Draft)`, `* 1 FETCH (UID 1 FLAGS (\Draft \Recent))`, `* 3 FETCH (UID 3 FLAGS (\Deleted \Draft \Recent))`, "OK UID STORE completed")
	c.want(`UID STORE 9 +FLAGS (\Draft)`, "OK UID STORE completed")
	c.want("NOOP", "OK NOOP completed")
	c.want(`STORE 4 +FLAGS (\Draft)`, "BAD...")
	c.want(`STORE 1 +FLAGS (\Recent)`, "BAD...")
	c.want(`STORE 1 FLAGS`, "BAD...")
	c.want(`STORE 1 *FLAGS (\Seen)`, "BAD...")
	c.want(`STORE 1 FLAGS.LOUD (\Seen)`, "BAD...")
	c.want(`STORE 1 (NOSUCH 3) FLAGS (\Seen)`, "BAD...")
	// A flag outside of PERMANENTFLAGS is ignored.
	c.want(`STORE 1 FLAGS (\Seen \Strange)`, `* 1 FETCH (FLAGS (\Seen \Recent))`, done)
	c.want("STORE 1 +FLAGS ("+strings.Repeat("k", 101)+")", "NO [LIMIT]...")
	reader := r.login()
	reader.ok("EXAMINE INBOX")
	reader.want(`STORE 1 +FLAGS (\Draft)`, "NO [READ-ONLY]...")
}

// New keywords are announced before a response has them.
func TestStoreKeywords(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.add(plainMail, imap.FlagSeen)
	c, other := r.client(), r.client()
	c.want(`STORE 1 +FLAGS ($Forwarded Work)`,
		`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded Work)`, "* OK [PERMANENTFLAGS (...",
		`* 1 FETCH (FLAGS (\Seen \Recent $Forwarded Work))`, "OK STORE completed")
	c.want(`STORE 1 -FLAGS (WORK)`, `* 1 FETCH (FLAGS (\Seen \Recent $Forwarded))`, "OK STORE completed")
	other.want("FETCH 1 FLAGS",
		`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded Work)`, "* OK [PERMANENTFLAGS (...",
		`* 1 FETCH (FLAGS (\Seen $Forwarded))`, `* 1 FETCH (FLAGS (\Seen $Forwarded))`, "OK FETCH completed")
	for i := range 57 {
		c.ok(fmt.Sprintf("STORE 1 +FLAGS.SILENT (k%d)", i))
	}
	c.want("STORE 1 +FLAGS (oneMore)", "NO [LIMIT]...")
	c.ok("STORE 1 -FLAGS (oneMore)")
	c.want(`STORE 1 FLAGS (K56 \Seen)`, `* 1 FETCH (FLAGS (\Seen \Recent k56))`, "OK STORE completed")
}

// A silent STORE is not echoed, a neighbour's change that it came upon is.
func TestStoreSilentNeighbour(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.add(plainMail)
	r.add(plainMail)
	r.add(plainMail)
	c, other := r.client(), r.client()
	other.ok(`STORE 1:2 +FLAGS (\Flagged)`)
	c.want(`STORE 2:3 +FLAGS.SILENT (\Seen)`,
		`* 2 FETCH (FLAGS (\Flagged \Seen \Recent))`, `* 1 FETCH (FLAGS (\Flagged \Recent))`, "OK STORE completed")
	c.want("NOOP", "OK NOOP completed")
	other.want("NOOP", `* 2 FETCH (FLAGS (\Flagged \Seen))`, `* 3 FETCH (FLAGS (\Seen))`, "OK NOOP completed")
}

// A STORE of more messages than a slice holds.
func TestStoreMany(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	const n = storeSlice + 300
	r.fill(n)
	c := r.client()
	if lines := c.ok("STORE 1:* +FLAGS (\\Seen)"); len(lines) != n {
		t.Errorf("%d responses", len(lines))
	}
	c.want("STORE 1:* +FLAGS.SILENT (\\Answered)", "OK STORE completed")
	c.want("NOOP", "OK NOOP completed")
	c.want("SEARCH RETURN (COUNT) ANSWERED SEEN", fmt.Sprintf(`* ESEARCH (TAG "a%d") COUNT %d`, c.tags+1, n), "OK SEARCH completed")
}
