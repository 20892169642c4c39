package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"nestbox/mail"
)

// salvageHeld is up to which size a message's bytes are held in memory, so
// that they are read once.
const salvageHeld = 256 << 10

// A storedChunk is where a chunk lies.
type storedChunk struct {
	at   place
	rank byte
	file uint16
	off  int64
	n    uint32
}

// chunksOf calls fn with all that was found for the chunks of a place, by number.
func (x *salvageIndex) chunksOf(kind byte, id uint64, fn func(c storedChunk) bool) error {
	be := binary.BigEndian
	key := be.AppendUint64([]byte{kind}, id)
	return x.chunks.from(key, func(rec []byte) bool {
		if !bytes.HasPrefix(rec, key) {
			return false
		}
		if x.fileOf(be.Uint16(rec[14:])).alien {
			return true
		}
		return fn(storedChunk{place{kind, id, be.Uint32(rec[9:])}, rec[13], be.Uint16(rec[14:]), int64(be.Uint64(rec[16:])), be.Uint32(rec[24:])})
	})
}

// load appends what a chunk stands for to dst.
func (x *salvageIndex) load(dst []byte, c storedChunk) ([]byte, error) {
	if c.n > decodedMax {
		return dst, fmt.Errorf("%w: chunk of %d octets", ErrCorrupt, c.n)
	}
	v := make([]byte, c.n)
	if _, err := x.fileOf(c.file).raw.r.ReadAt(v, c.off); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return decodeChunk(dst, v, c.at)
}

// A bodyPiece is a part of a message: a chunk, or text in the place of what is
// lost.
type bodyPiece struct {
	chunk storedChunk
	text  string
}

// A salvagedBody is what is left of a message.
type salvagedBody struct {
	x      *salvageIndex
	pieces []bodyPiece
	held   []byte // all of it, if it is short
	size   int64  // of the pieces that are there
	found  int    // how many
	head   []byte // the beginning of the header, nil if it is lost
	sum    []byte // SHA-256
	damage string // "" if nothing is missing
}

// assemble finds the chunks of a blob, of size octets, -1 if that is not known,
// those of one volume before others.
func (x *salvageIndex) assemble(id BlobID, size int64, volume uint16, headSize int64) (*salvagedBody, error) {
	b := &salvagedBody{x: x}
	var found []storedChunk
	if err := x.chunksOf(placeBlob, uint64(id), func(c storedChunk) bool {
		found = append(found, c)
		return len(found) < 1<<20
	}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(p, q storedChunk) int {
		if p.at.n != q.at.n {
			return int(int64(p.at.n) - int64(q.at.n))
		}
		return int(bit(p.file != volume)) - int(bit(q.file != volume))
	})
	hash := sha256.New()
	next, last := uint32(0), int64(-1) // last: octets of the chunk before
	var buf []byte
	lost := int64(0)
	var err error
	for i, c := range found {
		if err := x.ctx.Err(); err != nil {
			return nil, err
		}
		if c.at.n < next {
			continue // another copy was good
		}
		if buf, err = x.load(buf[:0], c); err != nil || len(buf) > chunkBytes {
			if errors.Is(err, ErrUnavailable) {
				b.damage = err.Error()
			}
			continue
		}
		if c.at.n > next {
			lost += b.gap(next, c.at.n, headSize)
		}
		hash.Write(buf)
		if c.at.n == 0 {
			headSize, b.head = int64(len(buf)), slices.Clone(buf[:min(len(buf), 8<<10)])
		}
		b.add(found[i], buf)
		next, last = c.at.n+1, int64(len(buf))
	}
	b.sum = hash.Sum(nil)
	b.finish(size, lost, next, last, headSize)
	return b, nil
}

func (b *salvagedBody) add(c storedChunk, data []byte) {
	b.pieces = append(b.pieces, bodyPiece{chunk: c})
	b.size += int64(len(data))
	b.found++
	if b.size <= salvageHeld && int64(len(b.held)) == b.size-int64(len(data)) {
		b.held = append(b.held, data...)
	}
}

