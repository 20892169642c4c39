package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// header2 is a header of version 2.
func header2(command, family byte, block ...byte) string {
	b := append([]byte(signature2), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(block)))
	return string(append(b, block...))
}

func tcp4(more ...byte) []byte {
	return append([]byte{192, 0, 2, 7, 192, 0, 2, 1, 0xc4, 0xec, 0x03, 0xe1}, more...)
}

func tcp6(from string) []byte {
	b := append(netip.MustParseAddr(from).AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...)
	return append(b, 0xc4, 0xec, 0x03, 0xe1)
}

// summed is a header with a checksum, or with a wrong one.
func summed(off uint32) string {
	b := []byte(header2(commandProxy, familyTCP4, tcp4(fieldCRC32C, 0, 4, 0, 0, 0, 0)...))
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[len(b)-4:], sum+off)
	return string(b)
}

const behind = "a1 NOOP\r\n"

func TestReadHeader(t *testing.T) {
	t.Parallel()
	ssl := []byte{fieldSSL, 0, 5, clientSSL, 0, 0, 0, 0}
	plain := []byte{fieldSSL, 0, 5, 0, 0, 0, 0, 0}
	for in, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 192.0.2.1 50412 993\r\n":                      "192.0.2.7:50412 false",
		"PROXY TCP6 2001:db8::7 2001:db8::1 50412 993\r\n":                  "[2001:db8::7]:50412 false",
		"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n":                           "192.0.2.7:1 false",
		"PROXY UNKNOWN\r\n":                                                 "invalid AddrPort false",
		"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n":                  "invalid AddrPort false",
		"PROXY UNKNOWN " + strings.Repeat("x", maxLine-16) + "\r\n":         "invalid AddrPort false",
		header2(commandProxy, familyTCP4, tcp4()...):                        "192.0.2.7:50412 false",
		header2(commandProxy, familyTCP4, tcp4(ssl...)...):                  "192.0.2.7:50412 true",
		header2(commandProxy, familyTCP4, tcp4(plain...)...):                "192.0.2.7:50412 false",
		header2(commandProxy, familyTCP4, tcp4(4, 0, 1, 9)...):              "192.0.2.7:50412 false",
		header2(commandProxy, familyTCP6, tcp6("2001:db8::7")...):           "[2001:db8::7]:50412 false",
		header2(commandProxy, familyTCP6, tcp6("::ffff:192.0.2.7")...):      "192.0.2.7:50412 false",
		header2(commandLocal, familyUnspecified):                            "invalid AddrPort false",
		header2(commandLocal, familyTCP4, 1, 2, 3):                          "invalid AddrPort false",
		header2(commandProxy, familyUnspecified):                            "invalid AddrPort false",
		header2(commandProxy, familyUnix, make([]byte, 216)...):             "invalid AddrPort false",
		header2(commandProxy, familyUnspecified, make([]byte, maxBlock)...): "invalid AddrPort false",
		summed(0): "192.0.2.7:50412 false",

		"PROXY TCP4 192.0.2.7 192.0.2.1 50412\r\n":                            "error",
		"PROXY TCP4 192.0.2.7 192.0.2.1 50412 65536\r\n":                      "error",
		"PROXY TCP4 192.0.2.7 192.0.2.1 +50412 993\r\n":                       "error",
		"PROXY TCP4 192.0.2.7  192.0.2.1 50412 993\r\n":                       "error",
		"PROXY TCP4 2001:db8::7 2001:db8::1 50412 993\r\n":                    "error",
		"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n":                                 "error",
		"PROXY TCP4 0.0.0.0 192.0.2.1 1 2\r\n":                                "error",
		"PROXY TCP4 224.0.0.1 192.0.2.1 1 2\r\n":                              "error",
		"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n":                              "error",
		"PROXY UNKNOWN " + strings.Repeat("x", maxLine) + "\r\n":              "error",
		"a1 LOGIN anna secret\r\n":                                            "error",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00":                "error",
		header2(0x11, familyTCP4, tcp4()...):                                  "error",
		header2(0x22, familyTCP4, tcp4()...):                                  "error",
		header2(commandProxy, 0x12, tcp4()...):                                "error",
		header2(commandProxy, familyTCP4, tcp4()[:11]...):                     "error",
		header2(commandProxy, familyTCP4, tcp4(4, 0)...):                      "error",
		header2(commandProxy, familyTCP4, tcp4(4, 0, 2, 9)...):                "error",
		header2(commandProxy, familyTCP4, tcp4(fieldCRC32C, 0, 1, 9)...):      "error",
		header2(commandProxy, familyUnspecified, make([]byte, maxBlock+1)...): "error",
		header2(commandProxy, familyTCP6, tcp6("::")...):                      "error",
		summed(1): "error",
	} {
		r := strings.NewReader(in + behind)
		h, err := ReadHeader(r)
		got := fmt.Sprint(h.Source, " ", h.TLS)
		if errors.Is(err, ErrHeader) {
			got = "error"
		} else if rest, _ := io.ReadAll(r); string(rest) != behind {
			t.Errorf("%q: left is %q", in, rest)
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", in, got, err, want)
		}
		// Of a header that is cut off nothing is believed.
		if want != "error" {
			for n := range len(in) {
				if h, err := ReadHeader(strings.NewReader(in[:n])); err == nil || h != (Header{}) {
					t.Fatalf("%q: %v, %v", in[:n], h, err)
				}
			}
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 192.0.2.1 50412 993\r\n", "PROXY TCP6 2001:db8::7 2001:db8::1 50412 993\r\n", "PROXY UNKNOWN\r\n", summed(0),
		header2(commandProxy, familyTCP4, tcp4(fieldSSL, 0, 5, clientSSL, 0, 0, 0, 0)...), header2(commandProxy, familyTCP6, tcp6("2001:db8::7")...),
		header2(commandLocal, familyUnix),
	} {
		f.Add([]byte(seed + behind))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := ReadHeader(r)
		used := len(in) - r.Len()
		if used > len(signature2)+4+maxBlock {
			t.Errorf("%d octets read", used)
		}
		if err != nil {
			if h != (Header{}) {
				t.Errorf("%+v with %v", h, err)
			}
			return
		}
		if a := h.Source.Addr(); a.IsValid() && (a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast()) {
			t.Errorf("%v", h.Source)
		}
		// It says the same without what is behind it.
		if again, err := ReadHeader(bytes.NewReader(in[:used])); err != nil || again != h {
			t.Errorf("%+v, %v after %+v", again, err, h)
		}
	})
}

