package imap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// searchMails are added one second apart from the first of May 2024, 23:59:58
// UTC on, in the zone -0200.
var searchMails = []struct {
	text  string
	flags []imap.Flag
}{
	1: {"From: Smith <smith@example.org>\nTo: ann@example.org\nCc: bob@example.org\nSubject: first report\nDate: Thu, 02 May 2024 00:10:00 +0200\nX-Tag: alpha\n\nThe quick brown fox\n", nil},
	2: {"From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <jm@example.org>\nTo: ann@example.org\nBcc: hidden@example.org\nSubject: =?iso-8859-1?q?Gr=FC=DFe?= aus Berlin\nDate: Wed, 01 May 2024 23:50:00 -0500\nX-Tag:\n\njumps over\nthe lazy dog\n", []imap.Flag{imap.FlagSeen, "Work"}},
	3: {"From: smithy@example.net\nTo: list@example.org\nSubject: a\n folded subject\n\nContent without a date\n", []imap.Flag{imap.FlagFlagged, imap.FlagDeleted}},
	4: {"From: carl@example.org\nSubject: nested\nDate: 30 Apr 2024 10:00:00 +0000\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<b>Stra=DFe</b>n <i>f=FCr</i> alle\n--x\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nU3RyYXNzZQ==\n--x--\n", []imap.Flag{imap.FlagAnswered, imap.FlagDraft, imap.FlagSeen}},
}

func searchRig(t *testing.T) *fetchRig {
	t.Helper()
	r := newFetchRig(t)
	at := time.Date(2024, 5, 1, 23, 59, 58, 0, time.UTC).In(time.FixedZone("", -7200))
	for i, m := range searchMails {
		if i > 0 {
			r.addAt(m.text, at.Add(time.Duration(i-1)*24*time.Hour), m.flags...)
		}
	}
	return r
}

