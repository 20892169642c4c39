package wire

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// FuzzDecoder reads commands of all grammar methods, in two ways of cutting the
// input. Both must agree, nothing may panic, and nothing that stands in a
// rejected literal may run: the input ends with a literal full of commands.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"a1 COPY 1 (bad {3+}\r\n)\r\n{5+}\r\nhello\r\n", "a2 COPY 2 {4+}\r\nDest\r\n", "a APPEND x {3}\r\nabc\r\n",
		"a LOGIN \"x\ny\" z\r\n", "a LOGIN {3+}\nabc {1}\n", "a NOOP\r", "a COPY \"\\\"{3+}\r\nabc\r\n", "a APPEND x ~{3+}\r\n\x00\r\n\r\n",
	} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, in string, n int) {
		if len(in) > 1<<16 {
			return
		}
		d1, _ := newTest(strings.NewReader(in))
		d2, _ := newTest(reader(in, max(1, n%100)))
		one, two := play(d1), play(d2)
		if strings.Join(one, "\n") != strings.Join(two, "\n") {
			t.Fatalf("all at once %q\nin pieces %q", one, two)
		}

		// In step: after Discard of a command that is rejected at once, the next
		// one is there, and none from inside the literal.
		var head string
		if i := strings.IndexAny(in, "\r\n"); i >= 0 {
			head = in[:i]
		} else {
			head = in
		}
		evil := "evil NOOP\r\n"
		in = "a FOO " + strings.ReplaceAll(head, `"`, "") + " {" + strconv.Itoa(len(evil)) + "+}\r\n" + evil + "\r\nnext NOOP\r\n"
		d, _ := newTest(strings.NewReader(in))
		if got := play(d); len(got) != 2 || got[1] != "next NOOP" {
			t.Fatalf("%q: %q", in, got)
		}
	})
}

// FuzzGrammar calls each method on any text.
func FuzzGrammar(f *testing.F) {
	for _, s := range []string{"a", "1:*", `"x\"y"`, "{3+}\r\nabc", `(\Seen a)`, `"17-Jul-1996 02:44:25 -0730"`, "1-Feb-1994", "NIL", "&APw-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, read := range []func(d *Decoder){
			func(d *Decoder) { d.Astring() }, func(d *Decoder) { d.NString() }, func(d *Decoder) { d.Mailbox() },
			func(d *Decoder) { d.ListMailbox() }, func(d *Decoder) { d.NumSet(true) }, func(d *Decoder) { d.Date() },
			func(d *Decoder) { d.DateTime() }, func(d *Decoder) { d.FlagList() }, func(d *Decoder) { d.Word() },
			func(d *Decoder) { d.List(func() { d.List(func() { d.Atom() }) }) }, func(d *Decoder) { d.AstringBytes(10) },
		} {
			d, _ := newTest(strings.NewReader(in + "\r\n"))
			if d.Next() != nil {
				continue
			}
			read(d)
			d.End()
			if e, ok := d.Err().(*SyntaxError); ok && (e.Want == "" || e.Offset < 0 || e.Offset > int64(len(in)+2)) {
				t.Fatalf("%q: %v", in, e)
			}
			_ = d.Discard()
		}
	})
}

// FuzzRoundTrip: what the encoder writes the decoder reads.
func FuzzRoundTrip(f *testing.F) {
	f.Add("abc", uint64(7), true)
	f.Add("ü &\"\\\r\n\x7f", uint64(1<<63-1), false)
	f.Fuzz(func(t *testing.T, s string, n uint64, utf bool) {
		if len(s) > ArgumentLiteral/4 {
			return
		}
		s = strings.ReplaceAll(s, "\x00", "")
		n &= 1<<63 - 1
		name := strings.ToValidUTF8(s, "?")
		flag := imap.Flag("k" + strconv.FormatUint(n, 36))
		var out bytes.Buffer
		w := NewEncoder(&out)
		w.SetUTF8(utf)
		w.String(s).SP().Astring(s).SP().NString(s, n%2 == 0).SP().Mailbox(name).SP().Number64(int64(n)).SP().
			Flags([]imap.Flag{imap.FlagSeen, flag}).SP().NumSet(imap.UIDSetNum(imap.UID(n>>32|1), 5)).CRLF()
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		d, _ := newTest(&out)
		d.SetUTF8(utf)
		if err := d.Next(); err != nil {
			t.Fatal(err)
		}
		str := d.String()
		d.SP()
		ast := d.Astring()
		d.SP()
		nstr, ok := d.NString()
		d.SP()
		box := d.Mailbox()
		d.SP()
		num := d.Number64()
		d.SP()
		flags := d.FlagList()
		d.SP()
		set := d.NumSet(true)
		d.End()
		if err := d.Err(); err != nil {
			t.Fatal(err)
		}
		if equalFold([]byte(name), "INBOX") {
			name = "INBOX"
		}
		if str != s || ast != s || ok != (n%2 == 0) || ok && nstr != s || box != name || num != int64(n) ||
			len(flags) != 2 || flags[1] != flag || set.String() != imap.UIDSetNum(imap.UID(n>>32|1), 5).String() {
			t.Fatalf("%q %q %q %v %q %d %v %v", str, ast, nstr, ok, box, num, flags, set)
		}
	})
}

