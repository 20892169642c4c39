package wire

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-imap/v2"
)

// reader gives s in pieces of n bytes, or all at once.
func reader(s string, n int) io.Reader {
	if n == 0 {
		return strings.NewReader(s)
	}
	return &pieces{s, n}
}

type pieces struct {
	s string
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.s == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.s)
	p.s = p.s[n:]
	return n, nil
}

func newTest(r io.Reader) (*Decoder, *int) {
	d := NewDecoder(r)
	asked := new(int)
	d.SetContinue(func() error { *asked++; return nil })
	d.SetLoggedIn(true)
	return d, asked
}

type testCopy struct{ set, dest string }

func parseCopy(d *Decoder) *testCopy {
	c := new(testCopy)
	d.SP()
	if set := d.NumSet(false); set != nil {
		c.set = set.String()
	}
	d.SP()
	c.dest = d.Mailbox()
	d.End()
	return c
}

// play reads commands like a server and tells what it made of them.
func play(d *Decoder) []string {
	var got []string
	for {
		if err := d.Next(); err != nil {
			if err != io.EOF {
				got = append(got, "ends: "+err.Error())
			}
			return got
		}
		tag := d.Tag()
		d.SP()
		name := d.Word()
		line := ""
		switch name {
		case "COPY":
			c := parseCopy(d)
			line = c.set + " " + c.dest
		case "NOOP":
			d.End()
		case "LOGIN":
			d.SP()
			line = d.Astring()
			d.SP()
			line += "/" + string(d.AstringBytes(1024))
			d.End()
		case "APPEND":
			d.SP()
			line = d.Mailbox()
			d.SP()
			if l := d.Literal(); l != nil && line != "refused" {
				b, err := io.ReadAll(l)
				line += fmt.Sprintf(" %d %q", len(b), b[:min(len(b), 10)])
				if err != nil {
					line += err.Error()
				}
				d.End()
			}
		default:
			d.FailErr(errors.New("unknown command"))
		}
		if err := d.Err(); err != nil {
			line = "BAD " + err.Error()
		}
		got = append(got, strings.TrimSpace(tag+" "+name+" "+line))
		if err := d.Discard(); err != nil {
			return append(got, "ends: "+err.Error())
		}
	}
}

