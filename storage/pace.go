package storage

import (
	"runtime"

	bolt "go.etcd.io/bbolt"
)

// paceRows is how many rows a long look goes through before it lets others
// run: Go's scheduler would give it 10 ms at a time, each time that somebody
// else's command goes from one goroutine to the next.
const paceRows = 32

// pace is called once a row.
func pace(n *int) {
	if *n++; *n >= paceRows {
		*n = 0
		runtime.Gosched()
	}
}

// paced is ForEach, letting others run.
func paced(b *bolt.Bucket, fn func(k, v []byte) error) error {
	n := 0
	return b.ForEach(func(k, v []byte) error {
		pace(&n)
		return fn(k, v)
	})
}