// FuzzUTF7: each name has one form, and each form that is taken is the one of
// its name.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"&APw-", "&-", "a&AAk-b", "&2D3eAA-", "ü", "a&b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := DecodeUTF7(s); err == nil {
			if !utf8.ValidString(name) || EncodeUTF7(name) != s {
				t.Fatalf("%q is %q is %q", s, name, EncodeUTF7(name))
			}
		}
		if utf8.ValidString(s) && !strings.Contains(s, "\x00") {
			if name, err := DecodeUTF7(EncodeUTF7(s)); err != nil || name != s {
				t.Fatalf("%q is %q is %q, %v", s, EncodeUTF7(s), name, err)
			}
		}
	})
}

// FuzzNumSet: the ranges are in order and hold just what was written.
func FuzzNumSet(f *testing.F) {
	for _, s := range []string{"1", "3:1,2", "*:4,9", "5,*", "1:4294967295,7:*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return // another line
		}
		d := line(s)
		set, ok := d.NumSet(true).(imap.UIDSet)
		if d.End(); d.Err() != nil || !ok || imap.IsSearchRes(set) {
			return
		}
		last := int64(-1)
		for _, r := range set {
			stop := int64(r.Stop)
			if stop == 0 {
				stop = 1 << 32
			}
			start := int64(r.Start)
			if start == 0 {
				start = 1 << 32
			}
			if start <= last+1 && start != 1<<32 || start > stop {
				t.Fatalf("%q: %v", s, set)
			}
			last = stop
		}
		d = line(set.String())
		if again := d.NumSet(true); d.Err() != nil || again.String() != set.String() {
			t.Fatalf("%q: %v: %v", s, set, again)
		}
		// Each part of s is in the set.
		for _, part := range strings.Split(s, ",") {
			a, b, _ := strings.Cut(part, ":")
			for _, x := range []string{a, b} {
				if n, err := strconv.ParseUint(x, 10, 32); err == nil && !contains(set, imap.UID(n)) {
					t.Fatalf("%q: %v without %d", s, set, n)
				}
			}
		}
	})
}

func contains(set imap.UIDSet, uid imap.UID) bool {
	for _, r := range set {
		if r.Start != 0 && r.Start <= uid && (uid <= r.Stop || r.Stop == 0) {
			return true
		}
	}
	return false
}

// again gives the same text for ever.
type again struct {
	s  string
	at int
}

func (r *again) Read(p []byte) (int, error) {
	if r.at == len(r.s) {
		r.at = 0
	}
	n := copy(p, r.s[r.at:])
	r.at += n
	return n, nil
}

func BenchmarkDecode(b *testing.B) {
	for name, in := range map[string]string{
		"noop":    "a2 NOOP\r\n",
		"copy":    "a2 COPY 2:4 Dest\r\n",
		"literal": "a2 COPY 2:4 {4+}\r\nDest\r\n",
		"login":   "a2 LOGIN \"user@example.org\" \"pass\\\"word\"\r\n",
		"bad":     "a2 COPY 1 (bad {3+}\r\n)\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			d, _ := newTest(&again{s: in})
			b.ReportAllocs()
			for b.Loop() {
				if d.Next() != nil {
					b.Fatal(d.Err())
				}
				d.Tag()
				d.SP()
				switch d.Word() {
				case "COPY":
					d.SP()
					d.NumSet(true)
					d.SP()
					d.Mailbox()
				case "LOGIN":
					d.SP()
					d.Astring()
					d.SP()
					d.AstringBytes(1024)
				}
				d.End()
				_ = d.Discard()
				d.Release()
			}
		})
	}
}

func BenchmarkDecodeAppend(b *testing.B) {
	body := strings.Repeat("0123456789abcdef", 64<<10)
	d, _ := newTest(&again{s: "a APPEND INBOX (\\Seen) {" + strconv.Itoa(len(body)) + "}\r\n" + body + "\r\n"})
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Next()
		d.Tag()
		d.SP()
		d.Word()
		d.SP()
		d.Mailbox()
		d.SP()
		d.FlagList()
		d.SP()
		l := d.Literal()
		for {
			if _, err := l.Read(buf); err == io.EOF {
				break
			}
		}
		d.End()
		if d.Discard() != nil {
			b.Fatal(d.Err())
		}
	}
}
