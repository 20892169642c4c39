package wire

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// writes keeps each Write apart.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestEncoder(t *testing.T) {
	zone := time.FixedZone("", -(7*3600 + 30*60))
	tests := []struct {
		write      func(w *Encoder)
		want, utf8 string // utf8 if it differs there
	}{
		{func(w *Encoder) { w.Raw("* OK").SP().Number(4294967295).Byte('x').CRLF() }, "* OK 4294967295x\r\n", ""},
		{func(w *Encoder) { w.Number64(1<<63 - 1).SP().Uint64(1<<64 - 1) }, "9223372036854775807 18446744073709551615", ""},
		{func(w *Encoder) { w.String("") }, `""`, ""},
		{func(w *Encoder) { w.String(`a "b" \c`) }, `"a \"b\" \\c"`, ""},
		{func(w *Encoder) { w.String("a\r\nb") }, "{4}\r\na\r\nb", ""},
		{func(w *Encoder) { w.String("a\tb") }, "{3}\r\na\tb", ""},
		{func(w *Encoder) { w.String("a\x00b") }, "{3}\r\na?b", ""},
		{func(w *Encoder) { w.String("ü") }, "{2}\r\nü", `"ü"`},
		{func(w *Encoder) { w.String("\xff") }, "{1}\r\n\xff", ""},
		{func(w *Encoder) { w.String(strings.Repeat("x", 1001)) }, "{1001}\r\n" + strings.Repeat("x", 1001), ""},
		{func(w *Encoder) { w.NString("", false).NString("NIL", true) }, `NIL"NIL"`, ""},
		{func(w *Encoder) { w.Astring("abc").SP().Astring("").SP().Astring("nil").SP().Astring("a]") }, `abc "" "nil" "a]"`, ""},
		{func(w *Encoder) { w.Mailbox("INBOX").SP().Mailbox("a b").SP().Mailbox("ü&") }, `INBOX "a b" &APw-&-`, `INBOX "a b" "ü&"`},
		{func(w *Encoder) { w.Flags(nil).SP().Flags([]imap.Flag{imap.FlagSeen, "a"}) }, `() (\Seen a)`, ""},
		{func(w *Encoder) { w.NumSet(imap.UIDSetNum(1, 2, 3, 7)) }, `1:3,7`, ""},
		{func(w *Encoder) { w.Date(time.Date(1996, 7, 7, 2, 4, 5, 0, zone)) }, `" 7-Jul-1996 02:04:05 -0730"`, ""},
		{func(w *Encoder) { w.Date(time.Date(12345, 12, 31, 2, 4, 5, 0, time.UTC)) }, `"31-Dec-9999 02:04:05 +0000"`, ""},
		{func(w *Encoder) { w.Literal(3, true); _, _ = w.Write([]byte("\x00ab")) }, "~{3}\r\n\x00ab", ""},
		{func(w *Encoder) { w.Append(func(b []byte) []byte { return append(b, "hot"...) }).Bytes([]byte("!")) }, "hot!", ""},
	}
	for i, test := range tests {
		for _, utf8 := range []bool{false, true} {
			var out writes
			w := NewEncoder(&out)
			w.SetUTF8(utf8)
			test.write(w)
			if len(out) != 0 || w.Buffered() == 0 {
				t.Errorf("%d: written before Flush", i)
			}
			want := test.want
			if utf8 && test.utf8 != "" {
				want = test.utf8
			}
			if err := w.Flush(); err != nil || len(out) != 1 || out[0] != want || w.buf != nil {
				t.Errorf("%d: %.100q, %v; want %.100q", i, out, err, want)
			}
		}
	}
}

// TestEncoderFull: it writes by itself when full, in pieces of a TLS record,
// and whatever the mixture of methods loses nothing.
func TestEncoderFull(t *testing.T) {
	var out writes
	w := NewEncoder(&out)
	var want strings.Builder
	for i := range 30 {
		s := strings.Repeat(string(rune('a'+i%26)), 1<<(i%18))
		switch i % 4 {
		case 0:
			w.Raw(s)
		case 1:
			_, _ = w.Write([]byte(s))
		case 2:
			w.Append(func(b []byte) []byte { return append(b, s...) })
		case 3:
			w.Bytes([]byte(s))
		}
		want.WriteString(s)
	}
	if err := w.Flush(); err != nil || strings.Join(out, "") != want.String() {
		t.Errorf("%d bytes, want %d; %v", len(strings.Join(out, "")), want.Len(), err)
	}
	if len(out) > 40 {
		t.Errorf("%d writes", len(out))
	}
}

type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errors.New("broken")
	}
	return len(p), nil
}

func TestEncoderError(t *testing.T) {
	f := &failing{1}
	w := NewEncoder(f)
	for range 5 {
		w.Raw(strings.Repeat("x", encoderBuffer))
	}
	if w.Err() == nil || f.left != -1 || w.Buffered() != 0 {
		t.Errorf("%v, %d", w.Err(), f.left)
	}
	if n, err := w.Write([]byte("x")); n != 0 || err == nil {
		t.Error(n, err)
	}
	w.Raw("x").Number(1).String("x").Date(time.Now()).Literal(3, false)
	if w.Flush() == nil || f.left != -1 {
		t.Error("writes after an error")
	}
	var out writes
	w.Reset(&out)
	if w.Raw("x").Flush() != nil || !reflect.DeepEqual(out, writes{"x"}) {
		t.Error(out)
	}
}

func TestUTF7(t *testing.T) {
	for name, want := range map[string]string{
		"INBOX": "INBOX", "": "", "&": "&-", "a&b": "a&-b", "&&": "&-&-",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-", // RFC 3501 §5.1.3
		"Entwürfe":           "Entw&APw-rfe", "ü&ü": "&APw-&-&APw-", "😀": "&2D3eAA-", "a\tb": "a&AAk-b", "-ü-": "-&APw--",
	} {
		if got := EncodeUTF7(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if got, err := DecodeUTF7(want); got != name || err != nil {
			t.Errorf("%q: %q, %v", want, got, err)
		}
	}
	for _, bad := range []string{
		"&", "a&", "&APw", "&APw-&APw-", "&AGE-", "&APx-", "&AP-", "&A-", "ü", "a\nb", "&AP\nw-", "&APw=-", "&U/BTFw-",
		"&2D0-", "&3gA-", "&2D0AYQ-", "&AAA-", "&!!!!-", "\x00", "\x7f",
	} {
		if got, err := DecodeUTF7(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
}

func TestAppendUIDSet(t *testing.T) {
	for want, uids := range map[string][]imap.UID{
		"": nil, "1": {1}, "1:3,5,7:8": {1, 2, 3, 5, 7, 8}, "4294967294:4294967295": {4294967294, 4294967295},
	} {
		if got := string(AppendUIDSet(nil, uids)); got != want {
			t.Errorf("%v: %q", uids, got)
		}
	}
}

func BenchmarkEncodeFetch(b *testing.B) {
	w := NewEncoder(io.Discard)
	date := time.Date(1996, 7, 7, 2, 4, 5, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		w.Raw("* ").Number(17).Raw(" FETCH (UID ").Number(4711).Raw(" INTERNALDATE ").Date(date).
			Raw(" RFC822.SIZE ").Number64(4711).Raw(" BODY[] ").String("Subject: x").Byte(')').CRLF()
		_ = w.Flush()
	}
}

func BenchmarkEncodeMailbox(b *testing.B) {
	w := NewEncoder(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		w.Raw("* LIST () \"/\" ").Mailbox("Archive/2024 and more").CRLF()
		_ = w.Flush()
	}
}
