package storage

import (
	"os"
	"unsafe"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

var pageSize = uintptr(os.Getpagesize())

// willNeed asks the kernel to read all of v, part of a map, at once: bbolt's
// maps have no read-ahead (STORAGE.md §2: three times as fast when cold).
func willNeed(v []byte) {
	if len(v) <= int(pageSize) {
		return
	}
	start := uintptr(unsafe.Pointer(&v[0]))
	before := start % pageSize
	// The pages that v lies in are all part of the map.
	pages := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(&v[0]), -int(before))), len(v)+int(before))
	_ = unix.Madvise(pages, unix.MADV_WILLNEED) // advice
}

// dropPages gives the pages of the transaction's file back to the page cache.
// The transaction keeps the map from going away meanwhile.
func dropPages(tx *bolt.Tx) {
	data, size := tx.DB().Info().Data, tx.Size()
	if data == 0 || size <= 0 {
		return
	}
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, data, uintptr(size), unix.MADV_DONTNEED) // advice
}
