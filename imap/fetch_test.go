package imap

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

const plainMail = `From: Fred Foobar <foobar@example.org>
To: mooch@example.com
Subject: afternoon meeting
Date: Mon, 7 Feb 1994 21:52:25 -0800
Message-Id: <B27397-0100000@example.org>

Hello Joe, do you think we can meet at 3:30 tomorrow?
`

const nestedMail = `From: a@example.org
Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

preamble
--x
Content-Type: text/plain; charset=utf-8

first
--x
Content-Type: message/rfc822

From: b@example.org
Subject: inner
To: c@example.org
Content-Type: multipart/alternative; boundary=y

--y
Content-Type: text/plain

inner plain
--y
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable

<p>inner=20html</p>
--y--
--x
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAwQFBgcICQ==
--x
Content-Type: text/plain
Content-Transfer-Encoding: x-secret

?
--x--
`

// literal is s as the server sends it.
func literal(s string) string { return fmt.Sprintf("{%d}\r\n%s", len(s), s) }

func TestFetchItems(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.add(plainMail, imap.FlagSeen, "$Label1")
	c := r.client()
	const done = "OK FETCH completed"
	const flags, date = `FLAGS (\Seen \Recent $Label1)`, `INTERNALDATE " 4-Mar-2024 05:06:07 +0100"`
	size := fmt.Sprintf("RFC822.SIZE %d", len(crlf(plainMail)))
	const envelope = `ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800" "afternoon meeting" (("Fred Foobar" NIL "foobar" "example.org"))` +
		` (("Fred Foobar" NIL "foobar" "example.org")) (("Fred Foobar" NIL "foobar" "example.org"))` +
		` ((NIL NIL "mooch" "example.com")) NIL NIL NIL "<B27397-0100000@example.org>")`
	const body = `("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 55 1)`
	c.want("FETCH 1 FAST", "* 1 FETCH ("+flags+" "+date+" "+size+")", done)
	c.want("FETCH 1 all", "* 1 FETCH ("+flags+" "+date+" "+size+" "+envelope+")", done)
	c.want("FETCH 1 FULL", "* 1 FETCH ("+flags+" "+date+" "+size+" "+envelope+" BODY "+body+")", done)
	c.want("FETCH 1 (UID)", "* 1 FETCH (UID 1)", done)
	c.want("FETCH 1 (UID FLAGS UID)", "* 1 FETCH (UID 1 "+flags+")", done)
	c.want("UID FETCH 1 FLAGS", "* 1 FETCH (UID 1 "+flags+")", "OK UID FETCH completed")
	c.want("UID FETCH 1 (FLAGS UID)", "* 1 FETCH (UID 1 "+flags+")", "OK UID FETCH completed")
	c.want("UID FETCH 7:* (UID)", "* 1 FETCH (UID 1)", "OK UID FETCH completed")
	c.want("UID FETCH 7 FLAGS", "OK UID FETCH completed")
	c.want("FETCH 2 FLAGS", "BAD...")
	c.want("FETCH 0 FLAGS", "BAD...")
	c.want("FETCH 1 ()", "BAD...")
	c.want("FETCH 1 (FAST)", "BAD...")
	c.want("FETCH 1 abc", "BAD...")
	c.want("FETCH 1 FLAGS (NOSUCHMODIFIER)", "BAD...")
	c.want("FETCH 1 (FLAGS BODY[)", "BAD...")
	for _, section := range []string{"MIME", "HEADER.FIELDS", "HEADER.FIELDS ()", "1.", "0", "01", "1..2", "1.X", ".1", "TEXT.1", "HEADER.FIELDS (a b", "4294967296"} {
		c.want("FETCH 1 BODY.PEEK["+section+"]", "BAD...")
	}
	c.want("FETCH 1 BODY.PEEK[]<0.0>", "BAD...")
	c.want("FETCH 1 BODY.PEEK", "BAD...")
	c.want("FETCH 1 BODY.PEEK[]<1>", "BAD...")
}

