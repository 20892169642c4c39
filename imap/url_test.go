package imap

import (
	"fmt"
	"strings"
	"testing"
)

func TestMessageURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		want string // server, mailbox, validity, uid, section, partial, rest; or "" for an error
	}{
		{"/INBOX/;UID=20", "|INBOX|0|20||0 -1|"},
		{"/inbox;uidvalidity=385759045/;uid=20/;section=1.MIME", "|INBOX|385759045|20|1 5|0 -1|"},
		{"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", "|Drafts|385759045|20| 1|0 -1|"},
		{"imap://minbari.example.org/gray-council;UIDVALIDITY=385759045/;UID=20/;PARTIAL=0.1024",
			"minbari.example.org|gray-council|385759045|20||0 1024|"},
		{"imap://;AUTH=GSSAPI@minbari.example.org/gray-council/;uid=20/;section=1.2",
			";AUTH=GSSAPI@minbari.example.org|gray-council|0|20|1.2 0|0 -1|"},
		{"/%E6%97%A5%E6%9C%AC%E8%AA%9E/a%20b%3B%2F..%2F/;UID=1/;SECTION=TEXT/;PARTIAL=7",
			"|日本語/a b;/../|0|1| 4|7 4611686018427387904|"},
		{"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a473744909de610943775f92038",
			"joe@example.com|INBOX|0|20|1.2 0|0 -1|;urlauth=submit+fred:internal:91354a473744909de610943775f92038"},
		{"/a/./b/../c/;UID=3", "|a/c|0|3||0 -1|"},
		{"/../../a/;UID=3", "|a|0|3||0 -1|"},
		{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%22a%22%20b)", "|INBOX|0|1| 2 A B|0 -1|"},
		{"/foo/;UID=20/..", ""},
		{"/foo/;UID=20/.", ""},
		{"/foo/;UID=20/x", ""},
		{"/foo", ""}, {"/", ""}, {"", ""}, {"foo/;UID=20", ""}, {";UID=20", ""}, {"//host/foo/;UID=20", ""},
		{"imap://host", ""}, {"imap:///foo/;UID=1", ""}, {"http://host/foo/;UID=1", ""},
		{"/foo/;UID=020", ""}, {"/foo/;UID=4294967296", ""}, {"/foo/;UID=-1", ""}, {"/foo/;UID=", ""},
		{"/foo;UIDVALIDITY=x/;UID=1", ""}, {"/foo;BOGUS=1/;UID=1", ""}, {"/;UID=1", ""},
		{"/f%C3%28/;UID=1", ""}, {"/f%00/;UID=1", ""}, {"/f%4/;UID=1", ""}, {"/f%zz/;UID=1", ""}, {"/f é/;UID=1", ""},
		{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20({1}%0D%0Aa)", ""},
		{"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20({1}", ""},
		{"/INBOX/;UID=1/;SECTION=1]", ""}, {"/INBOX/;UID=1/;SECTION=MIME", ""},
		{"/INBOX/;UID=1/;PARTIAL=a.b", ""}, {"/INBOX/;UID=1/;PARTIAL=1.0", ""}, {"/INBOX/;UID=1/;PARTIAL=1.2.3", ""},
	} {
		u, err := parseMessageURL(c.url)
		got := ""
		if err == nil {
			got = describeURL(&u)
		}
		if got != c.want {
			t.Errorf("%s\n got %q %v\nwant %q", c.url, got, err, c.want)
		}
	}
}

func describeURL(u *messageURL) string {
	sec := ""
	if u.isPart {
		var path []string
		for _, n := range u.section.path {
			path = append(path, fmt.Sprint(n))
		}
		sec = strings.Join(append([]string{strings.Join(path, ".") + " " + fmt.Sprint(u.section.kind)}, u.section.fields...), " ")
	}
	return strings.Join([]string{u.server, u.mailbox, fmt.Sprint(u.uidValidity), fmt.Sprint(u.uid), sec,
		fmt.Sprint(u.partial.from) + " " + fmt.Sprint(u.partial.max), u.rest}, "|")
}

// FuzzMessageURL: no URL is a panic, and what can be read can be written into a
// response code.
func FuzzMessageURL(f *testing.F) {
	f.Add("imap://joe;AUTH=*@box/INBOX;UIDVALIDITY=3/;uid=1/;section=1.2/;partial=0.5;expire=2999-01-01T00:00:00Z;urlauth=user+fred:internal:01ab")
	f.Add("/a/../b/;UID=1/;SECTION=HEADER.FIELDS%20(%22x%22)")
	f.Fuzz(func(t *testing.T, url string) {
		u, err := parseMessageURL(url)
		if err == nil {
			if g, err := u.parseGrant(url); err == nil && !strings.HasPrefix(url, g.rump) {
				t.Errorf("%q is no beginning of %q", g.rump, url)
			}
			urlUser(u.server)
		}
		if e := escapeURL(url); strings.ContainsAny(e, "] \r\n\x00") {
			t.Errorf("%q", e)
		}
	})
}
