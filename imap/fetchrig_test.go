package imap

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"nestbox/storage"
)

// A fetchRig is a testBox with what the tests of FETCH, STORE and SEARCH want.
type fetchRig struct{ *testBox }

func newFetchRig(t testing.TB) *fetchRig {
	t.Helper()
	return &fetchRig{newTestBox(t, nil)}
}

// crlf is text with CRLF line ends.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// add appends a message to INBOX and returns its UID. Lines of text end in LF.
func (r *fetchRig) add(text string, flags ...imap.Flag) imap.UID {
	r.t.Helper()
	return r.addAt(text, time.Date(2024, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600)), flags...)
}

func (r *fetchRig) addAt(text string, at time.Time, flags ...imap.Flag) imap.UID {
	r.t.Helper()
	res, err := r.account.Append(r.inbox().ID, []storage.NewMessage{{Upload: r.upload(crlf(text)), Flags: flags, Date: at}})
	must(r.t, err)
	return res.UIDs[0]
}

// fill adds n small messages.
func (r *fetchRig) fill(n int) {
	r.t.Helper()
	box := r.inbox()
	for i := 0; i < n; {
		var msgs []storage.NewMessage
		for ; i < n && len(msgs) < 500; i++ {
			msgs = append(msgs, storage.NewMessage{Upload: r.upload(fmt.Sprintf("Subject: message %d\r\n\r\ntext\r\n", i+1))})
		}
		_, err := r.account.Append(box.ID, msgs)
		must(r.t, err)
	}
}

func (r *fetchRig) upload(text string) *storage.Upload {
	r.t.Helper()
	u, err := r.account.NewUpload(int64(len(text)))
	must(r.t, err)
	_, err = io.WriteString(u, text)
	must(r.t, err)
	must(r.t, u.Close())
	return u
}

func (r *fetchRig) inbox() storage.Mailbox {
	r.t.Helper()
	box, err := r.account.MailboxByName("INBOX")
	must(r.t, err)
	return box
}

// client connects, logs in and selects INBOX.
func (r *fetchRig) client() *testClient {
	r.t.Helper()
	c := r.login()
	c.ok("SELECT INBOX")
	return c
}

// want sends a command and compares all that comes back. A wanted line that
// ends in "..." is a prefix; the last is the tagged one.
func (c *testClient) want(command string, want ...string) {
	c.t.Helper()
	lines, tagged := c.do(command)
	lines = append(lines, tagged)
	same := len(lines) == len(want)
	for i := 0; same && i < len(lines); i++ {
		prefix, open := strings.CutSuffix(want[i], "...")
		same = lines[i] == want[i] || open && strings.HasPrefix(lines[i], prefix)
	}
	if !same {
		c.t.Errorf("%.200s\n got: %.1500s\nwant: %.1500s", command, strings.Join(lines, "\n      "), strings.Join(want, "\n      "))
	}
}
