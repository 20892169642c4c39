package storage

import (
	"strings"
	"testing"
)

func TestCanonicalName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"anna": "anna", "Anna": "anna", "ANNA Maria": "anna maria", "anna@Example.org": "anna@example.org",
		"Jürgen": "jürgen", "Ju\u0308rgen": "jürgen", "ＡＢＣ": "abc", "Ωmega": "ωmega", "山田": "山田", "a_b-c+d.e": "a_b-c+d.e",
		strings.Repeat("x", 255): strings.Repeat("x", 255),
	} {
		got, err := CanonicalName(in)
		if err != nil || got != want {
			t.Errorf("CanonicalName(%q) = %q, %v; want %q", in, got, err, want)
		}
		if again, err := CanonicalName(got); err != nil || again != got {
			t.Errorf("CanonicalName(%q) = %q, %v; not stable", got, again, err)
		}
	}
	for _, in := range []string{
		"", " ", " anna", "anna ", "an  na", "a/b", "a\x00b", "a\nb", "a\x7fb", "a\u0085b", "a\u200bb", "\u202eanna", "a\u00a0b",
		"a\u00adb", "a\ufe0fb", "ﬁona", "x²", "a*", "a%", `a"b`, `a\b`, ".", "..", "anyone", "Anonymous", "-anna", "a\xffb", "\ufffd", "\ue000",
		strings.Repeat("x", 256),
	} {
		if got, err := CanonicalName(in); err == nil {
			t.Errorf("CanonicalName(%q) = %q, want an error", in, got)
		}
	}
}

func TestCanonicalAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"anna@example.org": "anna@example.org", "Anna@EXAMPLE.Org.": "Anna@example.org", "a+b@nas": "a+b@nas",
		"o'neil@x.y": "o'neil@x.y", "jürgen@BÜCHER.example": "jürgen@bücher.example", "x@xn--bcher-kva.example": "x@bücher.example",
		"x@XN--BCHER-KVA.example": "x@bücher.example", "пётр@пример.рф": "пётр@пример.рф", "x@xn--e1afmkfd.xn--p1ai": "x@пример.рф",
	} {
		got, err := CanonicalAddress(in)
		if err != nil || got != want {
			t.Errorf("CanonicalAddress(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "anna", "@x.org", "anna@", "anna@.", "a b@x.org", `"a b"@x.org`, "a@b@x.org", ".a@x.org", "a.@x.org", "a..b@x.org", "a@x..org", "a@-x.org",
		"a@x-.org", "a@[192.0.2.1]", "a@x y", "a@x/y", "a\x00@x.org", "a\n@x.org", "a@x\n.org", "a@xn--", "a@xn--a", "a@xn--99999999999", "a\u200b@x.org",
		strings.Repeat("l", 65) + "@x.org", "a@" + strings.Repeat("d", 64) + ".org", "a@" + strings.Repeat("dddd.", 60) + "org", "a\xff@x.org",
	} {
		if got, err := CanonicalAddress(in); err == nil {
			t.Errorf("CanonicalAddress(%q) = %q, want an error", in, got)
		}
	}
}

// The samples of RFC 3492 §7.1 that hold no capitals.
func TestPunycode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"egbpdaj6bu4bxfgehfvwxn":                 "ليهمابتكلموشعربي؟",
		"ihqwcrb4cv8a8dqg056pqjye":               "他们为什么不说中文",
		"ihqwctvzc91f659drss3x8bo0yb":            "他們爲什麽不說中文",
		"4dbcagdahymbxekheh6e0a7fei0b":           "למההםפשוטלאמדבריםעברית",
		"n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa": "なぜみんな日本語を話してくれないのか",
	} {
		if got, err := decodePunycode(in); err != nil || got != want {
			t.Errorf("decodePunycode(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzCanonicalNames(f *testing.F) {
	for _, s := range []string{"anna", "Anna@Example.org", "x@xn--bcher-kva.example", "ＡＢＣ", "İ", "x@xn--zzzzzzzzzzzzz", "ß@ẞ.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := CanonicalName(s); err == nil {
			if again, err := CanonicalName(name); err != nil || again != name {
				t.Errorf("name %q -> %q -> %q, %v", s, name, again, err)
			}
		}
		if a, err := CanonicalAddress(s); err == nil {
			if again, err := CanonicalAddress(a); err != nil || again != a {
				t.Errorf("address %q -> %q -> %q, %v", s, a, again, err)
			}
			if folded, err := CanonicalAddress(foldAddress(a)); err != nil || foldAddress(folded) != foldAddress(a) {
				t.Errorf("address %q folds to %q, %v", a, folded, err)
			}
		}
	})
}
