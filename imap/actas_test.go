package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nestbox/auth"
	"nestbox/storage"
)

// An actingBox has the accounts ann and zoe, with one password.
type actingBox struct {
	*testBox
	ann, zoe storage.AccountID
}

func newActingBox(t *testing.T) *actingBox {
	b := &actingBox{testBox: newTestBox(t, nil)}
	ann, err := b.st.FindAccount("ann")
	must(t, err)
	credential, err := testCredential()
	must(t, err)
	zoe, err := b.st.CreateAccount("zoe", credential)
	must(t, err)
	must(t, b.st.AddAddress(zoe.ID, "zoe@example.org"))
	b.ann, b.zoe = ann.ID, zoe.ID
	return b
}

// right is what ann has.
func (b *actingBox) right(r auth.ActAs) {
	b.t.Helper()
	must(b.t, auth.ChangeActAs(b.st, b.ann, func(auth.ActAs) (auth.ActAs, error) { return r, nil }))
}

func plainFor(authzid, login, password string) string {
	return "AUTHENTICATE PLAIN " + b64(authzid+"\x00"+login+"\x00"+password)
}

// acting is a client that is zoe by ann's password.
func (b *actingBox) acting() *testClient {
	b.t.Helper()
	c := b.dial()
	c.ok(plainFor("zoe@example.org", "ann", testPassword))
	return c
}

func (c *testClient) has(mailbox string) bool {
	c.t.Helper()
	return slices.ContainsFunc(c.ok(`LIST "" *`), func(line string) bool { return strings.HasSuffix(line, " "+mailbox) })
}

// TestActAs: who has the right is the other account, in each mechanism; whoever
// hasn't learns nothing of which accounts there are.
func TestActAs(t *testing.T) {
	t.Parallel()
	b := newActingBox(t)
	group, err := b.st.CreateSharedAccount("team")
	must(t, err)
	c := b.dial()
	refusal := func(authzid string) string {
		t.Helper()
		_, status := c.finish(c.start(plainFor(authzid, "ann", testPassword)))
		if !strings.HasPrefix(status, "NO [AUTHORIZATIONFAILED]") {
			t.Errorf("as %q: %s", authzid, status)
		}
		return status
	}
	for _, r := range []auth.ActAs{{}, {Accounts: []storage.AccountID{b.ann, "aaaaaaaaaaaaaaaa"}}} {
		b.right(r)
		if one, other := refusal("zoe"), refusal("nobody"); one != other {
			t.Errorf("%q, of nobody %q", one, other)
		}
	}
	b.right(auth.ActAs{All: true})
	refusal("nobody")
	refusal("team")
	must(t, b.st.SetDisabled(b.zoe, true))
	refusal("zoe")
	must(t, b.st.SetDisabled(b.zoe, false))
	// A wrong password says nothing of rights.
	c.fails(plainFor("zoe", "ann", "wrong"), "NO [AUTHENTICATIONFAILED]")
	c.fails(plainFor("ann", "zoe", testPassword), "NO [AUTHORIZATIONFAILED]") // not the other way round

	for _, r := range []auth.ActAs{{All: true}, {Accounts: []storage.AccountID{group.ID, b.zoe}}} {
		b.right(r)
		name := fmt.Sprint("Moved", r.All)
		b.acting().ok("CREATE " + name)
		own, ann := b.dial(), b.dial()
		own.ok(`LOGIN zoe "` + testPassword + `"`)
		ann.ok(`LOGIN ann "` + testPassword + `"`)
		if !own.has(name) || ann.has(name) {
			t.Errorf("%+v: it was not made for zoe alone", r)
		}
	}
	if log := b.log.String(); !strings.Contains(log, "account="+string(b.zoe)+" actor="+string(b.ann)) {
		t.Error("the log doesn't say who acted")
	}
	const bare = "n=ann,r=fyko+d2lbbFgONRv9qkxdawL"
	tag := c.start("AUTHENTICATE SCRAM-SHA-256 " + b64("n,a=zoe,"+bare))
	final, _ := scramFinal(t, "n,a=zoe,", testPassword, bare, c.line())
	c.send(b64(final) + "\r\n")
	c.line()
	c.send("\r\n")
	if _, status := c.finish(tag); !strings.HasPrefix(status, "OK") || !c.has("Movedtrue") {
		t.Errorf("by SCRAM: %s", status)
	}
	// Nothing of it is left behind.
	c.ok("UNAUTHENTICATE")
	c.ok(plainFor("ann", "ann", testPassword))
	if c.has("Movedtrue") {
		t.Error("ann sees zoe's mailboxes after UNAUTHENTICATE")
	}
}

// TestActAsEnds: a session in which one acts for another ends with either
// account, with the password, and with the right.
func TestActAsEnds(t *testing.T) {
	t.Parallel()
	b := newActingBox(t)
	b.right(auth.ActAs{All: true})
	for what, end := range map[string]func() error{
		"the right was taken away": func() error {
			b.right(auth.ActAs{Accounts: []storage.AccountID{"aaaaaaaaaaaaaaaa"}})
			b.right(auth.ActAs{All: true})
			return nil
		},
		"zoe was disabled":        func() error { return b.st.SetDisabled(b.zoe, true) },
		"ann was disabled":        func() error { return b.st.SetDisabled(b.ann, true) },
		"ann got a new password":  func() error { return auth.SetPassword(b.st, b.ann, testPassword) },
		"zoe's password is other": func() error { return auth.SetPassword(b.st, b.zoe, testPassword) },
	} {
		c, own := b.acting(), b.dial()
		own.ok(`LOGIN ann "` + testPassword + `"`)
		must(t, end())
		if line := c.line(); !strings.HasPrefix(line, "* BYE") {
			t.Errorf("%s: %q", what, line)
		}
		if strings.HasPrefix(what, "the right") || strings.HasPrefix(what, "zoe") {
			own.ok("NOOP") // ann's own sessions stay
		}
		must(t, b.st.SetDisabled(b.zoe, false))
		must(t, b.st.SetDisabled(b.ann, false))
	}
}

// TestActAsReadOnly: an app password's limits hold for other accounts too.
func TestActAsReadOnly(t *testing.T) {
	t.Parallel()
	b := newActingBox(t)
	b.right(auth.ActAs{All: true})
	password, err := auth.AddAppPassword(b.st, b.ann, "copies", auth.ScopeIMAP|auth.ScopeReadOnly)
	must(t, err)
	c := b.dial()
	c.ok(plainFor("zoe", "ann", password))
	c.fails("CREATE x", "NO [NOPERM]")
	must(t, auth.RevokeAppPassword(b.st, b.ann, "copies"))
	if line := c.line(); !strings.HasPrefix(line, "* BYE") {
		t.Errorf("the app password is revoked: %q", line)
	}
}
