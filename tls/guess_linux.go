package tls

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// IPv6 addresses that no certificate is for (linux/if_addr.h): temporary ones
// (RFC 8981), which change every day, deprecated ones, and those that aren't
// known to be the machine's alone.
const passingFlags = 0x01 | 0x08 | 0x20 | 0x40

// maxInet6 bounds what is read of the kernel's list.
const maxInet6 = 64 << 10

// passingAddrs are the machine's addresses that are for a while.
func passingAddrs() map[netip.Addr]bool {
	f, err := os.Open("/proc/self/net/if_inet6")
	if err != nil {
		return nil // no IPv6, no /proc: then they are taken for lasting
	}
	defer f.Close()
	return parseInet6(io.LimitReader(f, maxInet6))
}

// parseInet6 reads lines of address, interface, prefix length, scope, flags
// and name, all but the last in hexadecimal.
func parseInet6(r io.Reader) map[netip.Addr]bool {
	passing := map[netip.Addr]bool{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || len(fields[0]) != 32 {
			continue
		}
		flags, err := strconv.ParseUint(fields[4], 16, 32)
		high, errHigh := strconv.ParseUint(fields[0][:16], 16, 64)
		low, errLow := strconv.ParseUint(fields[0][16:], 16, 64)
		if err != nil || errHigh != nil || errLow != nil || flags&passingFlags == 0 {
			continue
		}
		var a [16]byte
		for i := range 8 {
			a[i], a[8+i] = byte(high>>(56-8*i)), byte(low>>(56-8*i))
		}
		passing[netip.AddrFrom16(a)] = true
	}
	return passing
}
