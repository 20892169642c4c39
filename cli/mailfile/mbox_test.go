package mailfile

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// taken is a message that a sink got.
type taken struct {
	Mailbox, Body string
	Flags         []imap.Flag
	Date          time.Time
}

// collector is a Sink.
type collector struct {
	boxes []string
	msgs  []taken
	notes []string
}

func (c *collector) Mailbox(name string) error {
	if !slices.Contains(c.boxes, name) {
		c.boxes = append(c.boxes, name)
	}
	return nil
}

func (c *collector) Message(m *Message, body io.Reader) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	c.msgs = append(c.msgs, taken{m.Mailbox, string(b), m.Flags, m.Date})
	return nil
}

func (c *collector) options(f Format) Options {
	return Options{
		Format: f,
		Note:   func(text string) { c.notes = append(c.notes, text) },
		Failed: func(path string, err error) { c.notes = append(c.notes, fmt.Sprintf("%s: %v", path, err)) },
	}
}

func (c *collector) bodies() []string {
	var all []string
	for _, m := range c.msgs {
		all = append(all, m.Body)
	}
	return all
}

// write makes a file and returns its path.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readMbox(t testing.TB, text string, f Format) *collector {
	t.Helper()
	c := new(collector)
	path := write(t, filepath.Join(t.TempDir(), "box"), text)
	if err := Read(context.Background(), path, c.options(f), c); err != nil {
		t.Fatalf("%q as %s: %v", text, f, err)
	}
	return c
}

