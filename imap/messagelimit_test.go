package imap

import (
	"fmt"
	"strings"
	"testing"
)

// TestMultiAppendLimits: too many messages are refused, all of them, with the
// code of the limit that it is, and the connection stays in step.
func TestMultiAppendLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, messages int
		want            string
	}{
		{0, maxAppends + 5, "NO [LIMIT] "},
		{2 * maxAppends, maxAppends + 5, "NO [LIMIT] "},
		{3, 10, "NO [MESSAGELIMIT 3] "},
		{3, 3, "OK [APPENDUID "},
	} {
		t.Run(fmt.Sprint(c.limit, c.messages), func(t *testing.T) {
			t.Parallel()
			client := newTestBox(t, func(o *Options) { o.MessageLimit = c.limit }).login()
			client.send("a APPEND INBOX" + strings.Repeat(" {4+}\r\na OK", c.messages) + "\r\n")
			if got := client.expect("a "); !strings.HasPrefix(got, "a "+c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			stored := 0
			if strings.HasPrefix(c.want, "OK") {
				stored = c.messages
			}
			client.send("b STATUS INBOX (MESSAGES)\r\n")
			client.expect(fmt.Sprintf("* STATUS INBOX (MESSAGES %d)", stored))
			client.expect("b OK")
		})
	}
}
