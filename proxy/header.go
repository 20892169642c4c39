// Package proxy reads the PROXY protocol, versions 1 and 2
// (haproxy.org/download/3.0/doc/proxy-protocol.txt), by which a proxy says for
// whom it connects. Only connections from networks that are trusted have such a
// header, and each of them must.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A Header is what a proxy says of a connection.
type Header struct {
	// Source is the client; not valid if the proxy connects for itself (a health
	// check), or doesn't know.
	Source netip.AddrPort
	// TLS: the client speaks TLS with the proxy (version 2 only).
	TLS bool
}

// ErrHeader says that a connection doesn't begin with a header that can be read.
var ErrHeader = errors.New("no PROXY header")

func headerError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrHeader, fmt.Sprintf(format, args...))
}

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	// maxLine is the longest line of version 1, with CRLF (§2.1).
	maxLine = 107
	// maxBlock is the most that is read after the fixed part of version 2.
	// Certificates' names fit in.
	maxBlock = 4096
)

// ReadHeader reads a header, and not an octet more: what follows is the client's.
func ReadHeader(r io.Reader) (Header, error) {
	h, err := readHeader(r)
	if err != nil {
		return Header{}, err
	}
	return h, nil
}

func readHeader(r io.Reader) (Header, error) {
	start := make([]byte, len(signature2), maxLine) // no header is shorter
	if _, err := io.ReadFull(r, start); err != nil {
		return Header{}, err
	}
	switch {
	case string(start) == signature2:
		return readBinary(r, start)
	case bytes.HasPrefix(start, []byte(signature1)):
		return readLine(r, start)
	}
	return Header{}, headerError("the connection begins with something else")
}

// readLine reads version 1, octet by octet: it has no length.
func readLine(r io.Reader, line []byte) (Header, error) {
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxLine {
			return Header{}, headerError("line of more than %d octets", maxLine)
		}
		line = append(line, 0)
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return Header{}, err
		}
	}
	return parseLine(strings.TrimSuffix(string(line), "\r\n"))
}

// parseLine parses "PROXY TCP4 192.0.2.7 192.0.2.1 50412 993".
func parseLine(line string) (h Header, err error) {
	words := strings.Split(line, " ")
	if len(words) >= 2 && words[1] == "UNKNOWN" {
		return h, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return h, headerError("want TCP4 or TCP6, two addresses and two ports")
	}
	for i := range 2 {
		addr, err := netip.ParseAddr(words[2+i])
		port, perr := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || perr != nil || addr.Zone() != "" || addr.Is4() != (words[1] == "TCP4") || words[4+i][0] == '+' {
			return Header{}, headerError("an address or port can't be read")
		}
		if i == 0 {
			h.Source = netip.AddrPortFrom(addr.Unmap(), uint16(port))
		}
	}
	return h, h.check()
}

// check refuses what can't be a client's address.
func (h *Header) check() error {
	if a := h.Source.Addr(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return headerError("the address is nobody's")
	}
	return nil
}

// Of version 2 (§2.2).
const (
	commandLocal = 0x20
	commandProxy = 0x21

	familyUnspecified = 0x00
	familyTCP4        = 0x11
	familyTCP6        = 0x21
	familyUnix        = 0x31

	fieldCRC32C = 0x03
	fieldSSL    = 0x20
	clientSSL   = 0x01
)

func readBinary(r io.Reader, all []byte) (Header, error) {
	all = append(all, 0, 0, 0, 0)
	fixed := all[len(signature2):]
	if _, err := io.ReadFull(r, fixed); err != nil {
		return Header{}, err
	}
	size := int(binary.BigEndian.Uint16(fixed[2:]))
	if size > maxBlock {
		return Header{}, headerError("%d octets, more than %d", size, maxBlock)
	}
	begin := len(all)
	all = append(all, make([]byte, size)...)
	if _, err := io.ReadFull(r, all[begin:]); err != nil {
		return Header{}, err
	}
	return parseBinary(all)
}

// parseBinary parses a whole header of version 2.
func parseBinary(all []byte) (h Header, err error) {
	command, family, block := all[12], all[13], all[16:]
	switch command {
	case commandLocal:
		return h, nil // whatever the block has (§2.2)
	case commandProxy:
	default:
		return h, headerError("unknown version or command %#x", command)
	}
	known := true
	var addresses int
	switch family {
	case familyTCP4:
		addresses = 12
	case familyTCP6:
		addresses = 36
	case familyUnspecified, familyUnix:
		known = false // the fields of none are looked at
	default:
		return h, headerError("family %#x is not TCP", family)
	}
	if !known {
		return h, nil
	}
	if len(block) < addresses {
		return h, headerError("the addresses are cut off")
	}
	half := (addresses - 4) / 2
	addr, _ := netip.AddrFromSlice(block[:half])
	h.Source = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(block[2*half:]))
	if err := h.fields(all, 16+addresses); err != nil {
		return Header{}, err
	}
	return h, h.check()
}

// fields parses what is behind the addresses, from an octet on.
func (h *Header) fields(all []byte, at int) error {
	for at < len(all) {
		if len(all)-at < 3 {
			return headerError("a field is cut off")
		}
		kind, size := all[at], int(binary.BigEndian.Uint16(all[at+1:]))
		at += 3
		if len(all)-at < size {
			return headerError("a field is cut off")
		}
		value := all[at : at+size]
		switch kind {
		case fieldCRC32C:
			if size != 4 {
				return headerError("the checksum has %d octets", size)
			}
			want := binary.BigEndian.Uint32(value)
			clear(value)
			if crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli)) != want {
				return headerError("the checksum is wrong")
			}
		case fieldSSL:
			h.TLS = size >= 5 && value[0]&clientSSL != 0
		}
		at += size
	}
	return nil
}
