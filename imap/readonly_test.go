package imap

import (
	"slices"
	"strings"
	"testing"

	"nestbox/auth"
)

// TestReadOnlyLogin: an app password that only reads changes nothing, by whatever
// command, and leaves no \Seen and no \Recent behind.
func TestReadOnlyLogin(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	password, err := auth.AddAppPassword(b.st, b.account.ID(), "backup", auth.ScopeIMAP|auth.ScopeReadOnly)
	must(t, err)
	owner := b.dial()
	owner.ok(`LOGIN ann "` + testPassword + `"`)
	owner.ok("APPEND INBOX {5+}\r\na: b\n")
	owner.ok("CREATE Folder")
	c := b.dial()
	c.ok(`LOGIN ann "` + password + `"`)
	// A second login as somebody else begins anew.
	modseq := strings.Join(owner.ok("STATUS INBOX (HIGHESTMODSEQ UNSEEN RECENT)"), "\n")
	if _, status := c.do("SELECT INBOX"); !strings.HasPrefix(status, "OK [READ-ONLY]") {
		t.Errorf("SELECT: %s", status)
	}
	c.ok("FETCH 1 (BODY[] FLAGS)")
	for _, line := range []string{
		`STORE 1 +FLAGS (\Seen)`, `UID STORE 1 FLAGS ()`, "COPY 1 Folder", "UID MOVE 1 Folder", "EXPUNGE", "UID EXPUNGE 1", "CREATE x", "DELETE Folder",
		"RENAME Folder Other", "SUBSCRIBE Folder", "UNSUBSCRIBE INBOX", "APPEND INBOX {5+}\r\na: b\n", "REPLACE 1 INBOX {5+}\r\na: b\n",
		"SETACL INBOX zoe lr", "DELETEACL INBOX zoe", `SETMETADATA INBOX (/private/comment "x")`, `SETQUOTA "" (STORAGE 10)`, "RESETKEY",
		`GENURLAUTH "imap://ann@box/INBOX/;uid=1;urlauth=anonymous" INTERNAL`,
	} {
		c.fails(line, "NO [NOPERM]")
	}
	c.ok("CLOSE")
	if now := strings.Join(owner.ok("STATUS INBOX (HIGHESTMODSEQ UNSEEN RECENT)"), "\n"); now != modseq {
		t.Errorf("%s became %s", modseq, now)
	}
	// Nothing of it is left for who logs in next.
	c.ok("UNAUTHENTICATE")
	c.ok(`LOGIN ann "` + testPassword + `"`)
	if _, status := c.do("SELECT INBOX"); !strings.HasPrefix(status, "OK [READ-WRITE]") {
		t.Errorf("after UNAUTHENTICATE: %s", status)
	}
	c.ok(`STORE 1 +FLAGS (\Seen)`)
	must(t, auth.RevokeAppPassword(b.st, b.account.ID(), "backup"))
	c.ok("NOOP") // not a session of that password
	c.fails(`LOGIN ann "`+password+`"`, "BAD")
}

// TestReadCommandsAreKnown: a name that is misspelt would refuse what only reads,
// and each command is one that somebody has thought of.
func TestReadCommandsAreKnown(t *testing.T) {
	t.Parallel()
	tables, _ := newTables(nil)
	changes := strings.Fields(`APPEND CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE EXPUNGE STORE COPY MOVE REPLACE SETACL DELETEACL SETQUOTA SETMETADATA
		GENURLAUTH RESETKEY`)
	var all []string
	for _, x := range tables.extensions {
		for _, cmd := range x.commands {
			all = append(all, cmd.name)
			if readCommands[cmd.name] == slices.Contains(changes, cmd.name) {
				t.Errorf("does %s change anything?", cmd.name)
			}
		}
	}
	for name := range readCommands {
		if !slices.Contains(all, name) {
			t.Errorf("%s is no command", name)
		}
	}
}
