package imap

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestCatenateStreams: a message of 50 MB that is put together from one on the
// server and from what the client sends is never whole in memory.
func TestCatenateStreams(t *testing.T) {
	c := newSizedBox(t, 64<<20, nil).login()
	const half = 20 << 20
	line := "all work and no play makes Jack a dull boy, but he does not see it so\r\n"
	big := "Subject: big\r\n\r\n" + strings.Repeat(line, half/len(line))
	c.append("INBOX", "", big)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c.send(fmt.Sprintf("c1 APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {%d+}\r\n", half/2))
	piece := strings.Repeat("x", 1<<20)
	for range half / 2 >> 20 {
		c.send(piece)
	}
	c.send(" URL /INBOX/;UID=1)\r\n")
	c.expect("c1 OK")
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 16<<20 {
		t.Errorf("the heap grew by %d octets", grown)
	}
	c.ok("EXAMINE INBOX")
	size := 2*len(big) + half/2
	if lines := c.ok("FETCH 2 RFC822.SIZE"); !contains(lines, fmt.Sprintf("RFC822.SIZE %d)", size)) {
		t.Errorf("%q, want %d", lines, size)
	}
	end := fmt.Sprintf("BODY.PEEK[]<%d.%d>", size-len(line)*2, len(line)*2)
	if lines := c.ok("FETCH 2 " + end); !contains(lines, line+line) {
		t.Errorf("%.300q", lines)
	}
}
