package mail

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func htmlOf(s string, cut int) string {
	var h htmlText
	var out []byte
	for s != "" {
		k := min(cut, len(s))
		out = h.append(out, []byte(s[:k]))
		s = s[k:]
	}
	return string(h.finish(out))
}

func TestHTML(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"<p>a</p><p>b":           " a  b",
		"a<b>b</b>c<i >d</i>":    "abcd",
		"a<br>b<BR/>c<hr />d":    "a b c d",
		"<td>a<td>b":             " a b",
		"1 < 2 && 3 > 2 <> <3 <": "1 < 2 && 3 > 2 <> <3 ",
		"a<<b>b":                 "a<b",
		"&lt;p&gt; &amp;amp; &#65;&#x42;&eacute;&nbsp;&copy 5 &unknown; &": "<p> &amp; AB\u00e9\u00a0© 5 &unknown; &",
		"&amp&lt;&<b>x":                                      "&<&x",
		"a<!-- <b> -- > x --> b":                             "a b",
		"a<!-->b<!---->c":                                    "abc",
		"<!DOCTYPE html \"it's\">a":                          " a",
		"<style>p > a {}</style>b":                           " b",
		"<SCRIPT type='x'>if (a<b && c>d) '</p>'</SCRIPT >c": " c",
		"<style>never ends":                                  "",
		"<a href=\"x>y\" title='>'>b</a>c":                   "bc",
		"<p title=\"it's\">b":                                " b",
		"<p it's>a</p>'b":                                    " a 'b", // a quote that begins no value
		"<img alt= \"a > b\">c":                              " c",
		"<p unended":                                         "",
		"<title>T</title>b":                                  " b",
		"<o:p></o:p>a":                                       "a",
		"<?xml version='1'?>a":                               " a",
		"&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;b": "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;b",
		"ä&ä;<ä>": "ä&ä;<ä>",
	} {
		for _, cut := range []int{1, 2, 3, 1000} {
			if got := htmlOf(in, cut); got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", in, cut, got, want)
			}
		}
	}
	if got := htmlOf("a<style>"+strings.Repeat("x > y ", 10_000)+"</style>b", 100); got != "a b" {
		t.Errorf("a long style leaves %.100q", got)
	}
}

func FuzzHTML(f *testing.F) {
	f.Add("<p>a<!-- x --><style></style>&amp;<a b='c\"'>", 1)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		whole := htmlOf(s, len(s)+1)
		if got := htmlOf(s, 1+(cut&15)); got != whole {
			t.Errorf("%q in pieces: %q, whole %q", s, got, whole)
		}
		if utf8.ValidString(s) && !utf8.ValidString(whole) {
			t.Errorf("%q: %q is not UTF-8", s, whole)
		}
		if !strings.ContainsAny(s, "<&") && whole != s {
			t.Errorf("%q became %q", s, whole)
		}
	})
}
