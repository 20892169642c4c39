package raw

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// played returns a connection that reads input.
func played(t *testing.T, input string) *Conn {
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	go func() {
		_, _ = far.Write([]byte(input))
		far.Close()
	}()
	return &Conn{Conn: near, r: bufio.NewReaderSize(near, 64), w: bufio.NewWriter(near), timeout: time.Second}
}

func TestRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 500)
	input := "* 1 FETCH (BODY[] {5}\r\na\r\nb} FLAGS () BODY[1] {3+}\r\nxyz)\r\n* OK " + long + " {4}\r\nabcd\r\na1 OK done\r\n"
	c := played(t, input)
	for _, want := range []string{"* 1 FETCH (BODY[] {5}", "* OK " + long + " {4}", "a1 OK done"} {
		got, err := c.Read()
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	if c.BytesIn() != int64(len(input)) {
		t.Errorf("counted %d bytes of %d", c.BytesIn(), len(input))
	}
}

func TestReadWhole(t *testing.T) {
	t.Parallel()
	c := played(t, "* 1 FETCH (BODY[] {5}\r\na\r\nb} FLAGS () BODY[1] {3}\r\nxyz)\r\n")
	got, err := c.ReadWhole()
	if err != nil || got.Text != "* 1 FETCH (BODY[] {5} FLAGS () BODY[1] {3})" || !slices.Equal(got.Literals, []string{"a\r\nb}", "xyz"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	c := played(t, "* 3 EXISTS\r\na10 OK other\r\na1 OK [CAPABILITY IMAP4rev1 LITERAL+] in\r\na2 NO no\r\n")
	untagged := 0
	if err := c.Wait("a1", func([]byte) { untagged++ }); err != nil || untagged != 2 || !c.Has("LITERAL+") {
		t.Fatalf("%v, %d untagged", err, untagged)
	}
	var status *StatusError
	if err := c.Wait("a2", nil); !errors.As(err, &status) || status.Text != "NO no" {
		t.Fatalf("got %v", err)
	}
}
