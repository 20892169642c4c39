package admin

import (
	"bytes"
	"testing"
)

func TestLineEnds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "a": false, "a\r\n": false, "\r\n": false, "a\r\nb\r\n": false, "a\r\nb": false,
		"\n": true, "a\n": true, "a\r\nb\n": true, "a\nb\r\n": true,
		"\r\r\n": true, "a\r\r\n": true, "a\r\nb\r\r\n": false, "\r\na\r\r\n": false, "a\r\n\r\n": false, "a\r\n\n": true,
	} {
		var whole, bytewise lineEnds
		_, _ = whole.Write([]byte(text))
		for i := range len(text) {
			_, _ = bytewise.Write([]byte(text[i : i+1]))
		}
		if whole.mixed != want || bytewise.mixed != want {
			t.Errorf("%q: mixed %v, byte by byte %v, want %v", text, whole.mixed, bytewise.mixed, want)
		}
		if final := bytes.HasSuffix([]byte(text), []byte("\n")); (whole.last == '\n') != final || (bytewise.last == '\n') != final {
			t.Errorf("%q: last bytes %q and %q", text, whole.last, bytewise.last)
		}
	}
}