// gap marks the chunks from n to before end as lost, and says how many octets
// that is, as far as it can be known.
func (b *salvagedBody) gap(n, end uint32, headSize int64) (octets int64) {
	octets = int64(end-n) * chunkBytes
	if n == 0 {
		octets += max(headSize, 0) - chunkBytes
		if end == 1 {
			return octets // the header; what is exported gets another
		}
	}
	b.pieces = append(b.pieces, bodyPiece{text: fmt.Sprintf("\r\n[nestbox salvage: %d octets of this message are lost here]\r\n", octets)})
	return octets
}

// finish compares what is there with what should be.
func (b *salvagedBody) finish(size, lost int64, next uint32, last, headSize int64) {
	missing := len(b.pieces) > b.found || b.head == nil
	switch {
	case size < 0 && !missing && (last == chunkBytes || next == 1): // all chunks but the last are full
		b.damage = "its size is not known: its end may be lost"
	case size >= 0 && b.size < size && !missing:
		lost = size - b.size
		b.pieces = append(b.pieces, bodyPiece{text: fmt.Sprintf("\r\n[nestbox salvage: the last %d octets of this message are lost]\r\n", lost)})
		missing = true
	case size >= 0 && b.size+lost < size && missing && headSize > 0:
		b.pieces = append(b.pieces, bodyPiece{text: "\r\n[nestbox salvage: the end of this message is lost]\r\n"})
	}
	if size >= 0 && missing {
		lost = max(size-b.size, 0)
	}
	switch {
	case b.damage != "":
	case missing && b.head == nil:
		b.damage = fmt.Sprintf("the header and all in all %d octets are lost", lost)
	case missing:
		b.damage = fmt.Sprintf("%d of its octets are lost", lost)
	case size >= 0 && b.size != size:
		b.damage = fmt.Sprintf("it has %d octets, not %d", b.size, size)
	}
	if b.damage != "" || int64(len(b.held)) != b.size {
		b.held = nil
	}
}

// reader reads the message, with the lines that mark a damaged one.
func (b *salvagedBody) reader(subject string) io.Reader {
	if b.held != nil {
		return bytes.NewReader(b.held)
	}
	r := &salvageReader{b: b}
	if b.damage != "" {
		r.rest = []byte("X-Nestbox-Salvage: " + b.damage + "\r\n")
		if b.head == nil {
			r.rest = append(r.rest, "Subject: "+subject+"\r\n\r\n"...)
		}
	}
	return r
}

// A salvageReader reads a message a chunk at a time.
type salvageReader struct {
	b    *salvagedBody
	next int
	buf  []byte
	rest []byte // of the present piece
}

// A salvageError is a chunk that could be read before.
type salvageError struct{ err error }

func (e *salvageError) Error() string { return e.err.Error() }
func (e *salvageError) Unwrap() error { return e.err }

func (r *salvageReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.next == len(r.b.pieces) {
			return 0, io.EOF
		}
		piece := r.b.pieces[r.next]
		r.next++
		if r.rest = []byte(piece.text); piece.text != "" {
			continue
		}
		var err error
		if r.buf, err = r.b.x.load(r.buf[:0], piece.chunk); err != nil {
			return 0, &salvageError{err}
		}
		r.rest = r.buf
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// record finds the record of a blob, which has its subject and size.
func (x *salvageIndex) record(id BlobID) (rec mail.Record) {
	block := uint64(id / recordsEach)
	_ = x.chunksOf(placeRecords, block, func(c storedChunk) bool {
		own := c.at.n == 1+uint32(id%recordsEach)
		if c.at.n != 0 && !own {
			return true
		}
		data, err := x.load(nil, c)
		if err != nil {
			return true
		}
		if own {
			rec = data
			return false
		}
		eachRecord(data, func(slot byte, r mail.Record) bool {
			if slot == byte(id%recordsEach) {
				rec = slices.Clone(r)
			}
			return rec == nil
		})
		return true
	})
	if !rec.Valid() {
		return nil
	}
	return rec
}
