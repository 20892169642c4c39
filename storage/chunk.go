package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// A chunk, the stored form of a piece of a message, of a block of records, or
// of a row of signatures:
//
//	codec u8, key id u8 (0: not encrypted), CRC-32C u32, data
//
// The checksum covers the chunk's place, codec, key id and data. It is ours
// because bbolt's data pages have none: what fails it is ErrCorrupt and is
// never given out, and neither is a chunk that a damaged page shows in the
// place of another.
const (
	codecRaw byte = iota
	codecZstd
	codecZstdDict1 // with headerDictionary
	codecS2

	chunkHeader = 6
	// chunkBytes of a message go into one chunk (STORAGE.md §2).
	chunkBytes = 64 << 10
	// decodedMax bounds what any chunk decodes to, whatever it says.
	decodedMax = 16 << 20
	// worthwhile is the part of its size that compression must save, 3 %.
	worthwhile = 32
)

// compressors are the zstd encoders and decoders of one codec. Each holds
// 0.2 to 1 MB (STORAGE.md §3), so that there are few at a time, and the
// garbage collector takes them after a while without work. They are the
// process's, as its memory is.
type compressors struct {
	id       byte
	dict     []byte
	encoding chan struct{} // permits
	decoding chan struct{}
	encoders sync.Pool
	decoders sync.Pool
}

const (
	encodersEach = 2
	decodersEach = 4
)

var (
	bodyCodec   = newCompressors(codecZstd, nil)
	headerCodec = newCompressors(codecZstdDict1, headerDictionary)
)

func newCompressors(id byte, dict []byte) *compressors {
	return &compressors{id: id, dict: dict, encoding: make(chan struct{}, encodersEach), decoding: make(chan struct{}, decodersEach)}
}

func (c *compressors) encoder() (*zstd.Encoder, error) {
	if e, ok := c.encoders.Get().(*zstd.Encoder); ok {
		return e, nil
	}
	opts := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(chunkBytes), zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true)}
	if c.dict != nil {
		opts = append(opts, zstd.WithEncoderDictRaw(uint32(c.id), c.dict))
	}
	return zstd.NewWriter(nil, opts...)
}

func (c *compressors) decoder() (*zstd.Decoder, error) {
	if d, ok := c.decoders.Get().(*zstd.Decoder); ok {
		return d, nil
	}
	opts := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(decodedMax)}
	if c.dict != nil {
		opts = append(opts, zstd.WithDecoderDictRaw(uint32(c.id), c.dict))
	}
	return zstd.NewReader(nil, opts...)
}

// A place is where a chunk lies.
type place struct {
	kind byte
	id   uint64
	n    uint32
}

const (
	placeBlob       byte = iota + 1 // BlobID, number of the chunk
	placeRecords                    // key of the block, 0 or 1 + slot of a record of its own
	placeSignatures                 // number of the block, row
)

// sum is the checksum of the chunk v in this place.
func (at place) sum(v []byte) uint32 {
	var b [15]byte
	b[0] = at.kind
	binary.LittleEndian.PutUint64(b[1:], at.id)
	binary.LittleEndian.PutUint32(b[9:], at.n)
	copy(b[13:], v[:2])
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, v[chunkHeader:])
}

// seal completes the chunk v for this place.
func (at place) seal(v []byte) []byte {
	binary.LittleEndian.PutUint32(v[2:], at.sum(v))
	return v
}

// encode appends the chunk of src to dst. It is to be sealed.
func (c *compressors) encode(dst, src []byte) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, chunkHeader+len(src)+64)
	dst = append(dst, c.id, 0, 0, 0, 0, 0)
	c.encoding <- struct{}{}
	e, err := c.encoder()
	if err == nil {
		dst = e.EncodeAll(src, dst)
		c.encoders.Put(e)
	}
	<-c.encoding
	if err != nil {
		return dst[:start], err
	}
	if len(dst)-start-chunkHeader >= len(src)-len(src)/worthwhile {
		dst = append(append(dst[:start], codecRaw, 0, 0, 0, 0, 0), src...)
	}
	return dst, nil
}

// decode appends what data, of c's codec, stands for to dst.
func (c *compressors) decode(dst, data []byte) ([]byte, error) {
	c.decoding <- struct{}{}
	defer func() { <-c.decoding }()
	d, err := c.decoder()
	if err != nil {
		return dst, err
	}
	out, err := d.DecodeAll(data, dst)
	c.decoders.Put(d)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return out, nil
}

// encodeS2 appends the chunk of src to dst in S2: larger than zstd, and read
// several times as fast. It is to be sealed.
func encodeS2(dst, src []byte) []byte {
	dst = slices.Grow(dst, chunkHeader+s2.MaxEncodedLen(len(src)))
	dst = append(dst, codecS2, 0, 0, 0, 0, 0)
	return dst[:len(dst)+len(s2.Encode(dst[len(dst):cap(dst)], src))]
}

func decodeS2(dst, data []byte) ([]byte, error) {
	n, err := s2.DecodedLen(data)
	if err != nil || n > decodedMax {
		return dst, fmt.Errorf("%w: length of an S2 chunk", ErrCorrupt)
	}
	dst = slices.Grow(dst, n)
	out, err := s2.Decode(dst[len(dst):len(dst)+n], data)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return dst[:len(dst)+len(out)], nil
}

// decodeChunk appends what the chunk v in the given place stands for to dst.
func decodeChunk(dst, v []byte, at place) ([]byte, error) {
	if len(v) < chunkHeader || binary.LittleEndian.Uint32(v[2:]) != at.sum(v) {
		return dst, fmt.Errorf("%w: chunk of %d octets", ErrCorrupt, len(v))
	}
	if v[1] != 0 {
		return dst, fmt.Errorf("%w: chunk encrypted with key %d, which this nestbox doesn't know", ErrUnavailable, v[1])
	}
	data := v[chunkHeader:]
	switch v[0] {
	case codecRaw:
		return append(dst, data...), nil
	case codecZstd:
		return bodyCodec.decode(dst, data)
	case codecZstdDict1:
		return headerCodec.decode(dst, data)
	case codecS2:
		return decodeS2(dst, data)
	}
	return dst, fmt.Errorf("%w: chunk of codec %d, which this nestbox doesn't know", ErrUnavailable, v[0])
}
