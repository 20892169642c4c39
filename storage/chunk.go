package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// A stored chunk:
//
//	codec u8, key id u8 (0: not encrypted), CRC-32C of the data u32, data
//
// Checksums are ours because bbolt's data pages have none.
const (
	codecRaw byte = iota
	codecZstd
	codecZstdDict1 // with headerDictionary

	chunkHeader = 6
	// chunkBytes of a message go into one chunk (STORAGE.md §2).
	chunkBytes = 64 << 10
	// worthwhile is the part that compression must save.
	worthwhile = 32 // 1/32, about 3 %
)

// A codec compresses chunks. Encoders and decoders are few, as each holds
// memory for good: who finds none waits.
type codec struct {
	id       byte
	encoders chan *zstd.Encoder
	decoders chan *zstd.Decoder
	dict     []byte
}

const (
	encodersEach = 2
	decodersEach = 2
)

var (
	bodyCodec   = newCodec(codecZstd, nil)
	headerCodec = newCodec(codecZstdDict1, headerDictionary)
)

func newCodec(id byte, dict []byte) *codec {
	c := &codec{id: id, encoders: make(chan *zstd.Encoder, encodersEach), decoders: make(chan *zstd.Decoder, decodersEach), dict: dict}
	for range encodersEach {
		c.encoders <- nil // made when first needed
	}
	for range decodersEach {
		c.decoders <- nil
	}
	return c
}

func (c *codec) newEncoder() *zstd.Encoder {
	opts := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(chunkBytes), zstd.WithEncoderCRC(false), zstd.WithAllLitEntropyCompression(true)}
	if c.dict != nil {
		opts = append(opts, zstd.WithEncoderDictRaw(uint32(c.id), c.dict))
	}
	e, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}

func (c *codec) newDecoder() *zstd.Decoder {
	opts := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(16 * chunkBytes)}
	if c.dict != nil {
		opts = append(opts, zstd.WithDecoderDictRaw(uint32(c.id), c.dict))
	}
	d, err := zstd.NewReader(nil, opts...)
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// encode makes the stored form of src, appended to dst.
func (c *codec) encode(dst, src []byte) []byte {
	start := len(dst)
	dst = append(dst, c.id, 0, 0, 0, 0, 0)
	e := <-c.encoders
	if e == nil {
		e = c.newEncoder()
	}
	dst = e.EncodeAll(src, dst)
	c.encoders <- e
	if len(dst)-start-chunkHeader > len(src)-len(src)/worthwhile {
		dst = append(append(dst[:start], codecRaw, 0, 0, 0, 0, 0), src...)
	}
	v := dst[start:]
	binary.LittleEndian.PutUint32(v[2:], crc32.Checksum(v[chunkHeader:], castagnoli))
	return dst
}

// checkChunk verifies a stored chunk and returns its data.
func checkChunk(v []byte) (id byte, data []byte, err error) {
	if len(v) < chunkHeader {
		return 0, nil, fmt.Errorf("%w: chunk of %d octets", ErrCorrupt, len(v))
	}
	data = v[chunkHeader:]
	if v[1] != 0 {
		return 0, nil, fmt.Errorf("%w: chunk encrypted with key %d, which this nestbox doesn't know", ErrUnavailable, v[1])
	}
	if crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(v[2:]) {
		return 0, nil, fmt.Errorf("%w: chunk", ErrCorrupt)
	}
	return v[0], data, nil
}

// decodeChunk appends the octets of a stored chunk to dst.
func decodeChunk(dst, v []byte) ([]byte, error) {
	id, data, err := checkChunk(v)
	if err != nil {
		return dst, err
	}
	var c *codec
	switch id {
	case codecRaw:
		return append(dst, data...), nil
	case codecZstd:
		c = bodyCodec
	case codecZstdDict1:
		c = headerCodec
	default:
		return dst, fmt.Errorf("%w: chunk of codec %d, which this nestbox doesn't know", ErrUnavailable, id)
	}
	d := <-c.decoders
	if d == nil {
		d = c.newDecoder()
	}
	out, err := d.DecodeAll(data, dst)
	c.decoders <- d
	if err != nil {
		return dst, fmt.Errorf("%w: chunk: %w", ErrCorrupt, err)
	}
	return out, nil
}
