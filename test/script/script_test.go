package script

import (
	"bufio"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	s, err := Parse("x", []byte(`# A test of RFC 1.
portable
account fred
account joe
mailbox @joe "two words"
message INBOX m (\Seen $x) "1-Feb-2003 04:05:06 +0000"
user 2 joe
selected INBOX
-- script --
# a comment
C1: a NOOP
S1: a OK
  | more
  |  and more
U2: x
C2q: "a\r\n"
C1!: own
-- m --
Subject: x

body
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{line: 11, conn: 1, kind: send, text: "a NOOP"},
		{line: 12, conn: 1, kind: receive, text: "a OK\r\nmore\r\n and more"},
		{line: 15, conn: 2, kind: anyOrder, text: "x"},
		{line: 16, conn: 2, kind: sendBytes, text: "a\r\n"},
		{line: 17, conn: 1, kind: send, own: true, text: "own"},
	}
	if !reflect.DeepEqual(s.steps, want) {
		t.Errorf("steps %+v", s.steps)
	}
	if !s.Portable || !reflect.DeepEqual(s.Accounts, []string{"fred", "joe"}) || s.users[2] != "joe" ||
		!reflect.DeepEqual(s.mailboxes, []mailbox{{"joe", `"two words"`}}) ||
		!reflect.DeepEqual(s.messages, []message{{"fred", "INBOX", "m", ` (\Seen $x)`, ` "1-Feb-2003 04:05:06 +0000"`}}) ||
		!reflect.DeepEqual(s.after, []string{"SELECT INBOX"}) || s.files["m"] != "Subject: x\r\n\r\nbody\r\n" {
		t.Errorf("scene %+v", s)
	}
	if got := s.Clients(); !reflect.DeepEqual(got, []string{"a NOOP", "own"}) {
		t.Errorf("clients %q", got)
	}
	for _, bad := range []string{
		"portable\n", "# RFC 1\nnonsense\n", "# RFC 1\nmessage INBOX nofile\n", "# RFC 1\n-- script --\nX1: x\n",
		"# RFC 1\n-- script --\n  | x\n", "# RFC 1\n-- script --\nC1q: x\n", "# RFC 1\nuser x y\n",
	} {
		if _, err := Parse("x", []byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMatch(t *testing.T) {
	v := variables{"old": "17"}
	for _, test := range []struct {
		pattern, response string
		want              bool
	}{
		{"* 1 EXISTS", "* 1 EXISTS", true},
		{"* 1 EXISTS", "* 1 EXISTS ", false},
		{"a OK ...", "a OK done", true},
		{"a OK ...", "a OK", false},
		{"* (...\\Seen...)", "* (\\Answered \\Seen)", true},
		{"* ${old}", "* 17", true},
		{"* ${old}", "* 18", false},
		{"* ${new} ${new}", "* 5 6", false},
		{"* ${new} ${new}", "* 5 5", true},
		{"* ${new}", "* 6", false},
		{"* {3}\r\n...)", "* {3}\r\na\r\n)", true},
		{"* ${two}", "* two words", false},
	} {
		if got := v.match(test.pattern, test.response); got != test.want {
			t.Errorf("%q, %q: %v", test.pattern, test.response, got)
		}
	}
	if v["new"] != "5" {
		t.Errorf("%v", v)
	}
}

// serve answers the lines of one connection.
func serve(answers map[string]string) *Target {
	return &Target{
		Patience: 5 * time.Second,
		Account:  func(name string) (Account, error) { return Account{name, "pw"}, nil },
		Dial: func() (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				_, _ = fmt.Fprint(server, "* OK hello\r\n")
				r := bufio.NewScanner(server)
				for r.Scan() {
					tag, rest, _ := strings.Cut(r.Text(), " ")
					answer := answers[rest]
					switch {
					case rest == "LOGOUT":
						_, _ = fmt.Fprintf(server, "* BYE bye\r\n%s OK done\r\n", tag)
						return
					case answer == "" && strings.HasPrefix(rest, "LOGIN"):
						answer = tag + " OK in\r\n"
					}
					_, _ = fmt.Fprint(server, answer)
				}
			}()
			return client, nil
		},
	}
}

func TestPlay(t *testing.T) {
	target := serve(map[string]string{
		"LIST":  "* a\r\n* b\r\n* c\r\nt OK done\r\n",
		"FETCH": "* 1 FETCH (BODY[] {4}\r\na\r\nb)\r\nt OK done\r\n",
		"BAD":   "t BAD no\r\n",
	})
	for _, test := range []struct{ script, err string }{
		{"C1: t LIST\nS1: * a\nS1: * b\nS1: * ${x}\nS1: t OK ...\n", ""},
		{"C1: t LIST\nU1: * c\nU1: * a\nU1: * b\nS1: t OK ...\n", ""},
		{"C1: t LIST\nU1: * c\nU1: * a\nU1: * x\nS1: t OK ...\n", "none of 2 lines"},
		{"C1: t LIST\nS1: ...\nS1: * c\nS1: t OK ...\n", ""},
		{"C1: t LIST\nS1: ...\nS1: * d\nS1: t OK ...\n", "before the end of the command"},
		{"C1: t LIST\nS1: * b\n", `want "* b"`},
		{"C1: t LIST\nS1: ...\nS1: * b\n", `at the end: want "* BYE ..."`},
		{"C1: t FETCH\nS1: * 1 FETCH (BODY[] {4}\n  | a\n  | b)\nS1: t OK ...\n", ""},
		{"C1: t BAD\nS1: t NO ...\n", `want "t NO ..."`},
		{"C1: ${unknown}\n", "not bound"},
		{"C1: <close>\nC2: t LIST\nS2: ...\nS2: t OK ...\n", ""},
		{"C1: t LOGOUT\nS1: * BYE ...\nS1: t OK ...\nS1: <eof>\n", ""},
	} {
		s, err := Parse("x", []byte("# RFC 1\n-- script --\n"+test.script))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Play(target)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s\n: %v, want %q", test.script, err, test.err)
		}
	}
}
