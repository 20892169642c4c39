package storage

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// Numbers in bucket "meta"; one that is missing is 0.

func getUint16(b *bolt.Bucket, key string) uint16 {
	v := b.Get([]byte(key))
	if len(v) < 2 {
		return 0
	}
	return binary.LittleEndian.Uint16(v)
}

func getUint32(b *bolt.Bucket, key string) uint32 {
	v := b.Get([]byte(key))
	if len(v) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(v)
}

func getUint64(b *bolt.Bucket, key string) uint64 {
	v := b.Get([]byte(key))
	if len(v) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(v)
}
