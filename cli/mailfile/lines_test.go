package mailfile

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stored is what an import makes of a file's bytes.
func stored(t testing.TB, file []byte) []byte {
	t.Helper()
	b, err := io.ReadAll(newCRLFReader(bytes.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// describe is what the export knows of a message.
func describe(b []byte) *Stored {
	s := &Stored{Size: int64(len(b)), NoFinalLF: !bytes.HasSuffix(b, []byte("\n"))}
	s.Mixed = bytes.Count(b, []byte("\n")) != bytes.Count(b, []byte("\r\n")) || twoCR(b)
	return s
}

// exported is what an export writes of stored bytes.
func exported(t testing.TB, b []byte, ends LineEnds) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := copyLines(&out, bytes.NewReader(b), describe(b).Mixed || bool(ends)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// twoCR tells whether the first LF has two CRs before it.
func twoCR(b []byte) bool {
	return bytes.HasSuffix(b[:max(0, bytes.IndexByte(b, '\n'))], []byte("\r\r"))
}

// onlyCRLF tells the messages that come out with LF.
func onlyCRLF(b []byte) bool {
	return bytes.Contains(b, []byte("\n")) && !describe(b).Mixed
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, stored, file2 string }{
		{"", "", ""},
		{"a", "a", "a"},
		{"a\n", "a\r\n", "a\n"},
		{"a\nb", "a\r\nb", "a\nb"},
		{"\n", "\r\n", "\n"},
		{"a\r\nb\r\n", "a\r\nb\r\n", "a\nb\n"}, // the one kind that changes
		{"a\nb\r\nc\n", "a\r\nb\r\r\nc\r\n", "a\nb\r\nc\n"},
		{"a\r\nb\nc\r\n", "a\r\nb\nc\r\n", "a\r\nb\nc\r\n"},
		{"a\rb\nc\r\r\n\r", "a\rb\r\nc\r\r\r\n\r", "a\rb\nc\r\r\n\r"},
		{"\r", "\r", "\r"},
		{"\r\r\n", "\r\r\n", "\r\r\n"},
	} {
		b := stored(t, []byte(c.file))
		if string(b) != c.stored {
			t.Errorf("%q stored as %q, want %q", c.file, b, c.stored)
		}
		if out := exported(t, b, LF); string(out) != c.file2 {
			t.Errorf("%q exported as %q, want %q", c.file, out, c.file2)
		}
	}
}

func FuzzLineEnds(f *testing.F) {
	for _, s := range []string{"", "a\n", "a\r\nb\n", "\r\r\n\n", "x\n\r\n\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		b := stored(t, file)
		slow, err := io.ReadAll(newCRLFReader(iotest.OneByteReader(bytes.NewReader(file))))
		if err != nil || !bytes.Equal(slow, b) {
			t.Fatalf("%q: byte by byte %q, at once %q, %v", file, slow, b, err)
		}
		if out := exported(t, b, AsStored); onlyCRLF(file) && !bytes.Equal(out, file) {
			t.Fatalf("%q comes out as %q", file, out)
		}
		if out := exported(t, b, LF); !onlyCRLF(file) && !bytes.Equal(out, file) {
			t.Fatalf("%q stored as %q comes out as %q", file, b, out)
		}
		var bytewise bytes.Buffer
		lf := &lfWriter{w: &bytewise}
		for i := range b {
			if _, err := lf.Write(b[i : i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := lf.flush(); err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(string(b), "\r\n", "\n"); bytewise.String() != want {
			t.Fatalf("%q written byte by byte as %q, want %q", b, bytewise.String(), want)
		}
	})
}
