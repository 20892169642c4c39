package mail

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"":               "",
		"Hello,  World":  "HELLO, WORLD",
		" a \t\r\n b ":   " A B ",
		"a\u00a0\u2003b": "A B",
		"Größe":          "GRO\u0308ßE",
		"Gro\u0308ße":    "GRO\u0308ßE",
		"ÉCOLE":          "E\u0301COLE",
		"ﬁn ① K ſ":       "FIN 1 K S", // decompositions, RFC 5051 step 2
		"ǆ":              "DZ\u030c",
		"Привет":         "ПРИВЕТ",
		"日本語":            "日本語",
		"a\x00b\x07c":    "ABC",
		"\xff":           "\ufffd",
		"straße STRASSE": "STRAßE STRASSE", // no full case folding
		"´":              " \u0301",
	} {
		if got := Normal(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := Normal(want); got != want {
			t.Errorf("%q is not stable: %q", want, got)
		}
	}
}

func TestDecodeHeader(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain",
		// RFC 2047 §8
		"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>": "Keith Moore <moore@cs.utk.edu>",
		"=?ISO-8859-1?Q?Andr=E9?= Pirard":               "André Pirard",
		"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=": "If you can read this you understand the example.",
		"(=?ISO-8859-1?Q?a?=)":                                              "(a)",
		"(=?ISO-8859-1?Q?a?= b)":                                            "(a b)",
		"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)":                           "(ab)",
		"(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)":                          "(ab)",
		"(=?ISO-8859-1?Q?a_b?=)":                                            "(a b)",
		"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)":                          "(a b)",
		"=?US-ASCII*EN?Q?Keith_Moore?=":                                     "Keith Moore", // RFC 2231 §5
		"a =?utf-8?B?w?= =?utf-8?B?w6k=?=":                                  "a é",
		"=?utf-8?Q?=C3?= =?UTF-8?Q?=A9?=":                                   "é", // cut within a character
		"=?gb2312?B?1tA=?= =?gb2312?B?zsQ=?=":                               "中文",
		"=?gb2312?Q?=D6?= =?gb2312?Q?=D0?=":                                 "中",
		"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?iso-2022-jp?B?GyRCOGwbKEI=?=": "日本語",
		"=?koi8-r?B?8NLJ18XU?=":                                             "Привет",
		"=?windows-1252?Q?=80?=":                                            "€",
		"=?cp437?Q?=84?=":                                                   "ä",
		"=?utf-8?q?a b?=":                                                   "a b", // a blank within, as some write
		"=?x-none?q?=E4?=":                                                  "ä",   // as Windows-1252
		"=?utf-8?x?a?= =?utf-8?q?open =?= =? ?= =???=":                      "=?utf-8?x?a?= open = =? ?= =???=",
		"J\xf6rg \xc3\xa9":                                                  "Jörg é",
	} {
		if got := DecodeHeader(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// textOf is the normal text of a message.
func textOf(t testing.TB, msg string, s Scope) string {
	t.Helper()
	var b strings.Builder
	err := NormalText(parse(msg), strings.NewReader(msg), s, func(piece []byte) bool {
		if len(piece) > maxPiece {
			t.Errorf("a piece of %d octets", len(piece))
		}
		b.Write(piece)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNormalText(t *testing.T) {
	for in, want := range map[string]string{
		"Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$BF|K\\8l\x1b(B text\n":                                       "日本語 TEXT",
		"Content-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: base64\n\n1tDO\nxA==":                         "中文",
		"Content-Type: text/plain; charset=\"KOI8-R\"\n\n\xf0\xd2\xc9\xd7\xc5\xd4":                                          "ПРИВЕТ",
		"Content-Type: text/plain; charset=windows-1252\nContent-Transfer-Encoding: quoted-printable\n\n=80 100=\n0 =96 ok": "€ 1000 – OK",
		"Content-Type: text/plain; charset=utf-7\n\n+AOQ- stays":                                                            "+AOQ- STAYS",
		"Content-Type: text/plain; charset*=utf-8''koi8-r\n\n\xf0":                                                          "П",
		"Content-Type: text/plain; charset=utf-16be\nContent-Transfer-Encoding: base64\n\nAEEAYg==":                         "AB",
		"\nno charset \xe4 \xc3\xa4": "NO CHARSET A\u0308 A\u0308",
		"Content-Type: text/html; charset=utf-8\n\n<p>One<b>Two</b><br>Three&auml;&#228;&nbsp;<script>no</script>four</p>": " ONETWO THREEA\u0308A\u0308 FOUR ",
		"Content-Type: image/png\n\nnot text":                                      "",
		"Content-Type: text/plain\nContent-Transfer-Encoding: x-other\n\nas it is": "AS IT IS",
		"Content-Type: multipart/mixed; boundary=x\n\npreamble\n--x\n\none\n--x\nContent-Type: message/rfc822\n\nSubject: =?utf-8?q?in?=\nContent-Type: text/html\n\n<i>two\n--x--\nepilogue": "ONE\nSUBJECT: IN\nCONTENT-TYPE: TEXT/HTML\nTWO",
	} {
		msg := crlf(in)
		if got := strings.TrimRight(textOf(t, msg, ScopeBody), "\n "); got != strings.TrimRight(want, " ") {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := textOf(t, msg, ScopeText); !strings.HasPrefix(got, textOf(t, msg, ScopeHeader)) || !strings.HasSuffix(got, textOf(t, msg, ScopeBody)) && !strings.Contains(in, "boundary") {
			t.Errorf("%q: TEXT is not HEADER and BODY: %q", in, got)
		}
	}
}

// TEXT looks at the headers of parts too (RFC 9051 §6.4.4), BODY does not; an
// attached message in an encoding is text.
func TestNormalTextOfParts(t *testing.T) {
	msg := crlf("Subject: a\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: application/pdf; name=invoice.pdf\n\nnot text\n" +
		"--x\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW4NCg0KYm9keQ==\n--x--\n")
	if got, want := textOf(t, msg, ScopeBody), "SUBJECT: IN BODY\n"; got != want {
		t.Errorf("BODY: %q, want %q", got, want)
	}
	if got := textOf(t, msg, ScopeText); !strings.Contains(got, "NAME=INVOICE.PDF") || !strings.Contains(got, "SUBJECT: IN BODY") {
		t.Errorf("TEXT: %q", got)
	}
}

// The normal form of each character is its own normal form.
func TestNormalIsStable(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if once := Normal(string(r)); Normal(once) != once {
			t.Errorf("%U: %q, then %q", r, once, Normal(once))
		}
	}
}

// What HEADER finds in a field, TEXT finds in the message.
func TestNormalHeader(t *testing.T) {
	for _, value := range []string{
		" plain", "", " ", "x", " folded\r\n\tand  again\r\n ", " =?iso-8859-1?q?=E4?=\r\n =?iso-8859-1?q?_b?= c", "=?utf-8?q?_lead?=",
		" \"=?utf-8?b?w6Q=?=\" <a@b>", " J\xf6rg", " tab\tand\x00nul", " =?utf-8?q?a=0Ab?=",
	} {
		header := "Subject:" + value + "\r\nTo: x\r\n\r\n"
		var field []byte
		HeaderField([]byte(header), "SUBJECT", func(v []byte) bool {
			field = AppendNormalHeader(nil, v)
			return true
		})
		if text := textOf(t, header, ScopeHeader); !strings.Contains(text, string(field)) {
			t.Errorf("%q: %q is not in %q", value, field, text)
		}
		if bytes.ContainsAny(field, "\n\r") {
			t.Errorf("%q: a line end in %q", value, field)
		}
	}
}

// letters are of all kinds: blanks, ASCII, characters of 2, 3 and 4 octets,
// some that decompose.
var letters = []rune("   \n\t\u00a0abcXYZ.,<&;äÖßéПя日本語😀ﬁŉ´\u0308")

func randomText(rnd *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteRune(letters[rnd.Intn(len(letters))])
	}
	return b.String()
}

// Every substring of a message's text finds it, however the text is cut. A
// blank at its edge counts as any other character.
func TestEverySubstringIsFound(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for range 300 {
		text := randomText(rnd, 1+rnd.Intn(300))
		msg := "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text
		if rnd.Intn(50) == 0 {
			msg = strings.Replace(msg, text, strings.Repeat("ä", maxPiece+rnd.Intn(9))+text, 1)
		}
		rec := parse(msg)
		runes := []rune(text)
		for range 20 {
			i := rnd.Intn(len(runes))
			needle := Normal(string(runes[i : i+1+rnd.Intn(len(runes)-i)]))
			n := NewNeedle(needle)
			found := false
			err := NormalText(rec, strings.NewReader(msg), ScopeBody, func(piece []byte) bool {
				for len(piece) > 0 && !found {
					k := min(1+rnd.Intn(40), len(piece))
					found = n.Feed(piece[:k])
					piece = piece[k:]
				}
				return !found
			})
			if err != nil || !found {
				t.Fatalf("%q is not found in %q (%v)", needle, text, err)
			}
		}
	}
}

// A Needle finds what strings.Contains finds, in pieces of all sizes.
func TestNeedle(t *testing.T) {
	rnd := rand.New(rand.NewSource(2))
	pick := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[rnd.Intn(2)]
		}
		return string(b)
	}
	for range 20_000 {
		text, needle := pick(rnd.Intn(40)), pick(rnd.Intn(7))
		n := NewNeedle(needle)
		found := n.Feed(nil)
		for rest := text; rest != "" && !found; {
			k := min(1+rnd.Intn(6), len(rest))
			found, rest = n.Feed([]byte(rest[:k])), rest[k:]
		}
		if found != strings.Contains(text, needle) {
			t.Fatalf("%q in %q: %v", needle, text, found)
		}
		n.Reset()
		if needle != "" && n.Feed([]byte(needle[1:])) {
			t.Fatalf("%q is found after Reset", needle)
		}
	}
}

func TestNormalTextStops(t *testing.T) {
	msg := sample + strings.Repeat("more text\r\n", 5000)
	calls := 0
	err := NormalText(parse(msg), strings.NewReader(msg), ScopeText, func([]byte) bool { calls++; return false })
	if err != nil || calls != 1 {
		t.Error(calls, err)
	}
	rec := parse(msg)
	if err := NormalText(rec, failing{}, ScopeText, func([]byte) bool { return true }); err == nil {
		t.Error("a failing reader gives no error")
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errFailing }

var errFailing = readError("broken disk")

type readError string

func (e readError) Error() string { return string(e) }

func FuzzNormal(f *testing.F) {
	f.Add([]byte("Größe \xff\x00"), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		whole := Normal(string(text))
		if !utf8.ValidString(whole) || strings.ContainsAny(whole, "\n\r\t") || strings.Contains(whole, "  ") {
			t.Errorf("%q: %q", text, whole)
		}
		var z normalizer
		var out []byte
		for rest := text; len(rest) > 0; {
			k := max(1, min(cut%5, len(rest)))
			out, rest = z.append(out, rest[:k]), rest[k:]
		}
		if z.n == 0 && utf8.Valid(text) && string(out) != whole {
			t.Errorf("%q in pieces: %q, whole %q", text, out, whole)
		}
		if utf8.Valid(text) && Normal(whole) != whole {
			t.Errorf("%q is not stable: %q", whole, Normal(whole))
		}
	})
}