func TestFetchSections(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.add(nestedMail, imap.FlagSeen)
	c := r.client()
	text := crlf(nestedMail)
	header, body, _ := strings.Cut(text, "\r\n\r\n")
	header += "\r\n\r\n"
	inner := text[strings.Index(text, "From: b@"):strings.Index(text, "\r\n--x\r\nContent-Type: application")]
	innerHeader, innerBody, _ := strings.Cut(inner, "\r\n\r\n")
	innerHeader += "\r\n\r\n"
	cases := []struct{ ask, answer, want string }{
		{"BODY[]", "", text},
		{"RFC822", "", text},
		{"RFC822.HEADER", "", header},
		{"RFC822.TEXT", "", body},
		{"BODY.PEEK[HEADER]", "BODY[HEADER]", header},
		{"BODY[TEXT]", "", body},
		{"body.peek[text]", "BODY[TEXT]", body},
		{"BODY[1]", "", "first"},
		{"BODY[1.MIME]", "", "Content-Type: text/plain; charset=utf-8\r\n\r\n"},
		{"BODY[2]", "", inner},
		{"BODY[2.MIME]", "", "Content-Type: message/rfc822\r\n\r\n"},
		{"BODY[2.HEADER]", "", innerHeader},
		{"BODY[2.TEXT]", "", innerBody},
		{"BODY[2.1]", "", "inner plain"},
		{"BODY[2.2]", "", "<p>inner=20html</p>"},
		{"BODY[2.2.MIME]", "", "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"},
		{"BODY[2.HEADER.FIELDS (subject TO)]", "", "Subject: inner\r\nTo: c@example.org\r\n\r\n"},
		{"BODY[2.HEADER.FIELDS.NOT (subject TO Content-Type)]", "", "From: b@example.org\r\n\r\n"},
		{"BODY[HEADER.FIELDS (Subject)]", "", "Subject: outer\r\n\r\n"},
		{`BODY[HEADER.FIELDS ("Subject" X)]`, "BODY[HEADER.FIELDS (Subject X)]", "Subject: outer\r\n\r\n"},
		{"BODY[HEADER.FIELDS.NOT (Content-Type MIME-Version)]", "", "From: a@example.org\r\nSubject: outer\r\n\r\n"},
		{"BODY[HEADER.FIELDS (X-None)]", "", "\r\n"},
		{"BODY[HEADER.FIELDS (Subject)]<3.5>", "BODY[HEADER.FIELDS (Subject)]<3>", "ject:"},
		{"BODY[]<0.5>", "BODY[]<0>", text[:5]},
		{"BODY[]<5.100000>", "BODY[]<5>", text[5:]},
		{"BODY[TEXT]<2.3>", "BODY[TEXT]<2>", body[2:5]},
		{"BODY[2.1]<6.9223372036854775807>", "BODY[2.1]<6>", "plain"},
		{"BODY[HEADER]<2.3>", "BODY[HEADER]<2>", header[2:5]},
	}
	for _, k := range cases {
		if k.answer == "" {
			k.answer = k.ask
		}
		c.want("FETCH 1 "+k.ask, "* 1 FETCH ("+k.answer+" "+literal(k.want)+")", "OK FETCH completed")
	}
	for ask, answer := range map[string]string{
		"BODY[]<9223372036854775807.1>": `BODY[]<9223372036854775807> ""`,
		"BODY[1.HEADER]":                "BODY[1.HEADER] NIL",
		"BODY[9]":                       "BODY[9] NIL",
		"BODY[2.9.1]":                   "BODY[2.9.1] NIL",
		"BODY[4294967295]":              "BODY[4294967295] NIL",
		"BODY[1]<5.1>":                  `BODY[1]<5> ""`,
	} {
		c.want("FETCH 1 "+ask, "* 1 FETCH ("+answer+")", "OK FETCH completed")
	}
	c.want("FETCH 1 (BODY[1] UID BODY.PEEK[2.1]<0.2> BODY.PEEK[1])",
		"* 1 FETCH (BODY[1] "+literal("first")+" UID 1 BODY[2.1]<0> "+literal("in")+")", "OK FETCH completed")
}

