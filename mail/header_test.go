package mail

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestAppendHeaderFields(t *testing.T) {
	const header = "From a@b Thu\r\nReceived: one\r\n\ttwo\r\nSubject : with a blank\r\nsubject: again\r\nno colon\r\nX-Long: a\r\n b\r\n  c\r\nTo:\r\n\r\nbody: no\r\n"
	for _, c := range []struct {
		names []string
		not   bool
		want  string
	}{
		{[]string{"SUBJECT"}, false, "Subject : with a blank\r\nsubject: again\r\n\r\n"},
		{[]string{"TO", "X-LONG"}, false, "X-Long: a\r\n b\r\n  c\r\nTo:\r\n\r\n"},
		{[]string{"NONE"}, false, "\r\n"},
		{[]string{"BODY"}, false, "\r\n"},
		{nil, true, "From a@b Thu\r\nReceived: one\r\n\ttwo\r\nSubject : with a blank\r\nsubject: again\r\nno colon\r\nX-Long: a\r\n b\r\n  c\r\nTo:\r\n\r\n"},
		{[]string{"RECEIVED", "X-LONG"}, true, "From a@b Thu\r\nSubject : with a blank\r\nsubject: again\r\nno colon\r\nTo:\r\n\r\n"},
	} {
		if got := string(AppendHeaderFields(nil, []byte(header), c.names, c.not)); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.names, c.not, got, c.want)
		}
	}
	if got := string(AppendHeaderFields([]byte("x"), []byte("To: a"), []string{"TO"}, false)); got != "xTo: a\r\n\r\n" {
		t.Errorf("a header without an end gives %q", got)
	}
	if got := string(AppendHeaderFields(nil, []byte("To: a\n\nCc: b\n"), []string{"TO", "CC"}, false)); got != "To: a\n\n" {
		t.Errorf("a header with bare line feeds gives %q", got)
	}
	if got := string(AppendHeaderFields(nil, []byte("To: a\r\nCc: b"), []string{"TO"}, true)); got != "Cc: b" {
		t.Errorf("the others of a header without an end are %q", got)
	}
	var values []string
	HeaderField([]byte(header), "Subject", func(v []byte) bool { values = append(values, string(v)); return true })
	if !slices.Equal(values, []string{" with a blank\r\n", " again\r\n"}) {
		t.Errorf("%q", values)
	}
}

// Addresses as in RFC 5322 appendix A, and broken ones: name, route, mailbox,
// host; "-" for NIL.
func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"John Doe <jdoe@machine.example>":                                  "John Doe|-|jdoe|machine.example",
		"\"Joe Q. Public\" <john.q.public@example.com>":                    "Joe Q. Public|-|john.q.public|example.com",
		"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>":    "Mary Smith|-|mary|x.test, -|-|jdoe|example.org, Who?|-|one|y.test",
		"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;": "-|-|A Group|-, Ed Jones|-|c|a.test, -|-|joe|where.test, John|-|jdoe|one.test, -|-|-|-",
		"Undisclosed recipients:;":                                         "-|-|Undisclosed recipients|-, -|-|-|-",
		"undisclosed-recipients:":                                          "-|-|undisclosed-recipients|-, -|-|-|-",
		"a@b (Comment (nested \\) one))":                                   "Comment (nested ) one)|-|a|b",
		"(one) a@b (two)":                                                  "two|-|a|b",
		"\"quoted . local\"@b":                                             "-|-|quoted . local|b",
		"a . b @ c . d":                                                    "-|-|a.b|c.d",
		"<@a,@b:c@d>":                                                      "-|@a,@b|c|d",
		"\"\" <a@b>":                                                       "-|-|a|b",
		"<>":                                                               "-|-||",
		"MAILER-DAEMON":                                                    "-|-|MAILER-DAEMON|",
		"a@b@c":                                                            "-|-|a|b",
		"a@b c@d":                                                          "-|-|a|b",
		"a@b <c@d>":                                                        "a@b|-|c|d",
		"Last, First <a@b>":                                                "-|-|Last|, First|-|a|b",
		"'x' <a@b> junk, c@d":                                              "'x'|-|a|b, -|-|c|d",
		"a@[IPv6:::1], b@[1.2.3.4]":                                        "-|-|a|[IPv6:::1], -|-|b|[1.2.3.4]",
		"=?utf-8?q?J=C3=B6rg?= <a@b>":                                      "=?utf-8?q?J=C3=B6rg?=|-|a|b",
		"J\xc3\xb6rg <j\xc3\xb6rg@\xc3\xa4.example>":                       "J\xc3\xb6rg|-|j\xc3\xb6rg|\xc3\xa4.example",
		"one: a@b; two: c@d;, e@f":                                         "-|-|one|-, -|-|a|b, -|-|-|-, -|-|two|-, -|-|c|d, -|-|-|-, -|-|e|f",
		"one: two: a@b;":                                                   "-|-|one|-, -|-|a|b, -|-|-|-",
		"a@b; c@d":                                                         "-|-|a|b, -|-|c|d",
		" , ,, ":                                                           "",
		"@b":                                                               "-|-||b",
		"a@":                                                               "-|-|a|",
		">":                                                                "", ")": "", "\"": "", "(": "", ":": "-|-||-, -|-|-|-", ";": "", "<": "-|-||", "\\": "-|-|\\|",
	} {
		var list []string
		addressesOf(in, func(a *address) {
			show := func(s []byte, ok bool) string {
				if !ok {
					return "-"
				}
				return string(s)
			}
			list = append(list, fmt.Sprintf("%s|%s|%s|%s", show(a.name, len(a.name) > 0), show(a.route, len(a.route) > 0), show(a.mailbox, a.hasMailbox), show(a.host, a.hasHost)))
		})
		if got := strings.Join(list, ", "); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	many := 0
	addressesOf(strings.Repeat("a@b,", 3*maxAddresses), func(*address) { many++ })
	if many != maxAddresses {
		t.Errorf("%d addresses", many)
	}
}

