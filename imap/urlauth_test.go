package imap

import (
	"regexp"
	"strings"
	"testing"
)

var signedURL = regexp.MustCompile(`"(imap:[^"]*:internal:[0-9a-f]+)"`)

// TestURLOwnerGone: a URL is good as long as its owner's account is.
func TestURLOwnerGone(t *testing.T) {
	t.Parallel()
	b := newTestBox(t, nil)
	credential, err := testCredential()
	must(t, err)
	_, err = b.st.CreateAccount("bob", credential)
	must(t, err)
	ann := b.login()
	ann.append("INBOX", "", "Subject: m\r\n\r\nsecret\r\n")
	lines := ann.ok("GENURLAUTH imap://ann@box/INBOX/;uid=1/;section=TEXT;urlauth=user+bob INTERNAL")
	url := signedURL.FindStringSubmatch(strings.Join(lines, "\n"))[1]
	bob := b.dial()
	bob.ok("LOGIN bob \"" + testPassword + "\"")
	fetch := func(want bool) {
		t.Helper()
		lines := bob.ok("URLFETCH " + url)
		if got := contains(lines, "secret"); got != want || !got && !contains(lines, " NIL") {
			t.Errorf("%q, want the text: %v", lines, want)
		}
	}
	fetch(true)
	must(t, b.st.SetDisabled(b.account.ID(), true))
	fetch(false)
	must(t, b.st.SetDisabled(b.account.ID(), false))
	fetch(true)
	// A name that bob had is another's now.
	must(t, b.st.RenameAccount("bob", "robert"))
	fetch(false)
	must(t, b.st.RenameAccount("robert", "bob"))
	fetch(true)
}