func TestCommands(t *testing.T) {
	long := strings.Repeat("x", Segment+1)
	tests := []struct {
		name, in string
		want     []string
		asked    int
	}{
		{"plain", "a COPY 1:2 Dest\r\nb noop\r\n", []string{"a COPY 1:2 Dest", "b NOOP"}, 0},
		{"quoted", "a3 COPY 3 \"a\\\"b\\\\\"\r\n", []string{`a3 COPY 3 a"b\`}, 0},
		{"empty quoted", "a COPY 3 \"\"\r\n", []string{`a COPY 3`}, 0},
		{"inbox", "a COPY 3 iNbOx\r\na COPY 3 {5}\r\ninbOX\r\n", []string{`a COPY 3 INBOX`, `a COPY 3 INBOX`}, 1},
		{"literal", "a2 COPY 2 {4+}\r\nDest\r\nb NOOP\r\n", []string{"a2 COPY 2 Dest", "b NOOP"}, 0},
		{"synchronizing literal", "a2 COPY 2 {4}\r\nDest\r\nb NOOP\r\n", []string{"a2 COPY 2 Dest", "b NOOP"}, 1},
		{"empty literals", "a LOGIN {0}\r\n {0+}\r\n\r\nb NOOP\r\n", []string{"a LOGIN /", "b NOOP"}, 1},
		{"literal with CRLF inside", "a LOGIN {6+}\r\na\r\nb\r\n {3}\r\n{3}\r\n", []string{"a LOGIN a\r\nb\r\n/{3}"}, 1},
		{"something behind a literal", "a LOGIN {1+}\r\nab {1+}\r\nc\r\nb NOOP\r\n",
			[]string{`a LOGIN BAD want SP at offset 15 near "b {1+}"`, "b NOOP"}, 0},

		// RFC 7888 §4: what was announced is swallowed.
		{"rejected literals", "a1 COPY 1 (bad {3+}\r\n)\r\n{5+}\r\nhello\r\na2 NOOP\r\n",
			[]string{`a1 COPY BAD want astring at offset 10 near "(bad {3+}"`, "a2 NOOP"}, 0},
		{"rejected literal8", "a1 FOO ~{8+}\r\nb NOOP\r\n\r\na2 NOOP\r\n", []string{`a1 FOO BAD unknown command`, "a2 NOOP"}, 0},
		{"rejected literal far above the limit", "a COPY 1 {70000+}\r\n" + strings.Repeat("b NOOP\r\n", 8750) + "\r\nc NOOP\r\n",
			[]string{"a COPY BAD literal of more than 65536 bytes", "c NOOP"}, 0},
		{"rejected literal later in the command", "a COPY 1 {70000}\r\nb COPY 1 ) {8+}\r\nb NOOP\r\n {10+}\r\nc NOOP\r\n  {2}\r\nd NOOP\r\n",
			[]string{"a COPY BAD literal of more than 65536 bytes", `b COPY BAD want astring at offset 9 near ") {8+}"`, "d NOOP"}, 0},
		{"synchronizing literal is not asked for", "a COPY ? {5}\r\nb NOOP\r\n", []string{`a COPY BAD want sequence-set at offset 7 near "? {5}"`, "b NOOP"}, 0},
		{"much too long", "a COPY 1 {200000000+}\r\nb NOOP\r\n",
			[]string{"a COPY BAD literal of more than 65536 bytes", "ends: rejected command of more than 104857600 bytes"}, 0},
		{"longer than a number", "a COPY 1 {99999999999999999999+}\r\nb NOOP\r\n",
			[]string{"a COPY BAD literal of more than 65536 bytes", "ends: rejected command of more than 104857600 bytes"}, 0},
		{"no literal", "a COPY 1 {+}\r\na COPY 1 {}\r\nb COPY 1 {1-}\r\nb COPY 1 {x+}\r\nc COPY 1 {-1+}\r\nd COPY 1 {3+}x\r\n",
			[]string{`a COPY BAD want literal at offset 9 near "{+}"`, `a COPY BAD want literal at offset 9 near "{}"`,
				`b COPY BAD want literal at offset 9 near "{1-}"`, `b COPY BAD want literal at offset 9 near "{x+}"`,
				`c COPY BAD want literal at offset 9 near "{-1+}"`, `d COPY BAD want literal at offset 9 near "{3+}x"`}, 0},
		{"NUL in a literal", "a LOGIN {3+}\r\na\x00b x\r\nb NOOP\r\n", []string{"a LOGIN BAD want literal without NUL at offset 8", "b NOOP"}, 0},

		// Big literals.
		{"append", "a APPEND x {12}\r\nhello\r\nworld\r\nb NOOP\r\n", []string{`a APPEND x 12 "hello\r\nwor"`, "b NOOP"}, 1},
		{"append literal8", "a APPEND x ~{3+}\r\n\x00\x01\x02\r\nb NOOP\r\n", []string{`a APPEND x 3 "\x00\x01\x02"`, "b NOOP"}, 0},
		{"append that nobody asks for", "a APPEND refused {12}\r\nb NOOP\r\n", []string{`a APPEND refused`, "b NOOP"}, 0},
		{"append that nobody wants", "a APPEND refused {8+}\r\nx NOOP\r\n {8+}\r\ny NOOP\r\n\r\nb NOOP\r\n", []string{`a APPEND refused`, "b NOOP"}, 0},
		{"text behind append", "a APPEND x {2+}\r\nab{8+}\r\ny NOOP\r\n\r\nb NOOP\r\n",
			[]string{`a APPEND BAD want CRLF at offset 19 near "{8+}"`, "b NOOP"}, 0},

		// Lines.
		{"half a line", "a NOOP\r\nb NOOP", []string{"a NOOP", "ends: unexpected EOF"}, 0},
		{"half a literal", "a APPEND x {20+}\r\nb NOOP\r\n", []string{`a APPEND BAD unexpected EOF`, "ends: unexpected EOF"}, 0},
		{"no line after a literal", "a COPY 1 {1+}\r\nx", []string{`a COPY BAD unexpected EOF`, "ends: EOF"}, 0},
		{"lone LF", "a NOOP\nb COPY 1 {1+}\nx\nc NOOP\r\n", []string{"a NOOP", "b COPY 1 x", "c NOOP"}, 0},
		{"LF in quotes", "a COPY 1 \"x\nb NOOP\nc NOOP \\\" \n\"\r\nd NOOP\r\n",
			[]string{`a COPY BAD want QUOTED-CHAR at offset 11 near "\nb NOOP\nc NOOP \\"`, "d NOOP"}, 0},
		{"CR alone", "a NOOP\rb NOOP\r\nc NOOP\r\n", []string{`a NOOP BAD want CRLF at offset 6 near "\rb NOOP"`, "c NOOP"}, 0},
		{"NUL", "a NOOP\x00\r\n\x00\r\n", []string{`a NOOP BAD want CRLF at offset 6 near "\x00"`, `BAD want tag at offset 0 near "\x00"`}, 0},
		{"empty line", "\r\na NOOP\r\n", []string{"BAD want tag at offset 0", "a NOOP"}, 0},
		{"too long", "a NOOP " + long + " {8+}\r\nx NOOP\r\n\r\nb NOOP\r\n", []string{"a BAD line of more than 65536 bytes", "b NOOP"}, 0},
		{"too long after a literal", "a COPY 1 {1+}\r\nx " + long + "{8+}\r\nx NOOP\r\n\r\nb NOOP\r\n",
			[]string{"a COPY BAD line of more than 65536 bytes", "b NOOP"}, 0},
		{"tag too long", long + "\r\nb NOOP\r\n", []string{long[:Segment] + "  BAD line of more than 65536 bytes", "b NOOP"}, 0},
		{"as long as it may be", "a COPY 1 \"" + long[:Segment-11] + "\"\r\nb NOOP\r\n", []string{"a COPY 1 " + long[:Segment-11], "b NOOP"}, 0},

		{"tag with plus", "a+ NOOP\r\n", []string{`a BAD want SP at offset 1 near "+ NOOP"`}, 0},
		{"two spaces", "a  NOOP\r\n", []string{`a BAD want word at offset 2 near " NOOP"`}, 0},
		{"space at the end", "a NOOP \r\n", []string{`a NOOP BAD want CRLF at offset 6 near " "`}, 0},
		{"password too long", "a LOGIN x " + long[:1025] + "\r\nb NOOP\r\nc LOGIN x {1025}\r\nd NOOP\r\n",
			[]string{"a LOGIN BAD string of more than 1024 bytes", "b NOOP", "c LOGIN BAD literal of more than 1024 bytes", "d NOOP"}, 0},
	}
	for _, test := range tests {
		for _, n := range []int{0, 1, 7} {
			if n > 0 && len(test.in) > 1000 {
				n *= 977
			}
			d, asked := newTest(reader(test.in, n))
			got := play(d)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], "  ", " ")
			}
			for i := range test.want {
				test.want[i] = strings.ReplaceAll(test.want[i], "  ", " ")
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s, in pieces of %d:\n got %.300q\nwant %.300q", test.name, n, got, test.want)
			}
			if *asked != test.asked {
				t.Errorf("%s: asked for %d literals, want %d", test.name, *asked, test.asked)
			}
		}
	}
}

func TestManyLiterals(t *testing.T) {
	in := "a FOO" + strings.Repeat(" {1000+}\r\n"+strings.Repeat("b NOOP\r\n", 125), 200) + "\r\nc NOOP\r\n"
	d, _ := newTest(strings.NewReader(in))
	want := []string{"a FOO BAD unknown command", "c NOOP"}
	if got := play(d); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}

	// Strings of a command are limited together.
	in = "a (" + strings.Repeat("{60000+}\r\n"+strings.Repeat("x", 60000)+" ", 18) + "x)\r\nc NOOP\r\n"
	d, _ = newTest(strings.NewReader(in))
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	d.Tag()
	d.SP()
	n := 0
	d.List(func() { d.Astring(); n++ })
	var limit *LimitError
	if !errors.As(d.Err(), &limit) || n != 18 {
		t.Errorf("after %d strings: %v", n, d.Err())
	}
	if got := play(d); !reflect.DeepEqual(got, []string{"c NOOP"}) {
		t.Errorf("got %q", got)
	}
}

func TestBeforeLogin(t *testing.T) {
	d, _ := newTest(strings.NewReader("a LOGIN u \"secret\r\n" + "b NOOP " + strings.Repeat("x", SegmentBeforeLogin) + "\r\nc LOGIN {1+}\r\nu {6+}\r\nsecret\r\n"))
	d.SetLoggedIn(false)
	want := []string{`a LOGIN BAD want closing "\"" at offset 17`, "b  BAD line of more than 8192 bytes", "c LOGIN u/secret"}
	if got := play(d); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestLiteralMinus(t *testing.T) {
	x := strings.Repeat("x", 4097)
	in := "a APPEND x {4096+}\r\n" + x[1:] + "\r\nb APPEND x {4097+}\r\n" + x + "\r\nc APPEND x {4097}\r\n" + x + "\r\n"
	d, _ := newTest(strings.NewReader(in))
	d.SetLiteralMinus(true)
	want := []string{`a APPEND x 4096 "xxxxxxxxxx"`, "b APPEND BAD non-synchronizing literal of more than 4096 bytes", `c APPEND x 4097 "xxxxxxxxxx"`}
	if got := play(d); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

// deadline gives one error between the lines.
type deadline struct {
	io.Reader
	fail bool
}

func (r *deadline) Read(b []byte) (int, error) {
	if r.fail = !r.fail; r.fail {
		return 0, errors.New("deadline")
	}
	return r.Reader.Read(b)
}

func TestWait(t *testing.T) {
	r := &deadline{Reader: strings.NewReader("a NOOP\r\nb NOOP\r\ndone\r\n" + strings.Repeat("x", 100) + "\r\n*\r\n")}
	d, _ := newTest(r)
	if err := d.Wait(); err == nil || err.Error() != "deadline" {
		t.Fatal(err)
	}
	if err := d.Wait(); err != nil { // the last error does not stick
		t.Fatal(err)
	}
	if d.Buffered() != 1 || d.buf != nil {
		t.Fatalf("%d bytes, buffer of %d", d.Buffered(), len(d.buf))
	}
	r.fail = true
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if d.Tag() != "a" || d.Discard() != nil || d.Next() != nil || d.Tag() != "b" || d.Discard() != nil {
		t.Fatal(d.Err())
	}
	if line, err := d.Line(64); string(line) != "done" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	var limit *LimitError
	if line, err := d.Line(64); !errors.As(err, &limit) || line != nil {
		t.Fatalf("%q %v", line, err)
	}
	if line, err := d.Line(64); string(line) != "*" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	d.Release()
	if d.buf != nil {
		t.Error("holds a buffer")
	}
}

func TestReset(t *testing.T) {
	d, _ := newTest(strings.NewReader("a NOOP\r\nb NOOP\r\n"))
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	d.Reset(strings.NewReader("c NOOP\r\n"))
	if got := play(d); !reflect.DeepEqual(got, []string{"c NOOP"}) {
		t.Errorf("got %q", got)
	}
}

func TestReadErrors(t *testing.T) {
	d, _ := newTest(iotest.TimeoutReader(strings.NewReader(strings.Repeat("x", 2*smallBuffer))))
	if err := d.Next(); err != iotest.ErrTimeout {
		t.Fatal(err)
	}
	if err := d.Discard(); err != iotest.ErrTimeout {
		t.Fatal(err)
	}
	d, _ = newTest(strings.NewReader("a LOGIN {3}\r\nabc x\r\n"))
	broken := errors.New("broken")
	d.SetContinue(func() error { return broken })
	if got := play(d); !reflect.DeepEqual(got, []string{"a LOGIN BAD broken", "ends: broken"}) {
		t.Errorf("got %q", got)
	}
}

// line returns a Decoder at the beginning of text.
func line(text string) *Decoder {
	d, _ := newTest(strings.NewReader(text + "\r\n"))
	_ = d.Next()
	return d
}

func TestGrammar(t *testing.T) {
	date := func(s string) string { t, _ := time.Parse(time.RFC3339, s); return t.Format(time.RFC3339) }
	tests := []struct {
		in   string
		read func(d *Decoder) any
		want any // a string that begins with "want" is an error
	}{
		{"0042", func(d *Decoder) any { return d.Number() }, uint32(42)},
		{"4294967295", func(d *Decoder) any { return d.Number() }, uint32(4294967295)},
		{"4294967296", func(d *Decoder) any { return d.Number() }, "want number"},
		{"-1", func(d *Decoder) any { return d.Number() }, "want number"},
		{"0", func(d *Decoder) any { return d.NzNumber() }, "want nz-number"},
		{"01", func(d *Decoder) any { return d.NzNumber() }, "want nz-number"},
		{"9223372036854775807", func(d *Decoder) any { return d.Number64() }, int64(1<<63 - 1)},
		{"9223372036854775808", func(d *Decoder) any { return d.Number64() }, "want number64"},
		{"99999999999999999999999999", func(d *Decoder) any { return d.Number64() }, "want number64"},

		{"body.peek[", func(d *Decoder) any { return d.Word() + "|" + string(d.Peek()) }, "BODY.PEEK|["},
		{`\seen`, func(d *Decoder) any { return d.Word() }, `\SEEN`},
		{"nosuchword", func(d *Decoder) any { return d.Word() }, "NOSUCHWORD"},
		{strings.Repeat("w", 100), func(d *Decoder) any { return d.Word() }, strings.Repeat("W", 100)},
		{"(", func(d *Decoder) any { return d.Word() }, "want word"},
		{"return (", func(d *Decoder) any { return d.TryWord("RETURN") }, true},
		{"returned", func(d *Decoder) any { return d.TryWord("RETURN") }, false},
		{"retur", func(d *Decoder) any { return d.TryWord("RETURN") }, false},
		{"a]b", func(d *Decoder) any { return d.Atom() }, "a"},
		{"a]b", func(d *Decoder) any { return d.Astring() }, "a]b"},
		{"é", func(d *Decoder) any { return d.Astring() }, "want astring"},
		{`"é"`, func(d *Decoder) any { return d.Astring() }, "é"},
		{"\"\xff\"", func(d *Decoder) any { return d.Astring() }, "want UTF-8"},
		{`"a\b"`, func(d *Decoder) any { return d.Astring() }, "want quoted-specials"},
		{`"a\`, func(d *Decoder) any { return d.Astring() }, "want quoted-specials"},
		{`"a`, func(d *Decoder) any { return d.Astring() }, `want closing`},
		{`abc`, func(d *Decoder) any { return d.String() }, `want string`},
		{"~{3+}", func(d *Decoder) any { return d.String() }, `want string`},
		{`nil`, func(d *Decoder) any { s, ok := d.NString(); return fmt.Sprint(s, ok) }, "false"},
		{`"nil"`, func(d *Decoder) any { s, ok := d.NString(); return fmt.Sprint(s, ok) }, "niltrue"},
		{`nilly`, func(d *Decoder) any { s, ok := d.NString(); return fmt.Sprint(s, ok) }, "want string"},

		{`Entw&APw-rfe`, func(d *Decoder) any { return d.Mailbox() }, "Entwürfe"},
		{`"Entw&APw-rfe"`, func(d *Decoder) any { return d.Mailbox() }, "Entwürfe"},
		{`Tom&Jerry`, func(d *Decoder) any { return d.Mailbox() }, "want mailbox name in modified UTF-7"},
		{`"Entwürfe &- &APw-"`, func(d *Decoder) any { return d.Mailbox() }, "Entwürfe & ü"}, // go-imap's client
		{`"Entwürfe &APw"`, func(d *Decoder) any { return d.Mailbox() }, "want mailbox name in modified UTF-7"},
		{`"Entwürfe & &APw-"`, func(d *Decoder) any { d.SetUTF8(true); return d.Mailbox() }, "Entwürfe & &APw-"},
		{`%/&APw-*`, func(d *Decoder) any { return d.ListMailbox() }, "%/ü*"},
		{`"% *"`, func(d *Decoder) any { return d.ListMailbox() }, "% *"},
		{`a]%`, func(d *Decoder) any { return d.ListMailbox() }, "a]%"},
		{`(`, func(d *Decoder) any { return d.ListMailbox() }, "want list-mailbox"},

		{`\seen`, func(d *Decoder) any { return d.Flag() }, imap.FlagSeen},
		{`$junk`, func(d *Decoder) any { return d.Flag() }, imap.FlagJunk},
		{`Work`, func(d *Decoder) any { return d.Flag() }, imap.Flag("Work")},
		{`\Odd`, func(d *Decoder) any { return d.Flag() }, imap.Flag(`\Odd`)},
		{`\recent`, func(d *Decoder) any { return d.Flag() }, `want flag other than \Recent`},
		{`\*`, func(d *Decoder) any { return d.Flag() }, "want flag"},
		{`\`, func(d *Decoder) any { return d.Flag() }, "want flag"},
		{`()`, func(d *Decoder) any { return d.FlagList() }, []imap.Flag{}},
		{`(\Seen a)`, func(d *Decoder) any { return d.FlagList() }, []imap.Flag{imap.FlagSeen, "a"}},
		{`(\Seen  a)`, func(d *Decoder) any { return d.FlagList() }, "want flag"},
		{`(\Seen`, func(d *Decoder) any { return d.FlagList() }, `want ")"`},

		{"1-Feb-1994", func(d *Decoder) any { return d.Date().Format(time.RFC3339) }, date("1994-02-01T00:00:00Z")},
		{`"01-feb-1994"`, func(d *Decoder) any { return d.Date().Format(time.RFC3339) }, date("1994-02-01T00:00:00Z")},
		{"29-Feb-2000", func(d *Decoder) any { return d.Date().Format(time.RFC3339) }, date("2000-02-29T00:00:00Z")},
		{"29-Feb-2001", func(d *Decoder) any { return d.Date() }, "want date at offset 0"},
		{"0-Feb-2001", func(d *Decoder) any { return d.Date() }, "want date at offset 0"},
		{"1-Fev-2001", func(d *Decoder) any { return d.Date() }, "want date-month at offset 2"},
		{"1-Feb-99", func(d *Decoder) any { return d.Date() }, "want DIGIT at offset 8"},
		{`"1-Feb-1999`, func(d *Decoder) any { return d.Date() }, `want "\""`},
		{`"17-Jul-1996 02:44:25 -0730"`, func(d *Decoder) any { return d.DateTime().Format(time.RFC3339) }, "1996-07-17T02:44:25-07:30"},
		{`" 7-Jul-1996 02:44:25 +0000"`, func(d *Decoder) any { return d.DateTime().Format(time.RFC3339) }, "1996-07-07T02:44:25Z"},
		{`"7-Jul-1996 02:44:25 +0000"`, func(d *Decoder) any { return d.DateTime() }, "want DIGIT"},
		{`"31-Jun-1996 02:44:25 +0000"`, func(d *Decoder) any { return d.DateTime() }, "want date-time"},
		{`"30-Jun-1996 24:00:00 +0000"`, func(d *Decoder) any { return d.DateTime() }, "want date-time"},
		{`"30-Jun-1996 23:00:00 0000"`, func(d *Decoder) any { return d.DateTime() }, `want "+"`},

		{"()", func(d *Decoder) any { n := 0; d.List(func() { n++ }); return n }, 0},
		{"(a b c)", func(d *Decoder) any { n := 0; d.List(func() { d.Atom(); n++ }); return n }, 3},
		{"(a b", func(d *Decoder) any { n := 0; d.List(func() { d.Atom(); n++ }); return n }, `want ")"`},
		{"(a )", func(d *Decoder) any { n := 0; d.List(func() { d.Atom(); n++ }); return n }, "want atom"},
		{"a", func(d *Decoder) any { n := 0; d.List(func() { d.Atom(); n++ }); return n }, `want "("`},
	}
	for _, test := range tests {
		d := line(test.in)
		got := test.read(d)
		if want, ok := test.want.(string); ok && strings.HasPrefix(want, "want ") {
			if d.Err() == nil || !strings.HasPrefix(d.Err().Error(), want) {
				t.Errorf("%q: error %v, want %s", test.in, d.Err(), want)
			}
			continue
		}
		if d.Err() != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %#v, %v, want %#v", test.in, got, d.Err(), test.want)
		}
	}
}

func TestNumSet(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1", "1:3": "1:3", "3:1": "1:3", "*": "*", "*:4": "4:*", "4:*": "4:*", "*:*": "*",
		"2,4:7,9,12:*": "2,4:7,9,12:*", "*:4,5:7": "4:*", "5,1,3": "1,3,5", "1,2,3": "1:3", "3,2,1": "1:3", "1:4,2": "1:4",
		"10:20,15:*": "10:*", "*,5": "5,*", "*,5:*": "5:*", "4294967295": "4294967295", "4294967295,*": "4294967295,*", "7,7": "7",
		"$": "$",
	} {
		for _, uid := range []bool{false, true} {
			d := line(in)
			set := d.NumSet(uid)
			if d.End(); d.Err() != nil || set.String() != want {
				t.Errorf("%s: %v, %v; want %s", in, set, d.Err(), want)
			}
			if in == "$" && !imap.IsSearchRes(set) {
				t.Error("$ is not SearchRes")
			}
		}
	}
	for _, in := range []string{"", "0", "1:", ":1", "1,", ",1", "a", "1:0", "4294967296", "1:2:3", "$,1", "1,$", "$:1", "01", "-1"} {
		d := line(in)
		if set := d.NumSet(true); true {
			if d.End(); d.Err() == nil {
				t.Errorf("%q is taken as %v", in, set)
			}
		}
	}
}

func TestListDepth(t *testing.T) {
	deep := func(n int) error {
		d := line(strings.Repeat("(", n) + "x" + strings.Repeat(")", n))
		var item func()
		item = func() {
			if d.Peek() == '(' {
				d.List(item)
			} else {
				d.Atom()
			}
		}
		item()
		d.End()
		return d.Err()
	}
	if err := deep(ListDepth); err != nil {
		t.Error(err)
	}
	var limit *LimitError
	if err := deep(ListDepth + 1); !errors.As(err, &limit) {
		t.Error(err)
	}
}

// TestLiteralStream reads a message of many buffers through small reads and
// big ones.
func TestLiteralStream(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 20000)
	in := fmt.Sprintf("a APPEND x {%d}\r\n%s\r\nb NOOP\r\n", len(body), body)
	for _, size := range []int{1, 100, 4096, 100000} {
		d, _ := newTest(reader(in, 1449))
		_ = d.Next()
		d.Tag()
		d.SP()
		d.Word()
		d.SP()
		d.Mailbox()
		d.SP()
		l := d.Literal()
		var got strings.Builder
		if _, err := io.CopyBuffer(&got, struct{ io.Reader }{l}, make([]byte, size)); err != nil || got.String() != body {
			t.Errorf("%d: %d bytes, %v", size, got.Len(), err)
		}
		if d.End(); d.Err() != nil {
			t.Error(d.Err())
		}
		if got := play(d); !reflect.DeepEqual(got, []string{"b NOOP"}) {
			t.Errorf("got %q", got)
		}
	}
}
