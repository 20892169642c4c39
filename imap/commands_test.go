package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSelect(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.login()
	c.append("INBOX", `(\Seen) `, smallMessage)
	c.append("INBOX", `($Work) "17-Jul-1996 02:44:25 -0700" `, smallMessage)
	lines := c.ok("SELECT inbox")
	wantLines(t, lines, `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)`, "* 2 EXISTS", "* 2 RECENT", "* OK [UNSEEN 2]",
		"* OK [UIDVALIDITY ", "* OK [UIDNEXT 3]", `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)]`)
	if contains(lines, "* LIST") || contains(lines, "CLOSED") {
		t.Errorf("%q", lines)
	}
	other := b.login()
	lines = other.ok("SELECT INBOX")
	wantLines(t, lines, "* 0 RECENT") // the first session has them
	lines = other.ok("EXAMINE INBOX")
	wantLines(t, lines, "* OK [CLOSED]", "* OK [PERMANENTFLAGS ()]")
	if _, status := other.do("EXAMINE INBOX"); !strings.HasPrefix(status, "OK [READ-ONLY]") {
		t.Error(status)
	}
	other.fails(`STORE 1 +FLAGS (\Deleted)`, "NO")
	other.fails("EXPUNGE", "NO [READ-ONLY]")
	other.fails("MOVE 1 Sent", "NO [READ-ONLY]")
	c.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.ok("CLOSE") // fault G12: no expunge after EXAMINE
	wantLines(t, c.ok("STATUS INBOX (MESSAGES DELETED SIZE RECENT UIDNEXT UNSEEN)"),
		fmt.Sprintf("* STATUS INBOX (MESSAGES 2 DELETED 1 SIZE %d RECENT 0 UIDNEXT 3 UNSEEN 1)", 2*len(smallMessage)))
	if lines := c.ok("CLOSE"); len(lines) != 0 {
		t.Errorf("CLOSE says %q", lines)
	}
	wantLines(t, c.ok("STATUS INBOX (MESSAGES)"), "(MESSAGES 1)")
	c.fails("SELECT Nowhere", "NO [NONEXISTENT]")
	c.ok("SELECT INBOX")
	c.fails("SELECT Nowhere", "NO [NONEXISTENT]")
	c.fails("EXPUNGE", "BAD") // none is selected after a SELECT that failed
	c.fails("CLOSE", "BAD")
}

func TestRev2(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.login()
	c.append("INBOX", "", smallMessage)
	wantLines(t, c.ok("ENABLE IMAP4rev2 NONSENSE"), "* ENABLED IMAP4rev2")
	if lines := c.ok("ENABLE IMAP4REV2"); !slices.Equal(lines, []string{"* ENABLED"}) {
		t.Errorf("%q", lines)
	}
	c.ok("CREATE \"Entw\u00fcrfe & mehr\"")
	wantLines(t, c.ok(`LIST "" "Entw*"`), "\"Entw\u00fcrfe & mehr\"")
	lines := c.ok("SELECT INBOX")
	wantLines(t, lines, `* LIST () "/" INBOX`)
	if contains(lines, "RECENT") || contains(lines, "UNSEEN") {
		t.Errorf("%q", lines)
	}
	// A name that isn't NFC is normalized, and the client is told.
	wantLines(t, c.ok("CREATE \"u\u0308\""), "* LIST () \"/\" \"\u00fc\" (\"OLDNAME\" (\"u\u0308\"))")
	old := b.login()
	wantLines(t, old.ok(`LIST "" Entw*`), `"Entw&APw-rfe &- mehr"`)
	old.ok(`CREATE "Tom &- Jerry"`)
	old.fails(`CREATE "Tom & Jerry"`, "BAD")
	other := b.login()
	other.ok("SELECT INBOX")
	other.ok(`STORE 1 +FLAGS (\Flagged)`)
	wantLines(t, c.ok("NOOP"), `* 1 FETCH (UID 1 FLAGS (\Flagged))`) // RFC 9051 §7.5.2: with the UID
}