func TestSearchKeys(t *testing.T) {
	t.Parallel()
	c := searchRig(t).client()
	cases := []struct{ keys, want string }{
		{"ALL", "1 2 3 4"},
		{"2:3", "2 3"},
		{"*", "4"},
		{"3:99", "3 4"}, // no error in SEARCH
		{"99", ""},
		{"99:*", "4"},
		{"UID 2,4:1000", "2 4"},
		{"UID 4294967295", ""},
		{"1:3 UID 2:4", "2 3"},
		{"SEEN", "2 4"}, {"UNSEEN", "1 3"}, {"FLAGGED", "3"}, {"UNFLAGGED", "1 2 4"},
		{"DELETED", "3"}, {"UNDELETED", "1 2 4"}, {"ANSWERED", "4"}, {"UNANSWERED", "1 2 3"},
		{"DRAFT", "4"}, {"UNDRAFT", "1 2 3"},
		{"KEYWORD work", "2"}, {"UNKEYWORD Work", "1 3 4"}, {"KEYWORD None", ""}, {"UNKEYWORD None", "1 2 3 4"},
		{"RECENT", "1 2 3 4"}, {"NEW", "1 3"}, {"OLD", ""},
		{"FROM smith", "1 3"}, {"FROM \"SMITH <\"", "1"}, {"FROM {7+}\r\nj\u00fcrgen", "2"}, {"FROM example.net", "3"},
		{"TO ann", "1 2"}, {"CC bob", "1"}, {"BCC hidden", "2"}, {"BCC \"\"", "2"},
		{"SUBJECT report", "1"}, {"SUBJECT \"a folded subject\"", "3"}, {"SUBJECT {6+}\r\nGr\u00fc\u00df", "2"},
		{"SUBJECT {11+}\r\nGR\u00dc\u00dfE AUS", "2"}, {"SUBJECT {3+}\r\n\u00dfE", "2"},
		{"HEADER X-Tag alpha", "1"}, {"HEADER x-tag \"\"", "1 2"}, {"HEADER X-None \"\"", ""}, {"HEADER Content-Type mixed", "4"},
		{"BODY fox", "1"}, {"BODY \"over the lazy\"", "2"}, {"BODY report", ""}, {"BODY smith", ""},
		{"BODY {7+}\r\nstra\u00dfe", "4"}, {"BODY {8+}\r\nf\u00fcr all", "4"}, {"BODY Strasse", ""},
		{"TEXT smith", "1 3"}, {"TEXT fox", "1"}, {"TEXT alpha", "1"}, {"TEXT \"\"", "1 2 3 4"}, {"TEXT zebra", ""},
		{"TEXT \"\" NOT TEXT fox", "2 3 4"},
		{"LARGER 300", "4"}, {"SMALLER 130", "3"}, {"LARGER 0", "1 2 3 4"}, {"SMALLER 0", ""},
		{"BEFORE 1-May-2024", ""}, {"ON 1-May-2024", "1"}, {"SINCE 2-May-2024", "2 3 4"}, {"BEFORE \"3-May-2024\"", "1 2"},
		{"SENTON 2-May-2024", "1"}, {"SENTON 1-May-2024", "2"}, {"SENTBEFORE 2-May-2024", "2 4"}, {"SENTSINCE 1-May-2024", "1 2"},
		{"NOT SEEN", "1 3"}, {"NOT NOT SEEN", "2 4"}, {"NOT FROM smith", "2 4"}, {"NOT 2:3", "1 4"}, {"NOT UID 1", "2 3 4"},
		{"OR SEEN FLAGGED", "2 3 4"}, {"OR FROM smith SUBJECT nested", "1 3 4"}, {"OR 1 TEXT dog", "1 2"},
		{"OR OR BODY fox BODY dog SUBJECT nested", "1 2 4"},
		{"(SEEN)", "2 4"}, {"(SEEN (NOT DRAFT))", "2"}, {"NOT (SEEN DRAFT)", "1 2 3"}, {"NOT (OR SEEN FLAGGED)", "1"},
		{"FROM smith NOT BODY fox UNSEEN", "3"}, {"OR (SENTON 1-May-2024 BODY lazy) (FLAGGED TEXT zebra)", "2"},
		{"CHARSET UTF-8 BODY fox", "1"}, {"CHARSET us-ascii BODY fox", "1"},
		{"CHARSET ISO-8859-1 SUBJECT {4+}\r\ngr\xfc\xdf", "2"},
		{"CHARSET KOI8-R BODY fox", "1"},
	}
	for _, k := range cases {
		want := "* SEARCH"
		if k.want != "" {
			want += " " + k.want
		}
		c.want("SEARCH "+k.keys, want, "OK SEARCH completed")
		c.want("UID SEARCH "+k.keys, want, "OK UID SEARCH completed")
	}
	for _, keys := range []string{
		"", "NOSUCH", "(", "()", "(ALL", "NOT", "OR SEEN", "ALL ", "SEEN  ALL", "0", "KEYWORD", "BEFORE 32-Jan-2024", "BEFORE yesterday",
		"LARGER -1", "LARGER x", "HEADER X-Tag", "UID", "RETURN ALL", "RETURN (NOSUCH) ALL", "RETURN (ALL)", "CHARSET UTF-8",
		"SUBJECT {1+}\r\n\xff", "CHARSET US-ASCII SUBJECT {2+}\r\n\u00fc",
		strings.Repeat("NOT ", 2000) + "SEEN", strings.Repeat("(", 300) + "SEEN" + strings.Repeat(")", 300),
	} {
		c.want("SEARCH "+keys, "BAD...")
	}
	c.want("SEARCH CHARSET X-KLINGON TEXT {3+}\r\n\xff\xfe\xfd", "NO [BADCHARSET (US-ASCII UTF-8)]...")
}

