package mailfile

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

func readTree(t *testing.T, path string, o func(*Options)) *collector {
	t.Helper()
	c := new(collector)
	opts := c.options(Auto)
	if o != nil {
		o(&opts)
	}
	if err := Read(context.Background(), path, opts, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *collector) list() []string {
	var all []string
	for _, m := range c.msgs {
		all = append(all, m.Mailbox+": "+strings.TrimSpace(m.Body))
	}
	slices.Sort(all)
	return all
}

func TestMaildirTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"cur/1700000000.a.host:2,FS":           "A: inbox\n",
		"new/1700000001.b.host":                "A: new\n",
		"tmp/1700000002.c.host":                "A: half\n",
		"dovecot-uidlist":                      "3 V1\n",
		"dovecot-keywords":                     "0 $label1\n1 Wörk\n",
		".Sent/cur/1700000000.d.host;2,RSab":   "A: sent\n",
		".Sent/dovecot-keywords":               "1 Work\n",
		".Lists.golang/cur/x":                  "A: list\n",
		".Entw&APw-rfe/cur/x":                  "A: utf7\n",
		".R&D/cur/x":                           "A: no utf7\n",
		".Empty/cur/.keep":                     "",
		".a&AC4-b/cur/x":                       "A: dot\n",
		".hidden":                              "no mail",
		"Fs/Sub/cur/x":                         "A: fs\n",
		"Fs/Sub/new/y":                         "A: fs new\n",
		".Courier/courierimapkeywords/cur/bad": "x",
	} {
		write(t, filepath.Join(dir, path), text)
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "cur/1700000000.a.host:2,FS"), old, old); err != nil {
		t.Fatal(err)
	}
	c := readTree(t, dir, nil)
	want := []string{
		"Entwürfe: A: utf7", "Fs/Sub: A: fs", "Fs/Sub: A: fs new", "INBOX: A: inbox", "INBOX: A: new",
		"Lists/golang: A: list", "R&D: A: no utf7", "Sent: A: sent", "a.b: A: dot",
	}
	if got := c.list(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.Contains(c.boxes, "Empty") {
		t.Errorf("the empty mailbox is missing in %q", c.boxes)
	}
	for _, m := range c.msgs {
		switch m.Body {
		case "A: inbox\r\n":
			if !sameFlags(m.Flags, []imap.Flag{imap.FlagSeen, imap.FlagFlagged}) || !m.Date.Equal(old) {
				t.Errorf("inbox: %v %v", m.Flags, m.Date)
			}
		case "A: sent\r\n":
			// The file is new, its name old: the name wins.
			if !sameFlags(m.Flags, []imap.Flag{imap.FlagSeen, imap.FlagAnswered, "Work"}) || m.Date.Unix() != 1700000000 {
				t.Errorf("sent: %v %v", m.Flags, m.Date)
			}
		}
	}
	c = readTree(t, dir, func(o *Options) { o.Mailbox = "Old" })
	if !slices.Contains(c.boxes, "Old") || !slices.Contains(c.boxes, "Old/Lists/golang") {
		t.Errorf("below a mailbox: %q", c.boxes)
	}
}

func TestFolderOfFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"a.eml": "A: 1\n", "B.EML": "A: 2\n", "readme.txt": "not mail", "17": "A: mh\n",
		"sub/c.eml":            "A: 3\n",
		"Inbox.mbox":           from + "A: 4\n\n",
		"Trash":                from + "A: 5\n\n",
		"Trash.msf":            "// index",
		"Trash.sbd/Deep/d.eml": "A: 6\n",
		"Empty.mbox":           "",
	} {
		write(t, filepath.Join(dir, path), text)
	}
	c := readTree(t, dir, nil)
	want := []string{"INBOX: A: 1", "INBOX: A: 2", "INBOX: A: mh", "Inbox: A: 4", "Trash/Deep: A: 6", "Trash: A: 5", "sub: A: 3"}
	if got := c.list(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.Contains(c.boxes, "Empty") {
		t.Errorf("the empty mailbox is missing in %q", c.boxes)
	}
	all := readTree(t, dir, func(o *Options) { o.Format = EMLFiles })
	if len(all.msgs) != 10 {
		t.Errorf("every file a message: %d, want 10", len(all.msgs))
	}
}

func TestNoMail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x.txt"), "hello, world\n")
	for _, path := range []string{dir, filepath.Join(dir, "x.txt")} {
		c := new(collector)
		if err := Read(context.Background(), path, c.options(Auto), c); !errors.Is(err, ErrNoMail) {
			t.Errorf("%s: %v", path, err)
		}
	}
	c := new(collector)
	if err := Read(context.Background(), filepath.Join(dir, "nothing"), c.options(Auto), c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := new(collector)
	path := write(t, filepath.Join(t.TempDir(), "x.mbox"), from+"A: 1\n\n")
	if err := Read(ctx, path, c.options(Auto), c); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestMaildirWriter(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var notes []string
	open := func(mailbox string) *MaildirWriter {
		w, err := NewMaildirWriter(root, mailbox, LF, func(s string) { notes = append(notes, s) })
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	day := time.Date(2026, 11, 23, 1, 31, 0, 0, time.UTC)
	put := func(w *MaildirWriter, uid uint32, body string, flags ...imap.Flag) {
		s := describe([]byte(body))
		s.UID, s.ID, s.Date, s.Flags = uid, "Mabc", day, flags
		if err := w.Message(s, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time nothing is doubled
		put(open("INBOX"), 1, "A: 1\r\n\r\nx\r\n", imap.FlagSeen, "$Forwarded")
		put(open("Lists/a.b ü"), 1, "A: 2\nbare", imap.FlagDraft, "Work", "Home", imap.FlagAnswered)
	}
	put(open("INBOX"), 1, "A: 1\r\n\r\nx\r\n", imap.FlagFlagged)
	c := readTree(t, root, nil)
	if want := []string{"INBOX: A: 1\r\n\r\nx", "Lists/a.b ü: A: 2\r\nbare"}; !reflect.DeepEqual(c.list(), want) {
		t.Errorf("got %q, want %q", c.list(), want)
	}
	for _, m := range c.msgs {
		want := []imap.Flag{imap.FlagFlagged}
		if m.Mailbox != "INBOX" {
			want = []imap.Flag{imap.FlagDraft, imap.FlagAnswered, "Work", "Home"}
		}
		if !sameFlags(m.Flags, want) || !m.Date.Equal(day) {
			t.Errorf("%s: %v %v", m.Mailbox, m.Flags, m.Date)
		}
	}
	w := open("Many")
	for i := range 30 {
		put(w, uint32(i+1), "A: 1\r\n", imap.Flag("word"+string(rune('A'+i))))
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "26 keywords") {
		t.Errorf("notes %q", notes)
	}
	if _, err := NewMaildirWriter(root, strings.Repeat("x", 300), LF, nil); err == nil {
		t.Error("a name that is too long was taken")
	}
}

func TestFailedMaildirMessageLeavesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	w, err := NewMaildirWriter(root, "INBOX", LF, nil)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	body := &failAfter{r: bytes.NewReader([]byte("A: 1\r\n")), err: broken}
	if err := w.Message(&Stored{ID: "M1", UID: 1, Date: time.Unix(1, 0)}, body); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	for _, sub := range []string{"tmp", "cur", "new"} {
		if left, err := os.ReadDir(filepath.Join(root, sub)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v %v", sub, left, err)
		}
	}
}

type failAfter struct {
	r   *bytes.Reader
	err error
}

func (f *failAfter) Read(p []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(p)
}