// addressesOf reads the addresses of a field.
func addressesOf(value string, yield func(*address)) {
	var h headerFields
	h.read([]byte("To: "+value), true, false)
	h.addresses(fieldTo, maxAddresses, yield)
}

// Any field gives an ENVELOPE that is sound: each group that begins ends.
func FuzzAddresses(f *testing.F) {
	f.Add("A Group:Ed Jones <c@a.test>,joe@where.test (c);, \"x\" <@a:b@c>")
	f.Fuzz(func(t *testing.T, s string) {
		open := false
		addressesOf(s, func(a *address) {
			switch {
			case a.hasHost:
			case a.hasMailbox && !open:
				open = true
			case !a.hasMailbox && open:
				open = false
			default:
				t.Errorf("%q: groups don't match", s)
			}
		})
		if open {
			t.Errorf("%q: a group without an end", s)
		}
		rec := parse("To: " + s + "\r\nFrom: " + s + "\r\n\r\n")
		if rest, ok := skipForm(rec.Envelope()); !ok || len(rest) > 0 {
			t.Errorf("%q: not a wire form", s)
		}
	})
}

// Parameters with their value as a client in IMAP4rev1 gets it, and in
// IMAP4rev2.
func TestParams(t *testing.T) {
	for in, want := range map[string]string{
		`a/b; x=1; X=2`: "X=1 X=2",
		`a/b; url*0="ftp://"; URL*1="cs.utk.edu"`: "URL=ftp://cs.utk.edu", // RFC 2231 §3
		`a/b; t*=us-ascii'en-us'This%20is`:        "T*=us-ascii'en-us'This%20is=This is",
		`a/b; t*=iso-8859-1''%A3%20rates`:         "T*=iso-8859-1''%A3%20rates=£ rates",
		`a/b; f*1=b; z=9; f*0=a`:                  "F=ab Z=9",
		`a/b; f*0=a; f*2=c`:                       "F=a",
		`a/b; f*1=b`:                              "F=b",
		`a/b; f*0="a b"; f*1*=%20`:                "F*=''a%20b%20=a b ",
		`a/b; f*x=1; *0=3`:                        "F*X=1 *0=3",
		`a/b; f*0=a; f*0=b; f*+1=c; f*01=d`:       "F=abd F*+1=c",
		`a/b; name=my file (1).pdf; x=1`:          "NAME=my file (1).pdf X=1",
		`a/b; name=my file charset=x`:             "NAME=my file CHARSET=x",
		`a/b name="x;y" (z) ; boundary==_1`:       "NAME=x;y BOUNDARY==_1",
	} {
		var h headerFields
		h.read([]byte("Content-Type: "+in), false, false)
		var list []string
		for _, p := range h.params {
			if p.extended {
				list = append(list, fmt.Sprintf("%s*=%s=%s", p.name, p.value, p.decoded))
			} else {
				list = append(list, fmt.Sprintf("%s=%s", p.name, p.value))
			}
		}
		if got := strings.Join(list, " "); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
