package imap

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCRLFReader(t *testing.T) {
	t.Parallel()
	cases := []struct{ in, want string }{
		{"", ""},
		{"a", "a"},
		{"a\nb\n", "a\r\nb\r\n"},
		{"a\r\nb", "a\r\nb"},
		{"\n\n", "\r\n\r\n"},
		{"\r\r\n\n", "\r\r\n\r\n"},
		{"a\rb", "a\rb"},
		{strings.Repeat("x", 2047) + "\r\n", strings.Repeat("x", 2047) + "\r\n"},
		{strings.Repeat("x", 2048) + "\ny", strings.Repeat("x", 2048) + "\r\ny"},
	}
	for _, c := range cases {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r },
			"bytes": iotest.OneByteReader,
		} {
			out, err := io.ReadAll(&crlfReader{r: wrap(strings.NewReader(c.in))})
			if err != nil || string(out) != c.want {
				t.Errorf("%s, %.20q: got %.40q %v", name, c.in, out, err)
			}
			out, err = io.ReadAll(iotest.OneByteReader(&crlfReader{r: wrap(strings.NewReader(c.in))}))
			if err != nil || string(out) != c.want {
				t.Errorf("%s by octets, %.20q: got %.40q %v", name, c.in, out, err)
			}
		}
	}
}

func TestPartial(t *testing.T) {
	t.Parallel()
	const most = 1<<63 - 1
	cases := []struct {
		p            partial
		size, off, n int64
	}{
		{wholeSection, 10, 0, 10},
		{partial{0, 5}, 10, 0, 5},
		{partial{8, 5}, 10, 8, 2},
		{partial{10, 5}, 10, 0, 0},
		{partial{11, 5}, 10, 0, 0},
		{partial{10, most}, 20, 10, 10}, // no overflow (PEERS.md G13)
		{partial{most, most}, 20, 0, 0},
		{partial{0, 1}, 0, 0, 0},
	}
	for _, c := range cases {
		if off, n := c.p.of(c.size); off != c.off || n != c.n {
			t.Errorf("%v of %d: got %d, %d", c.p, c.size, off, n)
		}
	}
}
