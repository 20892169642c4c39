package imap

import (
	"fmt"
	"slices"
	"testing"

	"nestbox/storage"
)

// TestAudit: rights that change and much mail that goes are in the audit log, with
// who did it from where by which program, and what is little isn't.
func TestAudit(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	_, err := b.st.CreateAccount("bob", nil)
	must(t, err)
	c := b.login()
	c.ok(`ID ("name" "phone" "version" "1")`)
	fill := func(mailbox string, n int) {
		for range n {
			c.append(mailbox, `(\Deleted) `, "Subject: x\r\n\r\nx\r\n")
		}
	}
	c.ok("CREATE Work")
	c.ok("CREATE Small")
	fill("Small", 3)
	fill("Work", 60)
	c.ok("SETACL Work bob lrs")
	c.ok("SETACL Work bob -s")
	c.ok("DELETEACL Work bob")
	c.fails("SETACL Work zoe lrs", "NO")
	c.ok("SELECT Small")
	c.ok("EXPUNGE")
	c.ok("SELECT Work")
	c.ok("UID EXPUNGE 1:60")
	fill("Work", 40)
	c.ok("CLOSE")
	fill("Work", 100)
	c.ok("DELETE Work")
	c.ok("DELETE Small")
	c.ok("UNAUTHENTICATE")
	c.ok(`LOGIN ann "` + testPassword + `"`)
	c.ok("CREATE Other")
	fill("Other", 2)
	c.ok("SELECT Other")
	c.ok("EXPUNGE")
	c.ok("LOGOUT")
	c.gone()
	all, err := b.st.AuditEvents(storage.AuditFilter{Account: b.account.ID(), Kinds: []storage.AuditKind{storage.AuditACL, storage.AuditDeletion}})
	must(t, err)
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%s %s %s %s: %s", e.Kind, e.Name, e.Address, e.Client, e.Detail))
	}
	const who = "ann 127.0.0.1 phone 1: "
	want := []string{
		"acl " + who + `Work: bob gets "lrs"`, "acl " + who + `Work: bob gets "-s"`, "acl " + who + `Work: bob gets ""`,
		"deletion " + who + "103 messages expunged, last in Work", "deletion " + who + "mailbox Work with 100 messages deleted",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	logins, err := b.st.AuditEvents(storage.AuditFilter{Kinds: []storage.AuditKind{storage.AuditLogin}})
	must(t, err)
	if len(logins) != 1 || logins[0].Count != 2 || logins[0].Client != "phone 1" {
		t.Errorf("%+v", logins)
	}
}