// listen serves on loopback; networks are those that proxies are in.
func listen(t *testing.T, networks ...string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var from []netip.Prefix
	for _, n := range networks {
		from = append(from, netip.MustParsePrefix(n))
	}
	p := Wrap(l, from, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func dial(t *testing.T, l net.Listener, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		_, err = c.Write([]byte(send))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestListener(t *testing.T) {
	t.Parallel()
	l := listen(t, "10.0.0.0/8", "127.0.0.0/8")
	dial(t, l, "") // one that never sends a header holds nobody up
	wrong := dial(t, l, "a1 LOGIN anna secret\r\n")
	dial(t, l, "PROXY TCP4 192.0.2.7 192.0.2.1 50412 993\r\n"+behind)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(behind))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != behind || c.RemoteAddr().String() != "192.0.2.7:50412" {
		t.Errorf("%q, %v, %v", buf, c.RemoteAddr(), err)
	}
	_ = wrong.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := wrong.Read(buf); err == nil {
		t.Errorf("without a header: %q", buf[:n])
	}
	own := dial(t, l, header2(commandLocal, familyUnspecified))
	if c, err = l.Accept(); err != nil || c.RemoteAddr().String() != own.LocalAddr().String() {
		t.Errorf("for itself: %v, %v", c, err)
	}
	dial(t, l, header2(commandProxy, familyTCP4, tcp4(fieldSSL, 0, 5, clientSSL, 0, 0, 0, 0)...))
	if c, err = l.Accept(); err != nil || !c.(*Conn).Private() {
		t.Errorf("with TLS: %v, %v", c, err)
	}
	go func() { _ = l.Close() }()
	if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, %v", c, err)
	}
}

// A header of somebody else is what he sends, and nothing more.
func TestListenerTrustsFew(t *testing.T) {
	t.Parallel()
	for _, l := range []net.Listener{listen(t), listen(t, "10.0.0.0/8")} {
		const header = "PROXY TCP4 192.0.2.7 192.0.2.1 50412 993\r\n"
		own := dial(t, l, header)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(header))
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != header || c.RemoteAddr().String() != own.LocalAddr().String() {
			t.Errorf("%q, %v, %v", buf, c.RemoteAddr(), err)
		}
	}
}