func TestSearchReturn(t *testing.T) {
	t.Parallel()
	c := searchRig(t).client()
	esearch := func(rest string) string { return fmt.Sprintf(`* ESEARCH (TAG "a%d")%s`, c.tags+1, rest) }
	const done, uidDone = "OK SEARCH completed", "OK UID SEARCH completed"
	c.want("SEARCH RETURN (MIN COUNT) UNSEEN", esearch(" MIN 1 COUNT 2"), done)
	c.want("SEARCH RETURN () UNSEEN", esearch(" ALL 1,3"), done)
	c.want("SEARCH return (all) ALL", esearch(" ALL 1:4"), done)
	c.want("SEARCH RETURN (MIN MAX ALL COUNT) BODY zebra", esearch(" COUNT 0"), done)
	c.want("SEARCH RETURN (MIN MAX) BODY zebra", esearch(""), done)
	c.want("SEARCH RETURN (MIN) SEEN", esearch(" MIN 2"), done)
	c.want("SEARCH RETURN (MAX) UNSEEN", esearch(" MAX 3"), done)
	c.want("SEARCH RETURN (MIN MAX) UNSEEN", esearch(" MIN 1 MAX 3"), done)
	c.want("SEARCH RETURN (MAX MIN) FLAGGED", esearch(" MIN 3 MAX 3"), done)
	c.want("UID SEARCH RETURN (MIN MAX) 1:5000", esearch(" UID MIN 1 MAX 4"), uidDone)
	c.want("UID SEARCH RETURN (ALL) BODY zebra", esearch(" UID"), uidDone)

	// SEARCHRES, RFC 5182 §2.4.
	c.want("SEARCH $", "* SEARCH", done)
	c.want("FETCH $ UID", "OK FETCH completed")
	c.want("SEARCH RETURN (SAVE) UNSEEN", done)
	c.want("FETCH $ UID", "* 1 FETCH (UID 1)", "* 3 FETCH (UID 3)", "OK FETCH completed")
	c.want("UID FETCH $ UID", "* 1 FETCH (UID 1)", "* 3 FETCH (UID 3)", "OK UID FETCH completed")
	c.want("SEARCH RETURN (ALL) SEEN", esearch(" ALL 2,4"), done)
	c.want("SEARCH $ FLAGGED", "* SEARCH 3", done)
	c.want("UID SEARCH UID $ FLAGGED", "* SEARCH 3", uidDone)
	c.want("SEARCH OR $ 4", "* SEARCH 1 3 4", done)
	c.want("SEARCH NOT $", "* SEARCH 2 4", done)
	c.want("SEARCH RETURN (SAVE MIN) ALL", esearch(" MIN 1"), done)
	c.want("SEARCH $", "* SEARCH 1", done)
	c.want("SEARCH RETURN (MAX SAVE MIN) ALL", esearch(" MIN 1 MAX 4"), done)
	c.want("SEARCH $", "* SEARCH 1 4", done)
	c.want("SEARCH RETURN (MAX SAVE MIN COUNT) ALL", esearch(" MIN 1 MAX 4 COUNT 4"), done)
	c.want("SEARCH $", "* SEARCH 1 2 3 4", done)
	c.want("SEARCH RETURN (SAVE) NOSUCH", "BAD...")
	c.want("SEARCH $", "* SEARCH 1 2 3 4", done)
	c.want("SEARCH CHARSET X-NONE ALL", "NO [BADCHARSET (US-ASCII UTF-8)]...")
	c.want("SEARCH $", "* SEARCH 1 2 3 4", done)
	c.want("SEARCH RETURN (SAVE) CHARSET X-NONE ALL", "NO [BADCHARSET (US-ASCII UTF-8)]...")
	c.want("SEARCH $", "* SEARCH", done)
	c.want("SEARCH RETURN (SAVE) ALL", done)
	c.want("STORE 2 +FLAGS.SILENT (\\Deleted)", "OK STORE completed")
	c.ok("EXPUNGE")
	c.want("UID SEARCH $", "* SEARCH 1 4", uidDone)
	c.ok("SELECT INBOX")
	c.want("SEARCH $", "* SEARCH", done)

	c.ok("UNSELECT")
	c.ok("ENABLE IMAP4rev2")
	c.ok("SELECT INBOX")
	c.want("SEARCH UNSEEN", esearch(" ALL 1"), done)
	c.want("UID SEARCH UNSEEN", esearch(" UID ALL 1"), uidDone)
	c.want("SEARCH BODY zebra", esearch(""), done)
	c.want("FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())", "OK FETCH completed")
}

// MIN and MAX stop early, and find the same as a full search.
func TestSearchEnds(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	const n = 1700
	r.fill(n)
	c := r.client()
	c.ok("STORE 3,600,1200 +FLAGS.SILENT (\\Flagged)")
	c.ok("STORE 5:20,601:640 +FLAGS.SILENT (\\Deleted)")
	c.ok("EXPUNGE")
	for _, k := range []struct{ keys, min, max, count string }{
		{"ALL", "1", "1644", "1644"},
		{"FLAGGED", "3", "1144", "3"},
		{"UID 4:1190 FLAGGED", "584", "584", "1"},
		{"FLAGGED 4:583", "", "", "0"},
		{"NOT FLAGGED UID 3:1200", "4", "1143", "1139"},
	} {
		min, max := "", ""
		if k.min != "" {
			min, max = " MIN "+k.min, " MAX "+k.max
		}
		for returns, want := range map[string]string{
			"MIN": min, "MAX": max, "MIN MAX": min + max, "MIN MAX COUNT": min + max + " COUNT " + k.count,
		} {
			c.want("SEARCH RETURN ("+returns+") "+k.keys, fmt.Sprintf(`* ESEARCH (TAG "a%d")%s`, c.tags+1, want), "OK SEARCH completed")
		}
	}
	lines := c.ok("UID SEARCH ALL")
	if got := len(strings.Fields(lines[0])) - 2; got != n-56 {
		t.Errorf("%d UIDs of %d", got, n-56)
	}
}
