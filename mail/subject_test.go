package mail

import (
	"slices"
	"strings"
	"testing"
)

// RFC 5256 §2.1, step by step.
func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		in, base string
		reply    bool
	}{
		{"", "", false},
		{"plain", "plain", false},
		{"  tabs\t and \r\n folds  ", "tabs and folds", false},
		{"Re: a", "a", true},
		{"RE : a", "a", true},
		{"re:re: fw: FWD: a", "a", true},
		{"re[2]: a", "a", true},
		{"re [x] : a", "a", true},
		{"re[x][y]: a", "re[x][y]: a", false}, // one blob only
		{"[list] re: a", "a", true},
		{"[one] [two] fwd: a", "a", true},
		{"re: [list] a", "a", true},
		{"[list] a", "a", false},
		{"[list][b] a", "a", false},
		{"[list]", "[list]", false}, // nothing would be left
		{"[a] [b]", "[b]", false},
		{"re: [b]", "[b]", true},
		{"[a] re:", "", true},
		{"re:", "", true},
		{"a (fwd)", "a", true},
		{"a (FWD)(fwd) (Fwd) ", "a", true},
		{"(fwd)", "", true},
		{"a (fwd) b", "a (fwd) b", false},
		{"[fwd: a]", "a", true},
		{"[Fwd: re: [x] a (fwd)]", "a", true},
		{"[fwd: [fwd: a]]", "a", true},
		{"[fwd: a] (fwd)", "a", true},
		{"re: [fwd: a]", "a", true},
		{"[fwd: a] b", "b", false}, // a blob, as any other
		{"[fwd:]", "", true},
		{"fwd a", "fwd a", false},
		{"f: a", "f: a", false},
		{"reply: a", "reply: a", false},
		{"[un[balanced] re: a", "[un[balanced] re: a", false},
		{"[a", "[a", false},
		{"aw: a", "aw: a", false}, // other languages are none of the RFC's
		{"Größe", "Größe", false},
	} {
		if base, reply := BaseSubject(c.in); base != c.base || reply != c.reply {
			t.Errorf("%q: %q %v, want %q %v", c.in, base, reply, c.base, c.reply)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for in, want := range map[string][]string{
		"":                              nil,
		"<a@b>":                         {"a@b"},
		"<a@b><c@d>\t<e@f>":             {"a@b", "c@d", "e@f"},
		"Your mail of <a@b> \"x\" <c@d": {"a@b"},
		"< a @ b >":                     {"a@b"},
		"a@b":                           {"a@b"},
		"a b":                           nil,
		"<>":                            nil,
		"<a@b":                          nil,
		// RFC 5256 §3: quoting makes no other id
		"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>": {"01KF8JCEOCBS0045PS@xxx.yyy.com"},
		"<\"a\\\"b\"@c>":                       {"a\"b@c"},
	} {
		var got, hashes []Hash
		eachID([]byte(in), func(h Hash) bool { got = append(got, h); return true })
		for _, id := range want {
			hashes = append(hashes, hashOf(id))
		}
		if !slices.Equal(got, hashes) {
			t.Errorf("%q is not %q", in, want)
		}
	}
	msg := "References: <first@y> " + strings.Repeat("<x@y> ", 500) + "<last@y>\r\n\r\n"
	n, first, last := 0, Hash{}, Hash{}
	parse(msg).References(func(h Hash) bool {
		if n == 0 {
			first = h
		}
		n++
		last = h
		return true
	})
	if n != maxIDs || first != hashOf("first@y") || last != hashOf("last@y") {
		t.Error(n, "references; the last ones count")
	}
}

func TestPreview(t *testing.T) {
	for in, want := range map[string]string{
		"\none\n\n  two\tthree\n": "one two three",
		"\n":                      "",
		"Content-Type: multipart/alternative; boundary=x\n\n--x\n\n\n--x\nContent-Type: text/html\n\n<style>p{}</style><p>Hi &amp; <b>bye</b></p>\n--x--": "Hi & bye",
		"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==":                                                      "Grüße",
		"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Disposition: attachment\n\nno\n--x\n\nyes\n--x--":                                      "yes",
		"Content-Type: image/png\n\nxx":      "",
		"\na\x00b\x1bc":                      "abc",
		"\n" + strings.Repeat("ä", 300):      strings.Repeat("ä", 200),
		"\n" + strings.Repeat("ab ", 30_000): strings.TrimSpace(strings.Repeat("ab ", 67)),
	} {
		if got := string(parse(crlf(in)).Preview()); got != want {
			t.Errorf("%.80q: %q, want %q", in, got, want)
		}
	}
}