func TestFetchBinary(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	r.add(nestedMail, imap.FlagSeen)
	text := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString([]byte("one\ntwo\r\nthree")) + "\n"
	r.add(text, imap.FlagSeen)
	big := make([]byte, 300_000)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range big {
		big[i] = byte(rnd.Uint32())
	}
	r.add("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"+folded(big), imap.FlagSeen)
	r.add("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"+folded([]byte("a\x00b")), imap.FlagSeen)
	c := r.client()
	const done = "OK FETCH completed"
	c.want("FETCH 1 BINARY[1]", "* 1 FETCH (BINARY[1] {5}\r\nfirst)", done)
	c.want("FETCH 1 BINARY.PEEK[2.2]", "* 1 FETCH (BINARY[2.2] {17}\r\n<p>inner html</p>)", done)
	c.want("FETCH 1 BINARY[3]", "* 1 FETCH (BINARY[3] ~{10}\r\n\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09)", done)
	c.want("FETCH 1 BINARY[3]<2.3>", "* 1 FETCH (BINARY[3]<2> ~{3}\r\n\x02\x03\x04)", done)
	c.want("FETCH 1 BINARY[3]<8.30>", "* 1 FETCH (BINARY[3]<8> ~{2}\r\n\x08\x09)", done)
	c.want("FETCH 1 BINARY[3]<10.30>", "* 1 FETCH (BINARY[3]<10> \"\")", done)
	c.want("FETCH 1 (BINARY.SIZE[3] BINARY.SIZE[1] BINARY.SIZE[2.2])", "* 1 FETCH (BINARY.SIZE[3] 10 BINARY.SIZE[1] 5 BINARY.SIZE[2.2] 17)", done)
	c.want("FETCH 1 BINARY[4]", "NO [UNKNOWN-CTE]...")
	c.want("FETCH 1:2 (UID BINARY.SIZE[4])", "* 2 FETCH (UID 2 BINARY.SIZE[4] 0)", "NO [UNKNOWN-CTE]...")
	c.want("FETCH 1 BINARY[9]", "* 1 FETCH (BINARY[9] NIL)", done)
	c.want("FETCH 2 (BINARY[1] BINARY.SIZE[1])", "* 2 FETCH (BINARY[1] {15}\r\none\r\ntwo\r\nthree BINARY.SIZE[1] 15)", done)
	c.want("FETCH 2 BINARY[1]<3.4>", "* 2 FETCH (BINARY[1]<3> {4}\r\n\r\ntw)", done)
	c.want("FETCH 3 BINARY[1]", fmt.Sprintf("* 3 FETCH (BINARY[1] ~{%d}\r\n%s)", len(big), big), done)
	c.want("FETCH 3 BINARY[1]<100000.150000>", fmt.Sprintf("* 3 FETCH (BINARY[1]<100000> ~{150000}\r\n%s)", big[100000:250000]), done)
	c.want("FETCH 3 BINARY[1]<65000.1000>", fmt.Sprintf("* 3 FETCH (BINARY[1]<65000> ~{1000}\r\n%s)", big[65000:66000]), done)
	c.want("FETCH 3 BINARY.SIZE[1]", "* 3 FETCH (BINARY.SIZE[1] 300000)", done)
	c.want("FETCH 4 BINARY[1]", "* 4 FETCH (BINARY[1] ~{3}\r\na\x00b)", done)
	c.want("FETCH 2 BINARY[]", "* 2 FETCH (BINARY[] ~"+literal(crlf(text))+")", done)
	c.want("FETCH 1 BINARY[2.HEADER]", "BAD...")
	c.want("FETCH 1 BINARY[1.MIME]", "BAD...")
	c.want("FETCH 1 BINARY", "BAD...")
}

