package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestSharing: shared accounts, groups and ACLs by command, without a server
// and with one, whose sessions see it at once.
func TestSharing(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	must(t, "", "init", "--data", data)
	on := func(args ...string) []string { return append(args, "--data", data) }
	must(t, "secret for anna\n", on("account", "add", "anna", "--password-stdin")...)
	var c *client
	for _, running := range []bool{false, true} {
		if running {
			c = startServer(t, data).dial(t)
			c.do(`LOGIN anna "secret for anna"`)
		}
		must(t, "", on("account", "add", "team", "--shared")...)
		wantCode(t, 1, "shared account", on("account", "passwd", "team", "--generate")...)
		wantCode(t, 1, "nobody is in the group", on("acl", "set", "team", "INBOX", "$crew", "lr")...)
		must(t, "", on("group", "add", "crew", "anna")...)
		if got := must(t, "", on("group", "list")...); !strings.Contains(got, "crew   anna") {
			t.Errorf("groups:\n%s", got)
		}
		must(t, "", on("acl", "set", "team", "INBOX", "$crew", "lrs")...)
		must(t, "", on("acl", "set", "team", "INBOX", "anna", "+k")...)
		must(t, "", "acl", "set", "--data", data, "--", "team", "INBOX", "-anna", "s")
		wantCode(t, 1, "not a right", on("acl", "set", "team", "INBOX", "anna", "q")...)
		wantCode(t, 1, "nobody", on("acl", "set", "team", "INBOX", "nobody", "lr")...)
		wantCode(t, 1, "no such mailbox", on("acl", "set", "team", "None", "anna", "lr")...)
		wantCode(t, 1, "owner", on("acl", "set", "anna", "INBOX", "anna", "lr")...)
		want := "MAILBOX  WHO    RIGHTS\nINBOX    $crew  lrs\nINBOX    anna   k\nINBOX    -anna  s\n"
		if got := must(t, "", on("acl", "list", "team")...); got != want {
			t.Errorf("ACLs:\n%s", got)
		}
		if running {
			if got := c.do("MYRIGHTS Shared/team/INBOX"); !strings.Contains(got, "lrkc\r\n") {
				t.Errorf("rights: %s", got)
			}
		}
		must(t, "", on("acl", "seen", "team", "INBOX", "private")...)
		if got := must(t, "", on("acl", "list", "team", "--json")...); !strings.Contains(got, `"private_seen": true`) {
			t.Errorf("ACLs:\n%s", got)
		}
		must(t, "", on("acl", "seen", "team", "INBOX", "everybody")...)
		wantCode(t, 2, "private or everybody", on("acl", "seen", "team", "INBOX", "shared")...)
		wantCode(t, 1, "no such mailbox", on("acl", "seen", "team", "None", "private")...)
		must(t, "", on("group", "delete", "crew", "anna")...)
		if running {
			if got := c.do("MYRIGHTS Shared/team/INBOX"); !strings.Contains(got, "INBOX kc\r\n") {
				t.Errorf("rights without the group: %s", got)
			}
		}
		must(t, "", on("acl", "set", "team", "INBOX", "anna", "none")...)
		if running {
			if got := c.do("MYRIGHTS Shared/team/INBOX"); !strings.Contains(got, "[NONEXISTENT]") {
				t.Errorf("rights without any: %s", got)
			}
		}
		must(t, "", on("account", "delete", "team", "--yes")...)
	}
}
