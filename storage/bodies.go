package storage

import (
	"errors"
	"runtime"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
)

const (
	// bodyMax is the size of a message that Bodies gives.
	bodyMax = chunkBytes
	// bodiesOctets and bodiesCount are how much is read in one transaction.
	bodiesOctets = 128 << 10
	bodiesCount  = 32
)

// A bodyGroup are messages that are read together.
type bodyGroup struct {
	err    error
	n      int
	rows   [bodiesCount]blobRow
	stored [bodiesCount][]span // the chunks in copied
	ends   [bodiesCount]int    // of the messages in bodies
	whole  [bodiesCount]bool
	copied []byte
	bodies []byte
}

// A span is a piece of a buffer.
type span struct{ start, end int }

var bodyGroups = sync.Pool{New: func() any {
	return &bodyGroup{copied: make([]byte, 0, bodiesOctets), bodies: make([]byte, 0, bodiesOctets)}
}}

// Bodies calls f with the octets of blobs, at most ReadRows, in their order,
// until it returns false. body is only valid in f. It is nil for a message of
// more than 64 KB, and for one that can't be read: OpenBlob reads the one, and
// says why of the other. While f runs no transaction is open, and the next
// messages are read.
func (a *Account) Bodies(blobs []BlobID, f func(i int, body []byte) bool) error {
	fl, err := a.acquire()
	if err != nil {
		return err
	}
	defer fl.release()
	groups := func(yield func(*bodyGroup) bool) {
		for i := 0; i < len(blobs); {
			g := bodyGroups.Get().(*bodyGroup)
			g.read(fl, blobs[i:])
			i += g.n
			if failed := g.err != nil; !yield(g) || failed {
				return
			}
		}
	}
	if len(blobs) > 1 && runtime.GOMAXPROCS(0) > 1 {
		groups = ahead(groups)
	}
	i := 0
	for g := range groups {
		more := g.give(i, f)
		i, err = i+g.n, g.err
		bodyGroups.Put(g)
		if !more {
			break
		}
	}
	return err
}

// ahead has another goroutine make the next group while one is in use. It has
// ended when the loop over the groups ends.
func ahead(groups func(func(*bodyGroup) bool)) func(func(*bodyGroup) bool) {
	return func(yield func(*bodyGroup) bool) {
		made, enough := make(chan *bodyGroup), make(chan struct{})
		go func() {
			defer close(made)
			groups(func(g *bodyGroup) bool {
				select {
				case made <- g:
					return true
				case <-enough:
					bodyGroups.Put(g)
					return false
				}
			})
		}()
		defer func() {
			close(enough)
			for g := range made {
				bodyGroups.Put(g)
			}
		}()
		for g := range made {
			if !yield(g) {
				return
			}
		}
	}
}

// give calls f with the messages of the group, the first of which is number i.
func (g *bodyGroup) give(i int, f func(i int, body []byte) bool) bool {
	start := 0
	for j := range g.n {
		var body []byte
		if g.whole[j] {
			body = g.bodies[start:g.ends[j]:g.ends[j]]
		}
		if !f(i+j, body) {
			return false
		}
		start = g.ends[j]
	}
	return g.err == nil
}

// read reads the first of blobs, as many as fit.
func (g *bodyGroup) read(f *files, blobs []BlobID) {
	g.n, g.copied, g.bodies = 0, g.copied[:0], g.bodies[:0]
	if g.err = g.copy(f, blobs[:min(len(blobs), bodiesCount)]); g.err != nil {
		return
	}
	for j := range g.n {
		g.whole[j] = len(g.stored[j]) > 0
		before := len(g.bodies)
		for n, chunk := range g.stored[j] {
			var err error
			at := place{placeBlob, uint64(blobs[j]), uint32(n)}
			if g.bodies, err = decodeChunk(g.bodies, g.copied[chunk.start:chunk.end], at); err != nil {
				g.whole[j] = false // OpenBlob will say so
			}
		}
		if !g.whole[j] || len(g.bodies)-before != int(g.rows[j].size) {
			g.whole[j], g.bodies = false, g.bodies[:before]
		}
		g.ends[j] = len(g.bodies)
	}
}

// copy copies the chunks of small messages out of their volumes, all those of
// a volume in one transaction.
func (g *bodyGroup) copy(f *files, blobs []BlobID) error {
	var others []uint16
	err := f.viewVolume(0, func(tx *bolt.Tx) error {
		octets, found := int64(0), newFinder(tx, bucketBlobs)
		for j, id := range blobs {
			row, err := decodeBlobRow(found.find(id))
			if err != nil || row.size > bodyMax {
				row = blobRow{}
			}
			if octets += row.size; octets > bodiesOctets && j > 0 {
				break
			}
			g.rows[j], g.stored[j] = row, g.stored[j][:0]
			g.n++
			if row.volume != 0 && !slices.Contains(others, row.volume) {
				others = append(others, row.volume)
			}
		}
		return g.copyFrom(tx, 0, blobs)
	})
	for _, volume := range others {
		if err != nil {
			return err
		}
		err = f.viewVolume(volume, func(tx *bolt.Tx) error { return g.copyFrom(tx, volume, blobs) })
		if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrCorrupt) {
			err = nil
		}
	}
	return err
}

// copyFrom copies what is in one volume. Of a message that isn't whole there
// nothing is kept.
func (g *bodyGroup) copyFrom(tx *bolt.Tx, volume uint16, blobs []BlobID) error {
	for j := range g.n {
		row := &g.rows[j]
		if row.size == 0 || row.volume != volume {
			continue
		}
		for n := range row.chunks() {
			start := len(g.copied)
			var err error
			if g.copied, err = copyChunk(g.copied, tx, blobs[j], n); err != nil {
				g.stored[j] = g.stored[j][:0]
				break
			}
			g.stored[j] = append(g.stored[j], span{start, len(g.copied)})
		}
	}
	return nil
}