// folded is b in base64 in lines of 76.
func folded(b []byte) string {
	var w strings.Builder
	s := base64.StdEncoding.EncodeToString(b)
	for len(s) > 0 {
		n := min(76, len(s))
		w.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return w.String()
}

// \Seen is set by what is read, told in the same response and not again, and
// not set at all by PEEK, by RFC822.HEADER or after EXAMINE.
func TestFetchSeen(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	for range 70 {
		r.add("Subject: x\n\nbody\n")
	}
	c, other := r.client(), r.client()
	const done = "OK FETCH completed"
	c.want("FETCH 1 (BODY.PEEK[TEXT] RFC822.HEADER BODY[HEADER.FIELDS (X)])",
		"* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n RFC822.HEADER {14}\r\nSubject: x\r\n\r\n FLAGS (\\Seen \\Recent) BODY[HEADER.FIELDS (X)] {2}\r\n\r\n)", done)
	c.want("FETCH 2 (BODY.PEEK[TEXT] RFC822.HEADER)",
		"* 2 FETCH (BODY[TEXT] {6}\r\nbody\r\n RFC822.HEADER {14}\r\nSubject: x\r\n\r\n)", done)
	c.want("FETCH 1 BODY[TEXT]", "* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)", done)
	c.want("UID FETCH 2 (FLAGS RFC822.TEXT)", "* 2 FETCH (UID 2 FLAGS (\\Seen \\Recent) RFC822.TEXT {6}\r\nbody\r\n)", "OK UID FETCH completed")
	c.want("NOOP", "OK NOOP completed")
	other.want("NOOP", "* 1 FETCH (FLAGS (\\Seen))", "* 2 FETCH (FLAGS (\\Seen))", "OK NOOP completed")
	lines := c.ok("FETCH 1:* BODY[TEXT]")
	if len(lines) != 70 || !strings.Contains(lines[69], `70 FETCH (FLAGS (\Seen \Recent) BODY[TEXT] {`) {
		t.Errorf("%d lines, the last %s", len(lines), lines[len(lines)-1])
	}
	c.want("NOOP", "OK NOOP completed")
	if lines := other.ok("NOOP"); len(lines) != 68 {
		t.Errorf("the other session was told of %d changes", len(lines))
	}
	if box := r.inbox(); box.Unseen != 0 {
		t.Errorf("%d messages are unseen", box.Unseen)
	}
	r.add("Subject: y\n\nbody\n")
	reader := r.login()
	reader.ok("EXAMINE INBOX")
	reader.want("FETCH 71 BODY[TEXT]", "* 71 FETCH (BODY[TEXT] {6}\r\nbody\r\n)", done)
	if box := r.inbox(); box.Unseen != 1 {
		t.Errorf("EXAMINE marked a message")
	}
}

// A message that another session expunged answers until this one is told
// (RFC 2180 §4.1.1).
func TestFetchExpunged(t *testing.T) {
	t.Parallel()
	r := newFetchRig(t)
	for i := range 4 {
		r.add(fmt.Sprintf("Subject: %d\n\nbody %d\n", i+1, i+1))
	}
	c, other := r.client(), r.client()
	other.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
	other.ok("EXPUNGE")
	c.want("FETCH 2 BODY[TEXT]", "* 2 FETCH (BODY[TEXT] {8}\r\nbody 2\r\n)", "OK FETCH completed")
	c.want("FETCH 1:4 (UID ENVELOPE)",
		`* 1 FETCH (UID 1 ENVELOPE (NIL "1"...`, `* 2 FETCH (UID 2 ENVELOPE (NIL "2"...`,
		`* 3 FETCH (UID 3 ENVELOPE (NIL "3"...`, `* 4 FETCH (UID 4 ENVELOPE (NIL "4"...`, "OK FETCH completed")
	c.want(`STORE 2 +FLAGS (\Draft)`, "NO [EXPUNGEISSUED]...")
	c.want(`STORE 2 +FLAGS.SILENT (\Draft)`, "OK STORE completed")
	c.want("SEARCH SUBJECT 2", "* SEARCH", "OK SEARCH completed")
	c.want("UID FETCH 3 UID", "* 3 FETCH (UID 3)", "* 4 EXPUNGE", "* 2 EXPUNGE", "OK UID FETCH completed")
	c.want("FETCH 1:* UID", "* 1 FETCH (UID 1)", "* 2 FETCH (UID 3)", "OK FETCH completed")
}
