package imap

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestInternalDate(t *testing.T) {
	t.Parallel()
	const layout = `"_2-Jan-2006 15:04:05 -0700"`
	check := func(sec int64, zone int16) {
		t.Helper()
		want := time.Unix(sec, 0).In(time.FixedZone("", int(zone)*60)).Format(layout)
		if got := string(appendInternalDate(nil, sec, zone)); got != want {
			t.Errorf("%d %d: got %s, want %s", sec, zone, got, want)
		}
	}
	for _, zone := range []int16{0, 60, -60, 330, -210, 840, -720, 1, -1} {
		for _, sec := range []int64{0, -1, 951782400, 951868799, 4102444800, -2208988800, 1709164800, 253402214400} {
			check(sec, zone)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		check(rnd.Int64N(250000000000)-30000000000, int16(rnd.IntN(28*60)-14*60))
	}
	if got := string(appendInternalDate(nil, 1<<60, 0)); len(got) != 28 {
		t.Errorf("a date beyond year 9999 is %s", got)
	}
}

func BenchmarkInternalDate(b *testing.B) {
	buf := make([]byte, 0, 64)
	for b.Loop() {
		buf = appendInternalDate(buf[:0], 1700000000, 90)
	}
}
