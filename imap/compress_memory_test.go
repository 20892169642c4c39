package imap

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// TestCompressMemory: what a connection that waits costs more with COMPRESS, as
// the heap has it. The goal is 56 KB; zlib's way would be some 300.
func TestCompressMemory(t *testing.T) {
	b := newTestBox(t, nil)
	const conns = 64
	waiting := func(compressed bool) uint64 {
		var all []net.Conn
		for range conns {
			c := b.login()
			c.ok("SELECT INBOX")
			command := []byte("n NOOP\r\n")
			if compressed {
				c.ok("COMPRESS DEFLATE")
				command = stored(command)
			}
			for range 3 {
				_, err := c.conn.Write(command)
				must(t, err)
				must(t, c.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
				_, err = io.ReadAtLeast(c.conn, make([]byte, 1000), 1)
				must(t, err)
			}
			all = append(all, c.conn)
		}
		heap := settledHeap()
		for _, c := range all {
			must(t, c.Close())
		}
		return heap
	}
	waiting(true) // pools and tables
	plain, compressed := waiting(false), waiting(true)
	each := (int64(compressed) - int64(plain)) / conns
	t.Logf("%d octets more a connection", each)
	if each > 56<<10 {
		t.Errorf("%d octets more a connection, want 56 KB at most", each)
	}
	if each < 32<<10 { // the window alone
		t.Errorf("%d octets more a connection: that can't be", each)
	}
}

// stored is data as a stored block of DEFLATE (RFC 1951 §3.2.4).
func stored(data []byte) []byte {
	block := []byte{0}
	block = binary.LittleEndian.AppendUint16(block, uint16(len(data)))
	block = binary.LittleEndian.AppendUint16(block, ^uint16(len(data)))
	return append(block, data...)
}

// settledHeap is the live heap when it stops shrinking.
func settledHeap() uint64 {
	var m runtime.MemStats
	least := ^uint64(0)
	for same := 0; same < 3; same++ {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc < least-least/1000 {
			least, same = m.HeapAlloc, 0
		}
	}
	return least
}