const from = "From anna@example.org Mon Nov 23 01:31:00 2026\n"

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestMboxVariants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		format Format
		text   string
		want   []string
	}{
		{"two", Auto, from + "A: 1\n\nx\n\n" + from + "A: 2\n\ny\n\n", []string{"A: 1\n\nx\n", "A: 2\n\ny\n"}},
		{"no empty line at the end", Auto, from + "A: 1\n\nx\n", []string{"A: 1\n\nx\n"}},
		{"no line end at the end", Auto, from + "A: 1\n\nx", []string{"A: 1\n\nx"}},
		{"header only", Auto, from + "A: 1\n\n" + from + "A: 2\n\n", []string{"A: 1\n", "A: 2\n"}},
		{"header only, with its empty line", Auto, from + "A: 1\n\n\n" + from + "A: 2\n", []string{"A: 1\n\n", "A: 2\n"}},
		{"no empty line between", Auto, from + "A: 1\n\nx\n" + from + "A: 2\n\ny\n", []string{"A: 1\n\nx\n", "A: 2\n\ny\n"}},
		{"empty lines kept", Auto, from + "A: 1\n\n\n\nx\n\n\n\n" + from + "A: 2\n\n", []string{"A: 1\n\n\n\nx\n\n\n", "A: 2\n"}},
		{"From in a text", Auto, from + "A: 1\n\nx\n\nFrom here on\n", []string{"A: 1\n\nx\n\nFrom here on\n"}},
		{"mboxrd", Auto, from + "A: 1\n\n>From x\n>>From y\n> From z\n", []string{"A: 1\n\nFrom x\n>From y\n> From z\n"}},
		{"mboxo", MboxO, from + "A: 1\n\n>From x\n>>From y\n", []string{"A: 1\n\nFrom x\n>>From y\n"}},
		{"quoted in the header stays", Auto, from + ">From x\nA: 1\n\nx\n", []string{">From x\nA: 1\n\nx\n"}},
		{"mboxcl2", Auto, from + "Content-Length: 56\n\nx\n\n" + from + ">From\n\n" + from + "A: 2\n\n",
			[]string{"Content-Length: 56\n\nx\n\n" + from + ">From\n", "A: 2\n"}},
		{"mboxcl", MboxCL, from + "Content-Length: 10\n\n>From a\nb\n\n" + from + "A: 2\n\n",
			[]string{"Content-Length: 10\n\nFrom a\nb\n", "A: 2\n"}},
		{"wrong length", Auto, from + "Content-Length: 3\n\nlonger\n\n" + from + "A: 2\n\n",
			[]string{"Content-Length: 3\n\nlonger\n", "A: 2\n"}},
		{"length beyond the end", Auto, from + "Content-Length: 300\n\nx\n\n", []string{"Content-Length: 300\n\nx\n"}},
		{"folder data", Auto, from + "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nx\n\n" + from + "A: 2\n\n", []string{"A: 2\n"}},
		{"empty", Auto, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for _, w := range c.want {
				want = append(want, crlf(w))
			}
			if got := readMbox(t, c.text, c.format).bodies(); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if strings.HasPrefix(c.name, "mboxcl") || strings.Contains(c.text, "Content-Length") {
				return // counts are of the bytes as they are
			}
			// The same file from a machine where lines end with CRLF.
			if got := readMbox(t, crlf(c.text), c.format).bodies(); !reflect.DeepEqual(got, want) {
				t.Errorf("with CRLF: got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestMboxFlagsAndDates(t *testing.T) {
	t.Parallel()
	text := "From - Mon Nov 23 01:31:00 2026\nX-Mozilla-Status: 0005\nX-Mozilla-Keys: $label1 a(b\n\nx\n\n" +
		"From x@y Mon Nov 23 01:31:00 +0100 2026\nStatus: RO\nX-Status: AFT\nX-Keywords: Work \"quoted\"\n\nx\n\n" +
		"From x@y Mon, 23 Nov 2026 01:31:00 +0200\nStatus: O\n\nx\n\n" +
		"From broken 10:20 2026\nReceived: from a by b;\n Sun, 22 Nov 2026 10:00:00 +0000\nDate: Sat, 21 Nov 2026 10:00:00 +0000\n\nx\n\n" +
		"From broken 10:20 2026\nDate: Sat, 21 Nov 2026 10:00:00 +0000 (UTC)\n\nx\n"
	day := time.Date(2026, 11, 23, 1, 31, 0, 0, time.UTC)
	want := []taken{
		{Flags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged, "$label1", "a_b"}, Date: day},
		{Flags: []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDraft, "Work", "_quoted_"}, Date: day.Add(-time.Hour)},
		{Date: day.Add(-2 * time.Hour)},
		{Date: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)},
		{Date: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)},
	}
	got := readMbox(t, text, Auto).msgs
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i].Flags, want[i].Flags) || !got[i].Date.Equal(want[i].Date) {
			t.Errorf("message %d: %v %v, want %v %v", i, got[i].Flags, got[i].Date, want[i].Flags, want[i].Date)
		}
	}
}