func TestMailboxes(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.login()
	c.ok("CREATE a/b/c/")
	c.ok("CREATE a/b")
	c.fails("CREATE a/b", "NO [ALREADYEXISTS]")
	c.fails("CREATE inbox", "NO [ALREADYEXISTS]")
	c.fails("CREATE a//b", "NO [CANNOT]")
	c.fails("CREATE {3+}\r\na\x01b", "BAD")
	c.fails("CREATE "+strings.Repeat("x", 1001), "NO [CANNOT]")
	c.fails("DELETE inbox", "NO [CANNOT]")
	c.fails("DELETE a", "NO [NONEXISTENT]")
	c.fails(`CREATE x (USE (\Sent))`, "NO [USEATTR]")
	c.fails(`CREATE x (USE (\All))`, "NO [USEATTR]")
	c.fails(`CREATE x (COLOUR (red))`, "BAD")
	c.ok("DELETE Sent")
	c.ok(`CREATE x (USE (\Sent))`)
	wantLines(t, c.ok(`LIST (SPECIAL-USE) "" *`), `* LIST (\Sent \HasNoChildren) "/" x`)
	wantLines(t, c.ok(`LIST "" %`), `* LIST (\Noselect \HasChildren) "/" a`)
	c.ok("DELETE a/b") // keeps a/b/c
	wantLines(t, c.ok(`LIST "" a*`), `* LIST (\HasNoChildren) "/" a/b/c`)
	c.ok("RENAME a z/y")
	wantLines(t, c.ok(`LIST "" z/*`), `"/" z/y/b/c`)
	c.fails("RENAME nowhere x1", "NO [NONEXISTENT]")
	c.fails("RENAME z/y/b/c x", "NO [ALREADYEXISTS]")
	c.ok("SUBSCRIBE z/y/b/c")
	c.ok("UNSUBSCRIBE neverwas")
	c.fails("SUBSCRIBE neverwas", "NO [NONEXISTENT]")
	wantLines(t, c.ok(`LSUB "" *`), `* LSUB () "/" z/y/b/c`)
	wantLines(t, c.ok(`LSUB "" %`), `* LSUB (\Noselect) "/" z`)
	c.ok("DELETE z/y/b/c")
	wantLines(t, c.ok(`LSUB "" z*`), `* LSUB (\Noselect) "/" z/y/b/c`)
	wantLines(t, c.ok(`LIST (SUBSCRIBED) "" z*`), `* LIST (\Subscribed \NonExistent \HasNoChildren) "/" z/y/b/c`)
	if lines := c.ok(`LIST "" z*`); len(lines) != 0 {
		t.Errorf("a subscription is listed: %q", lines)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.login()
	for _, name := range []string{"Fruit", "Fruit/Apple", "Fruit/Banana", "Vegetable/Corn"} {
		c.ok("CREATE " + name)
	}
	for _, name := range []string{"Drafts", "Sent", "Archive", "Junk", "Trash"} {
		c.ok("UNSUBSCRIBE " + name)
	}
	c.ok("SUBSCRIBE Fruit/Banana")
	for _, tt := range []struct {
		args string
		want []string
	}{
		{`"" ""`, []string{`(\Noselect) "/" ""`}},
		{`Fruit/ %`, []string{`(\HasNoChildren) "/" Fruit/Apple`, `(\HasNoChildren) "/" Fruit/Banana`}},
		{`() "" ""`, nil},
		{`"" (inbox "Veg%" "Fruit/A*")`, []string{`(\HasNoChildren) "/" INBOX`, `(\HasNoChildren) "/" Fruit/Apple`, `(\NonExistent \HasChildren) "/" Vegetable`}},
		{`(SUBSCRIBED) "" *`, []string{`(\Subscribed \HasNoChildren) "/" INBOX`, `(\Subscribed \HasNoChildren) "/" Fruit/Banana`}},
		{`(SUBSCRIBED RECURSIVEMATCH) "" %`, []string{`(\Subscribed \HasNoChildren) "/" INBOX`, `(\HasChildren) "/" Fruit ("CHILDINFO" ("SUBSCRIBED"))`}},
		{`(SUBSCRIBED RECURSIVEMATCH) "" *`, []string{`(\Subscribed \HasNoChildren) "/" INBOX`, `(\Subscribed \HasNoChildren) "/" Fruit/Banana`}},
		{`(REMOTE) "" Fruit RETURN (CHILDREN SUBSCRIBED)`, []string{`(\HasChildren) "/" Fruit`}},
		{`"" Fruit/Banana RETURN (SUBSCRIBED)`, []string{`(\Subscribed \HasNoChildren) "/" Fruit/Banana`}},
	} {
		var want []string
		for _, w := range tt.want {
			want = append(want, "* LIST "+w)
		}
		if got := c.ok("LIST " + tt.args); !slices.Equal(got, want) {
			t.Errorf("LIST %s:\n%q, want\n%q", tt.args, got, want)
		}
	}
	wantLines(t, c.ok(`LIST "" % RETURN (STATUS (MESSAGES UIDNEXT))`), `"/" Fruit`, "* STATUS Fruit (MESSAGES 0 UIDNEXT 1)")
	c.fails(`LIST (RECURSIVEMATCH) "" *`, "BAD")
	c.fails(`LIST (NONSENSE) "" *`, "BAD")
	c.fails(`LIST "" * RETURN (NONSENSE)`, "BAD")
	c.fails(`LIST "" * RETURN (STATUS ())`, "BAD")
	// Fault G11: seven wildcards took 45 s.
	c.ok("CREATE " + strings.Repeat("a", 60))
	start := time.Now()
	c.ok(`LIST "" ` + strings.Repeat("*a", 400) + "*b")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c := b.login()
	if status := c.append("INBOX", "", smallMessage); !strings.Contains(status, " 1] ") || !strings.HasPrefix(status, "OK [APPENDUID ") {
		t.Error(status)
	}
	// A synchronizing literal that is refused is never asked for.
	c.fails("APPEND Nowhere {10}", "NO [TRYCREATE]")
	c.fails("APPEND INBOX {2000000}", "NO [TOOBIG]")
	tag := c.start(fmt.Sprintf("APPEND INBOX {%d}", len(smallMessage)))
	c.expect("+ ")
	c.send(smallMessage + "\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "OK") {
		t.Error(status)
	}
	// Fault G8: the bytes of a rejected literal never run.
	inside := "x1 CREATE injected\r\n"
	for _, command := range []string{
		fmt.Sprintf("APPEND Nowhere {%d+}\r\n%s", len(inside), inside),
		fmt.Sprintf("APPEND INBOX {2000000+}\r\n%s", strings.Repeat(inside, 100000)),
		fmt.Sprintf("APPEND INBOX (\\Recent) {%d+}\r\n%s", len(inside), inside),
		fmt.Sprintf("NONSENSE {%d+}\r\n%s", len(inside), inside),
		fmt.Sprintf("APPEND INBOX {%d+}\r\n%s trailing", len(inside), inside),
	} {
		if _, status := c.do(command); strings.HasPrefix(status, "OK") {
			t.Errorf("%.40s: %s", command, status)
		}
	}
	c.fails("APPEND INBOX {0+}\r\n", "NO")
	c.ok("SELECT INBOX")
	wantLines(t, c.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 2")
	if lines := c.ok(`LIST "" injected`); len(lines) > 0 {
		t.Error("a command inside a literal was run")
	}
	// To the selected mailbox: told at once. With NUL, as literal8.
	tag = c.start("APPEND INBOX ~{5+}\r\na\x00b\r\n")
	lines, _ := c.finish(tag)
	wantLines(t, lines, "* 3 EXISTS")
}

func TestIdle(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c, other := b.login(), b.login()
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	tag := c.start("IDLE")
	c.expect("+ ")
	other.append("INBOX", "", smallMessage)
	c.expect("* 1 EXISTS")                                     // at once: nobody polls
	if line := c.line(); !strings.HasSuffix(line, " RECENT") { // 1 or 0: one of the two was first
		t.Errorf("%q", line)
	}
	other.ok(`STORE 1 +FLAGS (\Deleted)`)
	c.expect(`* 1 FETCH (FLAGS (\Deleted`)
	other.ok("EXPUNGE")
	c.expect("* 1 EXPUNGE")
	c.send("done\r\n") // fault G18
	if lines, status := c.finish(tag); !strings.HasPrefix(status, "OK") || len(lines) > 0 {
		t.Errorf("%q %s", lines, status)
	}
	tag = c.start("IDLE")
	c.expect("+ ")
	c.send("a7 NOOP\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "BAD") {
		t.Error(status)
	}
	c.send("b1 IDLE\r\nDONE\r\nb2 NOOP\r\n") // pipelined
	c.expect("+ ")
	c.expect("b1 OK")
	c.expect("b2 OK")
	c.start("IDLE")
	c.expect("+ ")
	c.conn.Close() // the goroutine ends: Shutdown waits for it
}

// TestDeletedUnderSession, RFC 2180 §3.
func TestDeletedUnderSession(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	setup := b.login()
	setup.ok("CREATE box")
	setup.append("box", "", smallMessage)
	own, active, idling, renamed := b.login(), b.login(), b.login(), b.login()
	for _, c := range []*testClient{own, active, idling} {
		c.ok("SELECT box")
	}
	idling.start("IDLE")
	idling.expect("+ ")
	renamed.ok("SELECT Archive")
	setup.ok("RENAME Archive Old/Archive")
	setup.append("Old/Archive", "", smallMessage)
	wantLines(t, renamed.ok("NOOP"), "* 1 EXISTS") // the session follows its mailbox
	renamed.ok("FETCH 1 FLAGS")
	wantLines(t, own.ok("DELETE box"), "* OK [CLOSED]")
	own.fails("FETCH 1 FLAGS", "BAD")
	if lines := idling.gone(); len(lines) != 1 || !strings.HasPrefix(lines[0], "* BYE") {
		t.Errorf("in IDLE: %q", lines)
	}
	active.start(`STORE 1 +FLAGS (\Seen)`)
	lines := active.gone()
	if len(lines) != 2 || !strings.Contains(lines[0], "NO [NONEXISTENT]") || !strings.HasPrefix(lines[1], "* BYE") {
		t.Errorf("active: %q", lines)
	}
}

// TestAccountDeleted: its sessions end at once.
func TestAccountDeleted(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	credential, err := testCredential()
	must(t, err)
	_, err = b.st.CreateAccount("bob", credential)
	must(t, err)
	one, two := b.dial(), b.dial()
	for _, c := range []*testClient{one, two} {
		c.ok(`LOGIN bob "` + testPassword + `"`)
	}
	one.ok("SELECT INBOX")
	must(t, b.st.DeleteAccount("bob"))
	for _, c := range []*testClient{one, two} {
		if lines := c.gone(); len(lines) != 1 || lines[0] != "* BYE the account was deleted" {
			t.Errorf("%q", lines)
		}
	}
}

// TestRenameInbox: INBOX's sessions stay and see all vanish.
func TestRenameInbox(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	c, other := b.login(), b.login()
	for range 3 {
		c.append("INBOX", "", smallMessage)
	}
	late := b.login() // is some changes behind when it happens
	late.ok("SELECT INBOX")
	c.ok("SELECT INBOX")
	c.ok(`STORE 2 +FLAGS (\Flagged)`)
	other.ok("RENAME INBOX old-mail")
	for _, c := range []*testClient{c, late} {
		lines := c.ok("NOOP")
		if want := []string{"* 3 EXPUNGE", "* 2 EXPUNGE", "* 1 EXPUNGE"}; !slices.Equal(lines, want) {
			t.Errorf("%q", lines)
		}
	}
	wantLines(t, other.ok("STATUS old-mail (MESSAGES UNSEEN)"), "(MESSAGES 3 UNSEEN 3)")
	other.append("INBOX", "", smallMessage)
	wantLines(t, c.ok("NOOP"), "* 1 EXISTS")
	wantLines(t, c.ok("FETCH 1 (UID)"), "* 1 FETCH (UID 4)")
}
