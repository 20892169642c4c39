package tls

import (
	"net/netip"
	"strings"
	"testing"
)

const inet6 = `fd000000000000000000000000000005 02 40 00 80     eth0
fd001234567800000000000000000abc 02 40 00 01     eth0
fd0000000000000000000000000000ff 02 40 00 20     eth0
fd00000000000000000000000000000e 02 40 00 40     eth0
fe800000000000000000000000000001 02 40 20 80     eth0
zz000000000000000000000000000001 02 40 20 01     eth0
fd00 02 40 20 01 eth0

`

func TestPassingAddrs(t *testing.T) {
	t.Parallel()
	got := parseInet6(strings.NewReader(inet6))
	for _, a := range []string{"fd00:1234:5678::abc", "fd00::ff", "fd00::e"} {
		if !got[netip.MustParseAddr(a)] {
			t.Errorf("%s is to pass", a)
		}
	}
	if len(got) != 3 {
		t.Errorf("%v", got)
	}
	passingAddrs() // this machine's, whatever it has
}

func FuzzInet6(f *testing.F) {
	f.Add(inet6)
	f.Fuzz(func(t *testing.T, text string) {
		for a := range parseInet6(strings.NewReader(text)) {
			if !a.IsValid() {
				t.Errorf("%v", a)
			}
		}
	})
}