func TestMboxCompressed(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for i := range 100 {
		fmt.Fprintf(z, "%sA: %d\n\n%s\n", from, i, strings.Repeat("line of a message\n", 1000))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(readMbox(t, b.String(), Auto).msgs); n != 100 {
		t.Errorf("%d messages, want 100", n)
	}
	// Damaged: what came before the damage is there, and the file is named.
	c := new(collector)
	path := write(t, filepath.Join(t.TempDir(), "box.gz"), b.String()[:b.Len()-20])
	if err := Read(context.Background(), path, c.options(Auto), c); err != nil {
		t.Fatal(err)
	}
	if len(c.msgs) < 90 || len(c.notes) != 1 || !strings.Contains(c.notes[0], path) {
		t.Errorf("%d messages, notes %q", len(c.msgs), c.notes)
	}
}

// roundTrip writes stored messages to an mbox and reads them again.
func roundTrip(t testing.TB, ends LineEnds, msgs [][]byte, flags []imap.Flag) (file []byte, got []taken) {
	t.Helper()
	var b bytes.Buffer
	w := NewMboxWriter(&b, ends)
	for _, m := range msgs {
		s := describe(m)
		s.Flags, s.Date = flags, time.Unix(1795397460, 0)
		if err := w.Message(s, bytes.NewReader(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	file = slices.Clone(b.Bytes())
	c := new(collector)
	if err := ReadStream(context.Background(), &b, c.options(Mbox), c); err != nil {
		t.Fatalf("%q: %v", file, err)
	}
	return file, c.msgs
}

func FuzzMbox(f *testing.F) {
	for _, s := range []string{
		"", "\n", "From x\n", "A: 1\r\n\r\nFrom y\r\n>From z", "Status: RO\r\n\r\nx\r\n", "a\nb\r\n", "\r\n\r\n", "X-Keywords: a b\n\n",
		"Content-Length: 2\r\n\r\nab\r\n", from, ">" + from, "Subject: FOLDER INTERNAL DATA\r\nX-Keywords: x\r\n\r\n",
	} {
		f.Add([]byte(s), []byte("B: 2\r\n\r\nx\r\n"), true)
		f.Add([]byte(s), []byte(s), false)
	}
	f.Fuzz(func(t *testing.T, a, b []byte, seen bool) {
		var flags []imap.Flag
		if seen {
			flags = []imap.Flag{imap.FlagSeen, "Work"}
		}
		if isFolderData(a) || isFolderData(b) {
			t.Skip("left out by design")
		}
		for _, ends := range []LineEnds{LF, AsStored} {
			file, got := roundTrip(t, ends, [][]byte{a, b}, flags)
			if len(got) != 2 || got[0].Body != string(a) || got[1].Body != string(b) {
				t.Fatalf("%q and %q come back as %q from\n%q", a, b, got, file)
			}
			for i := range got {
				if !sameFlags(got[i].Flags, flags) {
					t.Fatalf("flags %v come back as %v from\n%q", flags, got[i].Flags, file)
				}
			}
		}
	})
}

// What other programs see of an exported message is the message, unless flags
// had to be said.
func TestMboxPlain(t *testing.T) {
	t.Parallel()
	file, _ := roundTrip(t, LF, [][]byte{[]byte("A: 1\r\n\r\nx\r\n"), []byte("Status: RO\r\n\r\nx\r\n")}, nil)
	want := "From nestbox@localhost Mon Nov 23 01:31:00 2026\nA: 1\n\nx\n\n" +
		"From nestbox+h1@localhost Mon Nov 23 01:31:00 2026\nStatus: O\nStatus: RO\n\nx\n\n"
	if string(file) != want {
		t.Errorf("got %q, want %q", file, want)
	}
	file, _ = roundTrip(t, LF, [][]byte{[]byte("Status: RO\r\n\r\nx\r\n")}, []imap.Flag{imap.FlagSeen})
	if want = "From nestbox@localhost Mon Nov 23 01:31:00 2026\nStatus: RO\n\nx\n\n"; string(file) != want {
		t.Errorf("got %q, want %q", file, want)
	}
}

func TestParseFromLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct{ exact, ok bool }{
		"From a@b Mon Nov 23 01:31:00 2026":                  {true, true},
		"From a@b Mon Nov  3 01:31:00 2026":                  {true, true},
		"From a b c Mon Nov 23 01:31 2026":                   {true, true},
		"From ???@??? Mon Nov 23 01:31:00 2026":              {true, true},
		"From a@b Mon Nov 23 01:31:00 EST 2026":              {true, true},
		"From a@b Mon Nov 23 01:31:00 2026 -0500":            {true, true},
		"From a@b Mon Nov 23 01:31:00 2026 remote from uucp": {true, true},
		"From Mon Nov 23 01:31:00 2026":                      {true, true},
		"From a@b Mon Nov 23 01:31:00":                       {false, false},
		"From a@b Lun Nov 23 01:31:00 2026":                  {false, true},
		"From Monday on, at 10:20, in 2026 it rains":         {false, false},
		"From here":                         {false, false},
		"from a@b Mon Nov 23 01:31:00 2026": {false, false},
	} {
		if _, exact, ok := parseFromLine(line); exact != want.exact || ok != want.ok {
			t.Errorf("%q: exact %v, ok %v", line, exact, ok)
		}
	}
}
